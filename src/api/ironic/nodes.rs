//! Nodes, one and many: fields, filters, sorting, pages.

use super::record::{self, DRIVER, LISTED, MEMBERS, Members, PROVISION_STATE, Shown};
use crate::api::dispatch::RequestContext;
use crate::api::fault::Fault;
use crate::api::message::Response;
use crate::api::version::{self, Version};
use crate::model::{ErrorKind, Node, PowerState, Word};
use http::StatusCode;
use serde::Serialize;

/// The most nodes on one page.
const PAGE: usize = 1000;

/// The parameters of a list, with the microversion from which each is known.
const PARAMETERS: &[(&str, Version)] = &[
    ("limit", version::MINIMUM),
    ("marker", version::MINIMUM),
    ("sort_key", version::MINIMUM),
    ("sort_dir", version::MINIMUM),
    ("maintenance", version::MINIMUM),
    ("associated", version::MINIMUM),
    ("instance_uuid", version::MINIMUM),
    ("chassis_uuid", version::MINIMUM),
    ("fields", version::FIELDS),
    ("provision_state", version::PROVISION_FILTER),
    ("driver", version::DRIVER_FILTER),
    ("resource_class", version::RESOURCE_CLASS),
    // Of later microversions than ours: answered as they would be, since every node here has the
    // same value.
    ("fault", version::MINIMUM),
    ("conductor", version::MINIMUM),
    ("conductor_group", version::MINIMUM),
    ("owner", version::MINIMUM),
    ("lessee", version::MINIMUM),
    ("description_contains", version::MINIMUM),
    ("detail", version::MINIMUM),
];

/// The members by which a list can be sorted.
pub(crate) const SORTABLE: &[&str] = &[
    "uuid",
    "name",
    "created_at",
    "updated_at",
    "power_state",
    "target_power_state",
    "provision_state",
    "maintenance",
    "driver",
    "last_error",
    "reservation",
];

/// `GET /v1/nodes`
pub(crate) async fn list(request: RequestContext) -> Result<Response, Fault> {
    let detail = request.query.flag("detail")?.unwrap_or(false);
    listing(&request, detail).await
}

/// `GET /v1/nodes/detail`
pub(crate) async fn detail(request: RequestContext) -> Result<Response, Fault> {
    if request.query.value("fields").is_some() {
        return Err(Fault::bad(
            "Can't fetch a subset of fields with 'detail' set",
        ));
    }
    listing(&request, true).await
}

async fn listing(request: &RequestContext, detail: bool) -> Result<Response, Fault> {
    for (name, _) in request.query.pairs() {
        let from = PARAMETERS.iter().find(|(known, _)| known == name);
        if let Some((_, from)) = from.filter(|(_, from)| *from > request.version) {
            return Err(Fault::not_acceptable(format!(
                "Request not acceptable. The parameter {name} needs version {from}."
            )));
        }
    }
    let fields = fields(request, request.version)?;
    if fields.is_some() && detail {
        return Err(Fault::bad(
            "Can't fetch a subset of fields with 'detail' set",
        ));
    }
    let filter = Filter::of(request)?;
    let order = Order::of(request)?;
    let limit = request.query.limit(PAGE, PAGE)?;
    let mut nodes = request.rack.nodes().await?;
    order.sort(&mut nodes);
    let begin = match request.query.value("marker") {
        None => 0,
        Some(marker) => {
            let marker_uuid = marker.to_ascii_lowercase();
            let at = nodes
                .iter()
                .position(|node| node.uuid.to_string() == marker_uuid);
            at.ok_or_else(|| Fault::no_node(marker))? + 1
        }
    };
    let mut left = nodes[begin..].iter().filter(|node| filter.takes(node));
    let page: Vec<&Node> = left.by_ref().take(limit).collect();
    let more = left.next().is_some();
    let members = match &fields {
        Some(fields) => chosen(fields, request),
        None if detail => Members::all(request.version),
        None => Members::of(LISTED, request.version),
    };
    let last = page.last().filter(|_| more);
    let body = Page {
        next: last.map(|last| next(request, limit, last)),
        nodes: page
            .iter()
            .map(|node| members.show(node, &request.base))
            .collect(),
    };
    let room = body.nodes.len() * members.room();
    Ok(Response::long_json(StatusCode::OK, &body, room))
}

