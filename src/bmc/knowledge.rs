//! What was learned about one BMC, and a session that begins with it.
//!
//! Kept by `bmc`, written down by `rack`'s journal, shown by `rackbmc explain`.

use super::settings::Settings;
use crate::ipmi::SuiteId;
use crate::session::{Quirks, Session};

/// What was learned about a BMC and is worth remembering over a restart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Knowledge {
    /// The cipher suite of the last session.
    pub suite: Option<u8>,
    /// Quirks that were found to be needed, by name.
    pub quirks: Vec<String>,
    /// What was found out about the BMC, in words: quirks, and what showed them.
    pub evidence: Vec<String>,
    /// The cipher suites that the BMC listed when it was asked, in words: advice that decides nothing. `None` where it
    /// was not asked yet, empty where it does not say.
    pub listed: Option<Vec<String>>,
    /// Orders, by name, that change the machine's power and that the BMC carried out: a later "I do not have this" is not
    /// believed.
    pub carried_out: Vec<String>,
}

/// A session that begins with what an earlier life learned.
pub(super) fn recalled(settings: &Settings, knowledge: &Knowledge) -> Session {
    let mut session = Session::new(settings.login.clone());
    let known = |name: &String| Quirks::parse([name.as_str()]).ok();
    let quirks = knowledge
        .quirks
        .iter()
        .filter_map(known)
        .fold(Quirks::NONE, Quirks::and);
    session.recall(knowledge.suite.map(SuiteId), quirks);
    session
}
