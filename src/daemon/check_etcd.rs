//! `rackbmcd --check-etcd`: each member is asked what a host with a second one needs of it, and a
//! line says how it is.

use crate::config::EtcdSettings;
use crate::etcd::{Answer, Compare, Op, Request, Revision, Space, Span, Status, Trouble, Txn};
use crate::etcd_client::Members;
use crate::http_client::Place;
use crate::tenure::keys::Keys;
use std::collections::BTreeSet;

/// Asks every member, and says of each in a line how it is. Whether all is as it has to be.
pub(super) async fn check(settings: &EtcdSettings, rack: &str, say: &mut dyn FnMut(&str)) -> bool {
    let mut clusters = BTreeSet::new();
    let mut good = true;
    for way in &settings.ways {
        match look(settings, way, rack).await {
            Ok(found) => {
                clusters.insert(found.cluster);
                let wrong = found.wrong();
                good &= wrong.is_empty();
                let verdict = match wrong.is_empty() {
                    true => "good".to_owned(),
                    false => wrong.join("; "),
                };
                let version = &found.version;
                let size = found.status.as_ref().map(|status| status.size);
                let size =
                    size.map_or_else(String::new, |size| format!(", {} MB", megabytes(size)));
                say(&format!("{way}: etcd {version}{size}: {verdict}"));
                for advice in found.advice() {
                    say(&format!("{way}: {advice}"));
                }
            }
            Err(why) => {
                good = false;
                say(&format!("{way}: {why}"));
            }
        }
    }
    if clusters.len() > 1 {
        good = false;
        say("these members are of different clusters: endpoints must name members of one");
    }
    if settings.ways.len() < MEMBERS {
        say(&format!(
            "only {} of the members named: with {MEMBERS}, one of them may fail",
            settings.ways.len()
        ));
    }
    good
}

/// What one member says.
struct Found {
    cluster: u64,
    version: String,
    /// What it says of itself; newer ones do so to their root alone, once they have users.
    status: Option<Status>,
    /// How large it is, and may become, where it tells its figures to whoever asks for them here.
    space: Option<Space>,
    /// So many changes were made, and it still knows the first.
    uncompacted: Option<Revision>,
}

impl Found {
    /// What is not as it has to be.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(why) = unfit(&self.version) {
            wrong.push(why);
        }
        if let Some(status) = &self.status {
            if status.leader == 0 {
                wrong.push("it follows no leader: are most of the members there?".to_owned());
            }
            wrong.extend(status.errors.iter().map(|error| error.trim().to_owned()));
        }
        wrong
    }
}

impl Found {
    /// What would be better otherwise, and holds nothing up.
    fn advice(&self) -> Vec<String> {
        let compact = self.uncompacted.map(|changes| {
            format!(
                "it remembers all of its {changes} changes: start it with \
                 --auto-compaction-mode=periodic --auto-compaction-retention=5m"
            )
        });
        let room = self.space.and_then(|space| {
            let (used, quota) = ((space.ratio() * 100.0) as u64, space.quota);
            let of = format!("of the {} MB that it may have", megabytes(quota));
            match (used >= 70, quota < QUOTA) {
                (true, _) => Some(format!(
                    "{used} % {of} are used: compact and defragment it, or raise \
                     --quota-backend-bytes"
                )),
                (false, true) => Some(format!(
                    "its quota is {} MB: 2 GB do for a thousand racks (--quota-backend-bytes)",
                    megabytes(quota)
                )),
                (false, false) => None,
            }
        });
        compact.into_iter().chain(room).collect()
    }
}

