//! Readings of many nodes with one request.

use super::sets::meant;
use crate::api::dispatch::{Outcome, RequestContext};
use crate::api::fault::Fault;
use crate::api::ironic::nodes::fields;
use crate::api::ironic::record::Members;
use crate::api::readings::ReadingStream;
use crate::api::stream::TextStream;
use crate::api::version;
use crate::model::ReadingsRequest;

/// `POST /v1/readings`: a node's record a line, in the order in which the BMCs answer.
pub(crate) async fn read(request: RequestContext) -> Result<Outcome, Fault> {
    let wanted: ReadingsRequest = request.json()?;
    let nodes = meant(&request, wanted.nodes, &wanted.exclude).await?;
    let members = match fields(&request, version::MAXIMUM)? {
        Some(fields) => Members::of(&fields, version::MAXIMUM),
        None => Members::all(version::MAXIMUM),
    };
    let stream = ReadingStream::new(request.rack, nodes, members, request.base);
    Ok(Outcome::Stream(TextStream::Readings(stream)))
}
