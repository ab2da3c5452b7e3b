//! With which statuses an endpoint refuses: tests hold them to what is really answered.

use crate::api::endpoint::{Endpoint, Route, Verb};
use crate::api::fault::Surface;

/// The statuses and what they mean.
pub(super) fn refusals(route: &Route, endpoint: &Endpoint) -> Vec<(u16, &'static str)> {
    let named = route.path.contains('{') || route.surface == Surface::Ironic;
    let acts = endpoint.method != Verb::Get;
    let reaches_bmcs = route.path.starts_with("/v1/nodes/{ident}");
    let refusals = EVERYWHERE.into_iter();
    let refusals = refusals
        .chain(WITH_A_BODY.into_iter().filter(|_| endpoint.body.is_some()))
        .chain(
            OF_NAMES
                .into_iter()
                .filter(|_| named || endpoint.body.is_some()),
        )
        .chain(OF_DEEDS.into_iter().filter(|_| acts))
        .chain(OF_BMCS.into_iter().filter(|_| reaches_bmcs));
    let mut refusals: Vec<_> = refusals.collect();
    refusals.sort_unstable();
    refusals
}

const EVERYWHERE: [(u16, &str); 11] = [
    (
        400,
        "the request makes no sense, or cannot be done as things are",
    ),
    (401, "no credentials, or wrong ones (TCP)"),
    (
        403,
        "not permitted: another role is needed, or the request came from a web page",
    ),
    (406, "the microversion or the Accept header cannot be met"),
    (408, "the body did not come in time"),
    (413, "the body is too large"),
    (414, "path and query are too long"),
    (
        429,
        "too many wrong passwords or tokens: try again after a while (TCP)",
    ),
    (500, "a mistake in rackbmcd: please report it"),
    (
        503,
        "not now: the daemon stops, the journal cannot be used, too many requests wait, or another host owns the rack",
    ),
    (
        504,
        "no answer in time: of the BMC; or of the disk, then the task that is named was withdrawn, and may happen only if \
         the daemon dies before the disk answers",
    ),
];
const WITH_A_BODY: [(u16, &str); 1] = [(415, "the body is not application/json")];
const OF_NAMES: [(u16, &str); 1] = [(404, "what is named is not there")];
const OF_DEEDS: [(u16, &str); 1] = [(
    409,
    "in the way: another task, a hold, a state, or the configuration",
)];
const OF_BMCS: [(u16, &str); 1] = [(502, "the BMC refused")];
