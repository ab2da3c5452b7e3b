//! Readings of many nodes with one request.

use super::sets::meant;
use crate::api::dispatch::{Outcome, RequestContext};
use crate::api::fault::Fault;
use crate::api::readings::ReadingStream;
use crate::api::stream::TextStream;
use crate::model::ReadingsRequest;

/// `POST /v1/readings`: a node's record a line, in the order in which the BMCs answer.
pub async fn read(request: RequestContext) -> Result<Outcome, Fault> {
    let wanted: ReadingsRequest = request.json()?;
    let nodes = meant(&request, wanted.nodes, &wanted.exclude).await?;
    let stream = ReadingStream::new(request.rack, nodes, request.base);
    Ok(Outcome::Stream(TextStream::Readings(stream)))
}
