//! What an answer may be that goes on: text that comes piece by piece.

use super::events::EventStream;
use super::fault::Fault;
use super::readings::ReadingStream;

/// The media type of readings: a line of JSON each.
pub(crate) const LINES: &str = "application/x-ndjson";
/// The media type of events.
pub(crate) const EVENTS: &str = "text/event-stream";

/// One reader's stream.
pub enum TextStream {
    /// Server-sent events until one side has enough.
    Events(EventStream),
    /// Readings until all are there.
    Readings(ReadingStream),
}

impl TextStream {
    /// What it is made of.
    pub fn media_type(&self) -> &'static str {
        match self {
            Self::Events(_) => EVENTS,
            Self::Readings(_) => LINES,
        }
    }

    /// What the reader is sent next, perhaps nothing; `None` ends the stream.
    ///
    /// # Errors
    /// The rack refused: before the first text that is the request's refusal, later the end of the
    /// stream.
    pub async fn next(&mut self) -> Result<Option<String>, Fault> {
        match self {
            Self::Events(events) => events.next().await,
            Self::Readings(readings) => readings.next().await,
        }
    }
}
