//! What was learned about one BMC, and a session that begins with it.
//!
//! Kept by `bmc`, written down by `rack`'s journal, shown by `rackbmc explain`.

use super::breaker::LogIns;
use super::identity::Known;
use super::pace::Lowered;
use super::settings::Settings;
use crate::ipmi::SuiteId;
use crate::session::{Quirks, Session};
use std::sync::Arc;

/// What was learned about a BMC and is worth remembering over a restart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Knowledge {
    /// The cipher suite of the last session.
    pub suite: Option<u8>,
    /// Quirks that were found to be needed, by name.
    pub quirks: Vec<String>,
    /// What was found out about the BMC, in words: quirks, and what showed them.
    pub evidence: Vec<String>,
    /// The cipher suites that the BMC listed when it was asked, in words: advice that decides
    /// nothing. `None` where it was not asked yet, empty where it does not say.
    pub listed: Option<Listed>,
    /// Orders, by name, that change the machine's power and that the BMC carried out: a later "I do
    /// not have this" is not believed.
    pub carried_out: Vec<String>,
    /// Log-ins that were refused in a row.
    pub log_ins: Option<RefusedLogIns>,
    /// Who the BMC is.
    pub identity: Known,
    /// What it bears, where that is less than the configured pace.
    pub pace: Option<Lowered>,
}

/// Cipher suites in words, each on a line of one text: a list of texts would be most of what is
/// known of a BMC, and there are thousands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listed(Box<str>);

impl Listed {
    /// The suites in words, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator('\n')
    }
}

impl FromIterator<String> for Listed {
    fn from_iter<I: IntoIterator<Item = String>>(suites: I) -> Self {
        let lines = suites.into_iter().map(|suite| suite + "\n");
        Self(lines.collect::<String>().into_boxed_str())
    }
}

/// Refused log-ins that are remembered over a restart, so that no number of restarts makes a BMC
/// lock us out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedLogIns {
    /// How many, and what was said.
    pub refused: LogIns,
    /// Of which credentials: a mark of eight bits, too few to learn anything from, enough to see
    /// that they were changed.
    pub credentials: u8,
}

/// The refused log-ins of an earlier life, where they were with the credentials of this one.
pub(super) fn log_ins_of(settings: &Settings, knowledge: &Knowledge) -> Option<LogIns> {
    let known = knowledge.log_ins.as_ref()?;
    // Other credentials have been refused by nobody yet.
    (known.credentials == settings.login.mark()).then(|| known.refused.clone())
}

impl super::Bmc {
    /// Remembers how many log-ins were refused.
    pub(super) fn note_log_ins(&mut self) {
        let credentials = self.settings.login.mark();
        self.learn().log_ins = self.breaker.log_ins().map(|refused| RefusedLogIns {
            refused,
            credentials,
        });
    }

    /// What was learned, to be changed. It is shared with whoever has written it down, until then.
    pub(super) fn learn(&mut self) -> &mut Knowledge {
        Arc::make_mut(&mut self.knowledge)
    }

    /// What was learned.
    pub fn knowledge(&self) -> &Arc<Knowledge> {
        &self.knowledge
    }

    /// Whether `written` is what was learned. Where it is, both are kept once from then on.
    pub fn knows_only(&mut self, written: &Arc<Knowledge>) -> bool {
        let same = self.knowledge == *written;
        if same {
            self.knowledge = written.clone();
        }
        same
    }
}

/// A session that begins with what an earlier life learned.
pub(super) fn recalled(settings: &Settings, knowledge: &Knowledge) -> Session {
    let mut session = Session::new(settings.login.clone());
    // Another version may have written a name that this one does not know.
    let known = |name: &String| Quirks::parse([name.as_str()]).ok();
    let quirks = knowledge
        .quirks
        .iter()
        .filter_map(known)
        .fold(Quirks::NONE, Quirks::and);
    session.recall(knowledge.suite.map(SuiteId), quirks);
    session
}
