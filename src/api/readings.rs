//! The stream of readings that one request asked for: what is asked of the rack next, and the lines
//! that its answer becomes.
//!
//! Driven by `serve`. What was read waits in the rack, by number, until the reader has taken what
//! came before: a reader that does not read costs next to nothing.

use super::fault::Fault;
use super::handle::RackHandle;
use super::ironic::record::{Members, Shown};
use crate::rack::call::SweepId;
use serde::Serialize;
use std::time::Duration;

/// How long one question to the rack waits for the next reading.
const WAIT: Duration = Duration::from_secs(15);

/// One reader's stream.
pub struct ReadingStream {
    rack: RackHandle,
    base: String,
    members: Members,
    phase: Phase,
}

/// A [`crate::model::FreshReading`], its node as Ironic has it.
#[derive(Serialize)]
struct Line<'a> {
    fresh: bool,
    node: Shown<'a>,
}

/// Where a stream stands.
enum Phase {
    /// Nothing was asked for yet.
    Beginning { nodes: Vec<String> },
    /// These nodes were sent.
    Following { sweep: SweepId, seen: usize },
    /// Everything was sent.
    Ended,
}

impl ReadingStream {
    /// A reading of each of these nodes, with these members of its record.
    pub fn new(rack: RackHandle, nodes: Vec<String>, members: Members, base: String) -> Self {
        Self {
            rack,
            base,
            members,
            phase: Phase::Beginning { nodes },
        }
    }

    /// What the reader is sent next, perhaps nothing; `None` ends the stream. The first time
    /// nothing is waited for: it decides the status of the response.
    ///
    /// # Errors
    /// The rack refused: before the first text that is the request's refusal, later the end of the
    /// stream.
    pub async fn next(&mut self) -> Result<Option<String>, Fault> {
        let news = match &mut self.phase {
            Phase::Beginning { nodes } => self.rack.sweep(std::mem::take(nodes)).await?,
            Phase::Following { sweep, seen } => self.rack.await_sweep(*sweep, *seen, WAIT).await?,
            Phase::Ended => return Ok(None),
        };
        self.phase = match news.ended {
            true => Phase::Ended,
            false => Phase::Following {
                sweep: news.sweep,
                seen: news.seen,
            },
        };
        let mut text = String::new();
        for read in &news.nodes {
            let line = Line {
                fresh: read.fresh,
                node: self.members.show(&read.node, &self.base),
            };
            text += &serde_json::to_string(&line)
                .expect("a node's record has text keys and finite numbers");
            text.push('\n');
        }
        Ok(Some(text))
    }
}