async fn look(settings: &EtcdSettings, way: &Place, rack: &str) -> Result<Found, String> {
    let one = vec![way.clone()];
    let members = Members::new(one, settings.user.clone(), settings.request_timeout);
    let ask = async |request: Request| members.ask(&request).await;
    let said = match ask(Request::Status).await {
        Err(Trouble::Forbidden(_)) => ask(Request::Version).await,
        // One that is too old has its gateway elsewhere.
        Err(trouble @ Trouble::NoGateway(_)) => match too_old(settings, way).await {
            Some(why) => return Err(why),
            None => Err(trouble),
        },
        said => said,
    };
    let said = said.map_err(|trouble| {
        let plain = matches!(way, Place::Tcp { trust: None, .. });
        let closed = matches!(&trouble, Trouble::Silent(why) if why.contains("connection"));
        let why = in_words(trouble);
        match plain && closed {
            true => format!("{why}: where it speaks TLS, write https:// and ca_file"),
            false => why,
        }
    })?;
    let (version, status) = match said {
        Answer::Status { status, .. } => (status.version.clone(), Some(status)),
        Answer::Version(version) => (version, None),
        _ => return Err("an answer to something else".to_owned()),
    };
    let keys = Keys::new(&settings.prefix, rack);
    let read = ask(Request::Range(Span::Key(keys.own()))).await;
    let read =
        read.map_err(|trouble| format!("{} cannot be read: {}", keys.all(), in_words(trouble)))?;
    let header = read.header().copied().unwrap_or_default();
    // It changes nothing, for no key has that revision; but who may not write is told so.
    let written = ask(Request::Txn(Txn {
        compare: vec![Compare::Revision(keys.own(), u64::from(u32::MAX) << 20)],
        success: vec![
            Op::Put(keys.own(), Vec::new()),
            Op::Put(keys.journal(), Vec::new()),
        ],
        failure: Vec::new(),
    }));
    let written = written.await;
    written
        .map_err(|trouble| format!("{} cannot be written: {}", keys.all(), in_words(trouble)))?;
    // What these two answer is advice alone: a member may well keep its figures to itself.
    let space = match ask(Request::Space).await {
        Ok(Answer::Space(space)) => Some(space),
        _ => None,
    };
    let changes = Some(header.revision).filter(|changes| *changes > MANY_CHANGES);
    let remembered = match changes {
        Some(_) => ask(Request::Past(keys.own(), 1)).await.is_ok(),
        None => false,
    };
    Ok(Found {
        cluster: header.cluster,
        version,
        status,
        space,
        uncompacted: changes.filter(|_| remembered),
    })
}

/// Why the version will not do that a member tells to whoever asks.
async fn too_old(settings: &EtcdSettings, way: &Place) -> Option<String> {
    let nobody = Members::new(vec![way.clone()], None, settings.request_timeout);
    match nobody.ask(&Request::Version).await {
        Ok(Answer::Version(version)) => unfit(&version),
        _ => None,
    }
}

fn in_words(trouble: Trouble) -> String {
    let advice = match &trouble {
        // A log-in is refused so, too.
        Trouble::Invalid(why) | Trouble::Forbidden(why) if why.contains("CommonName") => {
            ": the client's certificate must have no CommonName"
        }
        Trouble::Forbidden(_) => ": give the user read and write on the rack's keys",
        Trouble::LoggedOut(_) => ": write username and password_file in [etcd]",
        Trouble::Full(_) => ": compact and defragment it, disarm its alarm, and raise its quota",
        Trouble::NoGateway(_) => ": start etcd without --enable-grpc-gateway=false",
        Trouble::Silent(why) if why.contains("shown a certificate") => {
            ": write cert_file and key_file in [etcd]"
        }
        _ => "",
    };
    format!("{trouble}{advice}")
}

/// Why this version will not do.
pub(super) fn unfit(version: &str) -> Option<String> {
    let mut numbers = version
        .split(['.', '-'])
        .map(|part| part.parse::<u32>().ok());
    let (major, minor, patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let fit = match (major, minor) {
        (3, 4) => patch >= 20,
        (3, 5) => patch >= 6,
        (3, minor) => minor >= 6,
        (major, _) => major > 3,
    };
    let loses = (3, 5) == (major, minor) && patch <= 2;
    match (fit, loses) {
        (true, _) => None,
        (false, true) => Some(format!("etcd {version} may lose commits: upgrade it")),
        (false, false) => Some(format!(
            "etcd {version} is too old: 3.4.20, 3.5.6 or 3.6.0 at least"
        )),
    }
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

/// Of so many one may fail.
const MEMBERS: usize = 3;
/// Etcd's own quota, where none is said.
const QUOTA: u64 = 2 << 30;
/// So many changes come together within hours: whoever compacts has done so before.
const MANY_CHANGES: Revision = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_lose_commits_or_are_too_old_are_refused() {
        for good in [
            "3.4.20",
            "3.4.45",
            "3.5.6",
            "3.5.21",
            "3.6.0",
            "3.6.1-rc.0",
            "4.0.0",
        ] {
            assert_eq!(unfit(good), None, "{good}");
        }
        for old in ["3.3.25", "3.4.19", "3.5.5", "2.3.8"] {
            assert!(
                unfit(old).is_some_and(|why| why.contains("too old")),
                "{old}"
            );
        }
        for lossy in ["3.5.0", "3.5.2"] {
            assert!(
                unfit(lossy).is_some_and(|why| why.contains("lose")),
                "{lossy}"
            );
        }
    }
}
