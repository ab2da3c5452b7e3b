//! A real rack behind the pure part of the API: two nodes whose BMCs are away. Time passes as it
//! must until there is an answer.

use super::*;
use crate::config::{Configuration, Content, Files};
use crate::entropy::Seeded;
use crate::rack::call::CallId;
use crate::rack::call::Look;
use crate::rack::record::{Stretch, Table, Write};
use crate::rack::rights::Rights;
use crate::rack::{Birth, Copied, Rack};
use crate::time::Instant;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The uuid of the second node.
pub(super) const SECOND: &str = "7c1b7b1e-2f4e-4c0a-9d5e-00000000a002";

/// See the head of this file.
pub(super) struct RealRack {
    rack: RefCell<Rack>,
    /// What was put down.
    disk: RefCell<BTreeMap<(Table, String), Vec<u8>>>,
    now: Cell<Instant>,
    calls: Cell<u64>,
}

impl RealRack {
    /// Nodes `r1n01` and `r1n02`.
    pub(super) fn new() -> Rc<Self> {
        let now = Instant::after_start(Duration::from_secs(100_000));
        let Configuration { rack, nodes, .. } = configuration();
        let entropy = Box::new(Seeded::new(7));
        let birth = Birth {
            wall: at(0),
            now,
            boot: None,
            copied: Copied::No,
            succession: None,
        };
        let rack = Rack::new(rack, nodes, Vec::new(), birth, entropy);
        Rc::new(Self {
            rack: RefCell::new(rack),
            disk: RefCell::default(),
            now: Cell::new(now),
            calls: Cell::new(0),
        })
    }

    /// What the rack answers, and the nodes that it found to be meant.
    pub(super) fn ask(
        &self,
        call: Call,
        rights: &Rights,
    ) -> (Result<Answer, Refused>, Vec<String>) {
        let id = CallId(self.calls.replace(self.calls.get() + 1));
        let mut rack = self.rack.borrow_mut();
        let nodes = rack.handle_call(id, call, rights, self.now.get());
        for _ in 0..100_000 {
            while rack.poll_transmit().is_some() {}
            while let Some((ticket, writes)) = rack.poll_writes() {
                writes.into_iter().for_each(|write| self.write(write));
                rack.handle_durable(ticket, self.now.get());
            }
            while let Some((look, stretch)) = rack.poll_look() {
                rack.handle_found(look, Ok(self.find(&stretch)), self.now.get());
            }
            while let Some((answered, answer)) = rack.poll_answer() {
                if answered == id {
                    return (answer, nodes);
                }
            }
            let next = rack.poll_timeout().expect("something will happen");
            self.now.set(self.now.get().max(next));
            rack.handle_timeout(self.now.get());
        }
        panic!("no answer");
    }

    fn write(&self, write: Write) {
        let mut disk = self.disk.borrow_mut();
        match write {
            Write::Put { table, key, value } => drop(disk.insert((table, key), value.to_vec())),
            Write::Delete { table, key } => drop(disk.remove(&(table, key))),
        }
    }

    /// Always from the newest on.
    fn find(&self, stretch: &Stretch) -> Vec<(String, Vec<u8>)> {
        let disk = self.disk.borrow();
        let wanted = |((table, key), _): &(&(Table, String), _)| {
            *table == stretch.table && key.starts_with(&stretch.prefix)
        };
        let found = disk.iter().rev().filter(wanted).take(stretch.limit);
        found
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }

    /// A request's way to it, of somebody who may do everything.
    pub(super) fn asker(self: &Rc<Self>) -> Rc<dyn Daemon> {
        Rc::new(Asker {
            rack: self.clone(),
            rights: Rights::everywhere_as(Role::Admin),
        })
    }

    /// The same of somebody who may do everything.
    pub(super) fn ask_as_admin(&self, call: Call) -> Answer {
        let rights = Rights::everywhere_as(Role::Admin);
        self.ask(call, &rights).0.expect("taken")
    }
}

