//! What is asked of the thread that has the store, and of the resolver, while the loop goes on.

use super::{Input, Shell};
use crate::daemon::audit;
use crate::daemon::names;
use crate::daemon::store::committer::StoreQuery;
use crate::daemon::store::{Store, StoreError};
use crate::model::AuditPage;
use crate::rack::record::Stretch;
use smol::channel::Sender;
use smol::lock::Semaphore;
use std::rc::Rc;

/// The ways to the store and to the resolver.
pub(super) struct Looks {
    /// To the thread that has the store.
    pub(super) store: Sender<StoreQuery>,
    /// Turns of looking at it.
    store_turns: Rc<Semaphore>,
    /// Turns of looking a BMC's name up.
    name_turns: Rc<Semaphore>,
}

impl Looks {
    pub(super) fn new(store: Sender<StoreQuery>) -> Self {
        Self {
            store,
            store_turns: Rc::new(Semaphore::new(LOOKS)),
            name_turns: Rc::new(Semaphore::new(LOOK_UPS)),
        }
    }
}

impl Shell {
    /// Begins the looks that the rack wants at the journal, and the look-ups of its BMCs' names.
    pub(super) fn begin_looks(&mut self) {
        let fence = self.post.fence();
        let Some(rack) = self.post.rack_mut() else {
            return;
        };
        while let Some((look, stretch)) = rack.poll_look() {
            let (inputs, store) = (self.to_inputs.clone(), self.looks.store.clone());
            let turns = self.looks.store_turns.clone();
            let find = async move {
                // Until the loop has it: each may be half a megabyte.
                let _turn = turns.acquire().await;
                let found = find(store, stretch).await;
                // The loop has ended where this fails.
                let _ = inputs.send(Input::Found(fence, look, found)).await;
            };
            self.executor.spawn(find).detach();
        }
        while let Some((node, host)) = rack.poll_resolve() {
            let (inputs, turns) = (self.to_inputs.clone(), self.looks.name_turns.clone());
            let look_up = async move {
                let name = host.clone();
                // Resolvers that hang must not take all threads that others need.
                let _turn = turns.acquire().await;
                let answer = smol::unblock(move || names::resolve(&name)).await;
                // The loop has ended where this fails.
                let _ = inputs.send(Input::Resolved(node, host, answer)).await;
            };
            self.executor.spawn(look_up).detach();
        }
    }
}

/// A stretch of the audit trail.
pub(super) async fn read_trail(
    looks: Sender<StoreQuery>,
    after: u64,
    limit: usize,
) -> Result<AuditPage, String> {
    ask_store(looks, move |store| audit::read(store, after, limit)).await
}

/// Entries of the journal, with their keys.
pub(super) async fn find(
    looks: Sender<StoreQuery>,
    stretch: Stretch,
) -> Result<Vec<(String, Vec<u8>)>, String> {
    ask_store(looks, move |store| store.stretch(&stretch)).await
}

/// What the thread that has the store finds in it.
pub(super) async fn ask_store<T: Send + 'static>(
    looks: Sender<StoreQuery>,
    question: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, String> {
    let (reply, answer) = smol::channel::bounded(1);
    let look: StoreQuery = Box::new(move |store| {
        // Nobody waits any more where this fails.
        let _ = reply.try_send(question(store));
    });
    let stopping = || "the daemon is shutting down".to_owned();
    looks.send(look).await.map_err(|_| stopping())?;
    let answer = answer.recv().await.map_err(|_| stopping())?;
    answer.map_err(|error| error.to_string())
}

/// Names of BMCs that are looked up at once.
const LOOK_UPS: usize = 4;
/// Looks at the store that may wait for its thread; more wait with their clients.
pub(super) const LOOKS: usize = 4;