/// A page of a list.
#[derive(Serialize)]
struct Page<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    nodes: Vec<Shown<'a>>,
}

/// What `fields=` chose, and the links that always come with it.
fn chosen(fields: &[String], request: &RequestContext) -> Members {
    let names: Vec<&str> = fields.iter().map(String::as_str).chain(["links"]).collect();
    Members::of(&names, request.version)
}

/// The address of the next page: the same query, from the last node of this page on.
fn next(request: &RequestContext, limit: usize, last: &Node) -> String {
    let mut query = format!("limit={limit}");
    for (name, value) in request.query.pairs() {
        if name != "limit" && name != "marker" {
            query.push_str(&format!("&{}={}", encoded(name), encoded(value)));
        }
    }
    format!(
        "{}{}?{query}&marker={}",
        request.base_of_pages, request.path, last.uuid
    )
}

/// Percent-encoded but for letters, digits and what is harmless in a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~,".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The members that `fields=` asks for.
pub(crate) fn fields(
    request: &RequestContext,
    version: Version,
) -> Result<Option<Vec<String>>, Fault> {
    // gophercloud writes `fields=a&fields=b`.
    let texts = request
        .query
        .pairs()
        .iter()
        .filter(|(name, _)| name == "fields");
    let texts: Vec<&str> = texts.map(|(_, text)| text.as_str()).collect();
    if texts.is_empty() {
        return Ok(None);
    }
    if version < version::FIELDS {
        return Err(Fault::not_acceptable(format!(
            "Request not acceptable. The parameter fields needs version {}.",
            version::FIELDS
        )));
    }
    let fields: Vec<String> = texts
        .iter()
        .flat_map(|text| text.split(','))
        .map(|field| field.trim().to_owned())
        .filter(|field| !field.is_empty())
        .collect();
    if fields.is_empty() {
        return Err(Fault::bad("fields= names no field").about("parameter", "fields"));
    }
    for field in &fields {
        match record::since(field) {
            Some(from) if from <= version => {}
            Some(from) => {
                return Err(Fault::not_acceptable(format!(
                    "Request not acceptable. The field {field} needs version {from}."
                )));
            }
            None => {
                let known: Vec<&str> = MEMBERS.iter().map(|(name, _)| *name).collect();
                return Err(Fault::bad(format!(
                    "Field(s) \"{field}\" are not valid. Valid fields are: {}.",
                    known.join(", ")
                ))
                .about("parameter", "fields"));
            }
        }
    }
    Ok(Some(fields))
}

/// Which nodes a list shows.
struct Filter {
    maintenance: Option<bool>,
    fault: Option<String>,
    conductor: Option<String>,
    conductor_group: Option<String>,
    /// A value was asked for that no node of ours has.
    none: bool,
}

impl Filter {
    fn of(request: &RequestContext) -> Result<Self, Fault> {
        let query = &request.query;
        for name in ["instance_uuid", "chassis_uuid"] {
            if let Some(text) = query
                .value(name)
                .filter(|text| uuid::Uuid::try_parse(text).is_err())
            {
                return Err(Fault::bad(format!("Expected UUID for {name}: {text}"))
                    .about("parameter", name));
            }
        }
        let differs = |name: &str, ours: &str| query.value(name).is_some_and(|text| text != ours);
        Ok(Self {
            maintenance: query.flag("maintenance")?,
            fault: query.value("fault").map(str::to_owned),
            conductor: query.value("conductor").map(str::to_owned),
            conductor_group: query.value("conductor_group").map(str::to_owned),
            none: query.flag("associated")? == Some(true)
                || differs("provision_state", PROVISION_STATE)
                || differs("driver", DRIVER)
                || [
                    "instance_uuid",
                    "chassis_uuid",
                    "resource_class",
                    "owner",
                    "lessee",
                    "description_contains",
                ]
                .iter()
                .any(|name| query.value(name).is_some()),
        })
    }

