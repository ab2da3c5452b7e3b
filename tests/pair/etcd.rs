//! An etcd in memory: revisions, transactions, and everything that can befall one. Written from
//! etcd's side: it knows nothing of racks.

use rackbmcd::etcd::{
    Answer, Change, Compare, Entry, Header, Op, Request, Revision, Span, Trouble, Txn,
};
use rackbmcd::tenure::keys;
use std::collections::BTreeMap;

/// See the head of this file.
#[derive(Clone)]
pub(crate) struct Etcd {
    pub cluster: u64,
    revision: Revision,
    keys: BTreeMap<String, (Vec<u8>, Revision)>,
    /// Every change that there was.
    pub changes: Vec<(Revision, Change)>,
    /// It takes no changes.
    pub full: bool,
    /// Users may read only.
    pub forbidden: bool,
    /// It has no leader: nothing is carried out.
    pub leaderless: bool,
    /// A mutation: nobody hears how long an owner may be silent.
    pub hides_patience: bool,
    /// A mutation: comparisons of this key are not made.
    pub blind_for: Option<String>,
}

impl Default for Etcd {
    fn default() -> Self {
        Self {
            cluster: 7,
            revision: 1,
            keys: BTreeMap::new(),
            changes: Vec::new(),
            full: false,
            forbidden: false,
            leaderless: false,
            hides_patience: false,
            blind_for: None,
        }
    }
}

impl Etcd {
    /// What comes of a request that reaches it.
    pub(crate) fn carry_out(&mut self, request: &Request) -> Result<Answer, Trouble> {
        if self.leaderless {
            return Err(Trouble::Unavailable("etcdserver: no leader".to_owned()));
        }
        match request {
            Request::Txn(txn) => self.transact(txn),
            Request::Range(span) => Ok(Answer::Range {
                header: self.header(),
                found: self.find(span),
            }),
            other => panic!("nobody asks that here: {other:?}"),
        }
    }

    fn transact(&mut self, txn: &Txn) -> Result<Answer, Trouble> {
        for branch in [&txn.success, &txn.failure] {
            let mut puts: Vec<&String> = Vec::new();
            for op in branch {
                match op {
                    Op::Put(key, _) if puts.contains(&key) => {
                        let why = "etcdserver: duplicate key given in txn request";
                        return Err(Trouble::Invalid(why.to_owned()));
                    }
                    Op::Put(key, _) => puts.push(key),
                    Op::Delete(_) | Op::Range(_) => {}
                }
            }
            if branch.len() > 128 || txn.compare.len() > 128 {
                let why = "etcdserver: too many operations in txn request";
                return Err(Trouble::Invalid(why.to_owned()));
            }
        }
        let changes = |op: &Op| !matches!(op, Op::Range(_));
        let writes = txn.success.iter().chain(&txn.failure).any(changes);
        if writes && self.forbidden {
            return Err(Trouble::Forbidden(
                "etcdserver: permission denied".to_owned(),
            ));
        }
        if writes && self.full {
            let why = "etcdserver: mvcc: database space exceeded";
            return Err(Trouble::Full(why.to_owned()));
        }
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let branch = match succeeded {
            true => &txn.success,
            false => &txn.failure,
        };
        let revision = self.revision + 1;
        let mut found = Vec::new();
        for op in branch {
            match op {
                Op::Put(key, value) => {
                    self.revision = revision;
                    self.keys.insert(key.clone(), (value.clone(), revision));
                    let put = Change::Put(Entry {
                        key: key.clone(),
                        value: self.told(key, value),
                        revision,
                    });
                    self.changes.push((revision, put));
                }
                Op::Delete(key) => {
                    if self.keys.remove(key).is_some() {
                        self.revision = revision;
                        let deleted = Change::Deleted(key.clone(), revision);
                        self.changes.push((revision, deleted));
                    }
                }
                Op::Range(span) => found.push(self.find(span)),
            }
        }
        Ok(Answer::Txn {
            header: self.header(),
            succeeded,
            found,
        })
    }

    fn holds(&self, compare: &Compare) -> bool {
        match compare {
            Compare::Revision(key, _) | Compare::Value(key, _)
                if self.blind_for.as_ref() == Some(key) =>
            {
                true
            }
            Compare::Revision(key, revision) => {
                self.keys.get(key).map_or(0, |(_, at)| *at) == *revision
            }
            Compare::Value(key, value) => {
                self.keys.get(key).is_some_and(|(there, _)| there == value)
            }
        }
    }

    fn find(&self, span: &Span) -> Vec<Entry> {
        let found = self.keys.iter().filter(|(key, _)| span.contains(key));
        let entry = |(key, (value, revision)): (&String, &(Vec<u8>, Revision))| Entry {
            key: key.clone(),
            value: self.told(key, value),
            revision: *revision,
        };
        found.map(entry).collect()
    }

    /// What is said of a key's value.
    fn told(&self, key: &str, value: &[u8]) -> Vec<u8> {
        let own = serde_json::from_slice(value);
        match own {
            Ok(serde_json::Value::Object(mut own))
                if self.hides_patience && key.ends_with("/own") =>
            {
                own.remove("patience");
                keys::bytes(&own)
            }
            _ => value.to_vec(),
        }
    }

    fn header(&self) -> Header {
        Header {
            cluster: self.cluster,
            member: 1,
            revision: self.revision,
        }
    }

    /// What a key holds.
    pub(crate) fn value(&self, key: &str) -> Option<&[u8]> {
        self.keys.get(key).map(|(value, _)| &value[..])
    }

    /// Somebody writes by hand.
    pub(crate) fn put(&mut self, key: &str, value: &[u8]) {
        let put = Op::Put(key.to_owned(), value.to_vec());
        let txn = Txn {
            success: vec![put],
            ..Txn::default()
        };
        self.transact(&txn).expect("it takes that");
    }
}