/// Everything that can be seen of what requests did: tasks with their controls, holds, the pause,
/// and the history.
pub(super) fn state(rack: &RealRack) -> String {
    let all = Call::Look(Look::Tasks {
        node: None,
        batch: None,
        short: None,
        active: false,
        limit: 1000,
    });
    let Answer::Tasks(tasks) = rack.ask_as_admin(all) else {
        panic!("no tasks")
    };
    let tasks: Vec<_> = tasks.iter().map(|task| (task.id, &task.controls)).collect();
    let Answer::Nodes(nodes) = rack.ask_as_admin(Call::Look(Look::Nodes)) else {
        panic!("no nodes")
    };
    let held = nodes.iter().map(|node| &node.rackbmcd.maintenance);
    let held: Vec<_> = held.collect();
    let history: Vec<_> = ["r1n01", "r1n02"]
        .into_iter()
        .map(|node| {
            rack.ask_as_admin(Call::History {
                node: node.to_owned(),
                limit: 1000,
            })
        })
        .collect();
    let pause = rack.ask_as_admin(Call::Look(Look::Pausing));
    format!("{tasks:?} {held:?} {pause:?} {history:?}")
}

/// One request's way to it.
struct Asker {
    rack: Rc<RealRack>,
    rights: Rights,
}

impl Daemon for Asker {
    fn call(&self, call: Call) -> Later<Result<Result<Answer, Refused>, Fault>> {
        Box::pin(ready(Ok(self.rack.ask(call, &self.rights).0)))
    }

    fn metrics(&self) -> Later<Result<String, Fault>> {
        Box::pin(ready(Ok("# EOF\n".to_owned())))
    }

    fn trail(&self, _: u64, _: usize) -> Later<Result<AuditPage, String>> {
        Box::pin(ready(Ok(AuditPage::default())))
    }

    fn support(&self) -> Later<Result<Support, Fault>> {
        Box::pin(ready(Ok(Support::default())))
    }

    fn ha(&self) -> Later<Ha> {
        Box::pin(ready(Ha::default()))
    }

    fn hand_over(&self, _: Option<String>) -> Later<Result<(), Refused>> {
        Box::pin(ready(Ok(())))
    }
}

impl Request {
    /// What a real rack makes of it.
    pub(super) fn send_to_real(self, policy: &Policy, rack: &Rc<RealRack>) -> Exchange {
        let rights = policy.rights(&self.peer);
        let asker = Rc::new(Asker {
            rack: rack.clone(),
            rights: rights.clone(),
        });
        let (frame, outcome) = at_once(handle(self, rights, asker));
        let response = frame.finish(outcome.and_then(whole));
        Exchange {
            calls: Vec::new(),
            response,
        }
    }
}

/// The configuration of the two nodes.
fn configuration() -> Configuration {
    let text = format!(
        "[rack]\nname = \"r1\"\n[defaults]\nusername = \"admin\"\npassword_file = \"bmc.pw\"\n\
         [[node]]\nname = \"r1n01\"\naddress = \"10.0.1.1\"\nuuid = \"{UUID}\"\n\
         [[node]]\nname = \"r1n02\"\naddress = \"10.0.1.2\"\nuuid = \"{SECOND}\"\n"
    );
    Configuration::load(Path::new("/rackbmcd.toml"), &InMemory(text)).expect("a configuration")
}

struct InMemory(String);

impl Files for InMemory {
    fn read(&self, path: &Path) -> std::io::Result<Content> {
        let text = match path.ends_with("bmc.pw") {
            true => "secret",
            false => &self.0,
        };
        let bytes = text.as_bytes().to_vec().into();
        Ok(Content { bytes, mode: 0o600 })
    }

    fn user_id(&self, _: &str) -> Option<u32> {
        None
    }
    fn group_id(&self, _: &str) -> Option<u32> {
        None
    }
    fn credentials(&self) -> Option<PathBuf> {
        None
    }
}