    fn takes(&self, node: &Node) -> bool {
        let fault = match self.fault.as_deref() {
            None => true,
            Some("none") => node.rackbmcd.fault.is_none(),
            wanted => node.rackbmcd.fault.as_ref().map(Word::as_str) == wanted,
        };
        !self.none
            && fault
            && self
                .maintenance
                .is_none_or(|wanted| node.rackbmcd.maintenance.is_some() == wanted)
            && self
                .conductor
                .as_ref()
                .is_none_or(|wanted| node.rackbmcd.conductor() == wanted)
            && self
                .conductor_group
                .as_ref()
                .is_none_or(|wanted| node.rackbmcd.conductor_group() == wanted)
    }
}

/// In which order a list shows them.
struct Order {
    key: String,
    descending: bool,
}

impl Order {
    fn of(request: &RequestContext) -> Result<Self, Fault> {
        // Ironic's default is the order in which nodes were made: ours is the configuration's,
        // which the rack keeps.
        let key = request
            .query
            .value("sort_key")
            .unwrap_or_default()
            .to_owned();
        let unknown = !key.is_empty() && !SORTABLE.contains(&key.as_str());
        if unknown || (key == "name" && request.version < version::NAMES) {
            return Err(Fault::bad(format!(
                "The sort_key value \"{key}\" is an invalid field for sorting"
            ))
            .about("parameter", "sort_key"));
        }
        let descending = match request.query.value("sort_dir") {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(other) => {
                return Err(Fault::bad(format!(
                    "Invalid sort direction: {other}. Acceptable values are 'asc' or 'desc'"
                ))
                .about("parameter", "sort_dir"));
            }
        };
        Ok(Self { key, descending })
    }

    fn sort(&self, nodes: &mut [Node]) {
        let text = |node: &Node| match self.key.as_str() {
            "uuid" => Some(node.uuid.to_string()),
            "name" => Some(node.name.to_string()),
            "created_at" => Some(node.created_at.to_string()),
            "updated_at" => node.updated_at.map(|at| at.to_string()),
            "power_state" => match node.power_state {
                PowerState::Unknown => None,
                known => Some(known.to_string()),
            },
            "target_power_state" => node.target_power_state.as_ref().map(Word::to_string),
            "maintenance" => Some(node.rackbmcd.maintenance.is_some().to_string()),
            "last_error" => node.last_error.clone(),
            "reservation" => node
                .rackbmcd
                .task
                .map(|_| node.rackbmcd.conductor().to_owned()),
            // Driver and provision state are the same for all.
            _ => None,
        };
        if !self.key.is_empty() {
            // Stable: equal ones stay as the rack has them, so that pages neither lose nor repeat a
            // node.
            nodes.sort_by_cached_key(text);
        }
        if self.descending {
            nodes.reverse();
        }
    }
}

/// `GET /v1/nodes/{ident}`
pub(crate) async fn show(request: RequestContext) -> Result<Response, Fault> {
    let ident = request.node()?;
    let fields = fields(&request, request.version)?;
    let node = request.rack.node(&ident).await?;
    let members = match fields {
        Some(fields) => chosen(&fields, &request),
        None => Members::all(request.version),
    };
    Ok(Response::ok(&members.show(&node, &request.base)))
}

/// The inventory is the configuration.
fn refused(what: &str) -> Fault {
    Fault::new(
        StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::NotSupported,
        format!(
            "Nodes cannot be {what} through the API: the inventory is rackbmcd's configuration. Change the file and reload the daemon."
        ),
    )
    .with("allow", "GET")
}

/// `POST /v1/nodes`
pub(crate) async fn no_create(_: RequestContext) -> Result<Response, Fault> {
    Err(refused("created"))
}

/// `PATCH /v1/nodes/{ident}`
pub(crate) async fn no_update(request: RequestContext) -> Result<Response, Fault> {
    request.rack.node(&request.node()?).await?;
    Err(refused("changed"))
}

/// `DELETE /v1/nodes/{ident}`
pub(crate) async fn no_delete(request: RequestContext) -> Result<Response, Fault> {
    request.rack.node(&request.node()?).await?;
    Err(refused("deleted"))
}
