//! The shapes of the bodies, in a short notation: `name:kind` for each member, `?` behind a kind
//! that may be null, `[kind]` for a list, a capital letter for another shape. In bodies of requests
//! a `!` behind the name says that it must be there.

use crate::api::ironic::management::DEVICES;
use crate::api::ironic::record::MEMBERS;
use crate::api::ironic::target::PowerTarget;
use crate::model::{
    BmcReset, BootDevice, HaRole, Light, OnBusy, OnFailure, OnSoftTimeout, Operation, PowerState,
    REASON_LIMIT, RestorePolicy, TakeOver, TaskState, Words,
};
use crate::rack::call::PowerChange;
use crate::rack::settings::RackSettings;
use serde_json::{Map, Value, json};

pub(super) struct Schema {
    pub name: &'static str,
    pub members: &'static str,
    /// Whether it is sent to us: then unknown members are refused.
    pub request: bool,
    /// A rule across its members, as JSON Schema: what is refused although each of them is right by
    /// itself.
    pub refuses: Option<fn() -> Value>,
}

const fn answer(name: &'static str, members: &'static str) -> Schema {
    Schema {
        name,
        members,
        request: false,
        refuses: None,
    }
}

const fn request(name: &'static str, members: &'static str) -> Schema {
    Schema {
        name,
        members,
        request: true,
        refuses: None,
    }
}

/// The members that every request for tasks has.
macro_rules! power_options {
    () => {
        "timeout:patience? on_soft_timeout:policy? repeat_soft_after:patience? hard_after:patience? boot_device:device? \
         uefi:boolean on_if_off:boolean on_busy:busy? take_over:taking?"
    };
}

pub(super) const SCHEMAS: &[Schema] = &[
    answer("Anything", ""),
    answer("Link", "href:string rel:string"),
    answer(
        "Versions",
        "name:string description:string default_version:Version versions:[Version] extensions:[string]",
    ),
    answer(
        "Version",
        "id:string links:[Link] status:string min_version:string version:string",
    ),
    answer(
        "Root",
        "id:string links:[Link] media_types:[object] version:Version nodes:[Link] chassis:[Link] ports:[Link] \
         drivers:[Link]",
    ),
    answer("NodeList", "nodes:[Node] next:string"),
    answer(
        "Node",
        "uuid:uuid name:string? created_at:time? updated_at:time? power_state:power? target_power_state:string? \
         supported_power_states:[target] last_error:string? maintenance:boolean maintenance_reason:string? \
         reservation:string? provision_state:string? target_provision_state:string? provision_updated_at:time? \
         console_enabled:boolean driver:string driver_info:object driver_internal_info:object extra:object \
         instance_info:object instance_uuid:uuid? properties:object chassis_uuid:uuid? clean_step:object \
         raid_config:object target_raid_config:object inspection_finished_at:time? inspection_started_at:time? \
         network_interface:string? resource_class:string? power_interface:string? management_interface:string? \
         boot_interface:string? console_interface:string? deploy_interface:string? inspect_interface:string? \
         raid_interface:string? vendor_interface:string? links:[Link] ports:[Link] portgroups:[Link] states:[Link] \
         rackbmcd:Extension?",
    ),
    answer("FreshReading", "fresh:boolean node:Node"),
    answer(
        "Extension",
        "rack:string owner:string groups:[string] task:uuid? reading:Reading? fault:string? maintenance:Hold? bmc:Bmc",
    ),
    answer("Reading", "power_state:power at:time age:number"),
    answer(
        "Bmc",
        "address:string port:integer username:string privilege:string health:string trouble:string? \
         trouble_text:string? cipher_suite:integer? round_trip:number?",
    ),
    answer("Hold", "reason:string? by:string since:time"),
    answer(
        "NodeStates",
        "console_enabled:boolean last_error:string? power_state:power? target_power_state:string? \
         supported_power_states:[target] provision_state:string? target_provision_state:string? \
         provision_updated_at:time? raid_config:object target_raid_config:object",
    ),
    answer("BootDevice", "boot_device:string? persistent:boolean?"),
    answer("SupportedBootDevices", "supported_boot_devices:[string]"),
    answer(
        "Validation",
        "power:Validity management:Validity boot:Validity deploy:Validity",
    ),
    answer("Validity", "result:boolean? reason:string"),
    answer("Drivers", "drivers:[Driver]"),
    answer(
        "Driver",
        "name:string hosts:[string] type:string links:[Link] properties:[Link]",
    ),
    answer("DriverProperties", ""),
    answer("Conductors", "conductors:[Conductor]"),
    answer(
        "Conductor",
        "hostname:string conductor_group:string alive:boolean created_at:time updated_at:time? drivers:[string] \
         links:[Link]",
    ),
    answer("Chassis", "chassis:[object]"),
    answer("Ports", "ports:[object]"),
    answer("History", "history:[HistoryEntry]"),
    answer(
        "HistoryEntry",
        "uuid:uuid created_at:time severity:string event:string event_type:string user:string? conductor:string \
         task:uuid?",
    ),
    answer(
        "Trace",
        "node:string address:string? lines:[string] forgotten:integer",
    ),
    answer(
        "Explanation",
        "node:Node facts:[Fact] failures:[Failure] boot_device:string? identity:BmcChange? \
         chassis:ChassisFacts?",
    ),
    answer(
        "BmcChange",
        "was:uuid is:uuid maker_was:natural? maker_is:natural? address_was:string? address_is:string?",
    ),
    answer("Fact", "head:string text:string"),
    answer("Failure", "at:time text:string"),
    answer("OrderAnswer", "order:string data:[byte]?"),
    answer(
        "BmcAnswer",
        "order:string manufacturer:natural product:natural firmware:string guid:uuid sessions:byte \
         possible_sessions:byte acpi:string watts:natural restart_cause:string chassis:ChassisFacts",
    ),
    answer(
        "ChassisFacts",
        "power:string restore_policy:restore? identify:light? faults:[string] last_power_event:[string] \
         locked_buttons:[string]? capabilities:[string]? self_test:string? power_on_hours:natural?",
    ),
    answer(
        "EventLog",
        "entries:[EventLogEntry] total:natural? left_out:string?",
    ),
    answer(
        "EventLogEntry",
        "id:natural at:time? timestamp:natural text:string crash:boolean",
    ),
    answer(
        "BootOverride",
        "device:device? persistent:boolean uefi:boolean",
    ),
    answer("TaskList", "tasks:[Task]"),
    answer(
        "Task",
        "id:uuid version:natural rack:string node:string node_uuid:uuid batch:uuid? operation:operation state:state \
         ended:boolean phase:string step:natural steps:natural target_power_state:string? requested_by:Requester \
         requested_at:time started_at:time? ended_at:time? elapsed:number waited:number time_left:number? power_at_start:power? \
         power_state:power? orders:[OrderUse] orders_left_out:natural outcome:string? controls:[ControlUse] controls_left_out:natural \
         took_over:uuid? taken_over_by:uuid? may_abort:boolean \
         may_cancel:boolean may_rollback:boolean may_suspend:boolean may_resume:boolean",
    ),
    answer(
        "Requester",
        "name:string uid:natural? gid:natural? pid:integer? request:string",
    ),
    answer(
        "OrderUse",
        "order:string at:time answered_at:time? answer:string? completion_code:byte? changes_power:boolean \
         left:boolean times:natural",
    ),
    answer("ControlUse", "control:string by:string at:time"),
    answer("BatchList", "batches:[Batch]"),
    answer(
        "Batch",
        "id:uuid version:natural rack:string operation:operation state:string requested_by:Requester \
         requested_at:time ended_at:time? max_parallel:natural stagger:number on_failure:string nodes:[BatchNode] \
         nodes_left_out:natural counts:object",
    ),
    answer(
        "BatchNode",
        "node:string task:uuid? state:string note:string? refused:string? begins_after:number? takes_at_most:number? plan:[string]",
    ),
    answer("Events", "events:[Event] next:event reset:boolean"),
    answer(
        "Event",
        "id:event at:time kind:string node:string? text:string task:TaskNews? power_state:power?",
    ),
    answer(
        "TaskNews",
        "id:uuid version:natural node_uuid:uuid batch:uuid? operation:operation state:state ended:boolean phase:string \
         step:natural steps:natural target_power_state:string? power_state:power? outcome:string?",
    ),
    answer("Asker", "name:string role:string? on_nodes:[RoleOnNodes]"),
    answer("RoleOnNodes", "role:string nodes:[string]"),
    answer("Pausing", "paused:boolean pause:Hold?"),
    answer(
        "Health",
        "status:string rack:string version:string nodes:natural active_tasks:natural troubled:natural \
         started_at:time store_trouble:string? pause:Hold? unreadable:[UnreadableEntry] \
         configuration_refused:ConfigurationRefused?",
    ),
    answer(
        "UnreadableEntry",
        "table:string key:string why:string nodes:[string]",
    ),
    answer("ConfigurationRefused", "since:time why:string"),
    answer(
        "Ha",
        "rack:string host:string role:role owner:HaOwner? permit_left:number? unfit:string? clock_source:string? \
         etcd:HaEtcd? hosts:[HaHost]",
    ),
    answer(
        "HaOwner",
        "host:string url:string? since:time version:string fence:natural? released:boolean",
    ),
    answer("HaEtcd", "endpoints:[string] heard:number? latency:number? space:number?"),
    answer(
        "HaHost",
        "host:string url:string? version:string started_at:time said_at:time seen:number alive:boolean unfit:string? differs:boolean \
         clock_ahead:number?",
    ),
    answer("Owning", "owner:boolean"),
    // Before the members of an answer that is not of now.
    answer(
        "Stale",
        "stale:boolean stale_age:natural rack_owner:string? rack_owner_url:string?",
    ),
    answer("AuditPage", "records:[string] head:AuditHead"),
    answer("AuditHead", "number:natural hash:string"),
    answer(
        "Support",
        "version:string host:object configuration_file:string configuration:string? configuration_trouble:string? \
         log:[string] log_forgotten:natural",
    ),
    answer("Refusal", "error:Error"),
    answer(
        "Error",
        "kind:string message:string node:string? task:string? detail:Detail?",
    ),
    // What it is depends on the kind: the task that is in the way, or one of these.
    answer(
        "Detail",
        "refused:[RefusedNode] completion_code:byte trouble:string delivery:string member:string parameter:string",
    ),
    answer(
        "RefusedNode",
        "kind:string node:string? task:string? message:string",
    ),
    answer(
        "IronicRefusal",
        "error_message:string faultcode:string faultstring:string debuginfo:any error:object",
    ),
    request("Nothing", ""),
    request("PowerRequest", "target!:target timeout:patience?").refusing(times_of_aborts),
    request(
        "BootDeviceRequest",
        "boot_device!:ironic_device persistent:truth?",
    ),
    request("MaintenanceRequest", "reason:remark?"),
    request("AcceptRequest", "guid!:uuid"),
    request("IdentifyRequest", "for:blinking?"),
    request(
        "RawRequest",
        "net_fn!:netfn lun:lun command!:byte data:raw bridge:bridge?",
    ),
    request("Bridge", "channel!:channel address!:address"),
    request(
        "DualBridge",
        "channel!:channel address!:address transit_channel!:channel transit_address!:address",
    ),
    request("BmcResetRequest", "kind!:reset"),
    request(
        "BootOverrideRequest",
        "device!:device? persistent:boolean uefi:boolean",
    ),
    request("RestorePolicyRequest", "policy!:restore"),
    request(
        "TaskStart",
        concat!("node!:name operation!:operation ", power_options!()),
    )
    .refusing(options_without_effect),
    request(
        "BatchStart",
        concat!(
            "nodes!:sets exclude:[set] operation!:operation ",
            power_options!(),
            " max_parallel:natural32? stagger:spacing? on_failure:failure? order:[string] dry_run:boolean"
        ),
    )
    .refusing(options_without_effect),
    request("BatchControl", "nodes:sets?"),
    request("ReadingsRequest", "nodes!:sets exclude:[set]"),
    request("PauseRequest", "reason!:reason"),
    request("HandoverRequest", "to:reason?"),
];

/// The members that a text in the notation names, with their kinds.
pub(in crate::api) fn members(
    text: &'static str,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    text.split_whitespace()
        .map(|member| member.split_once(':').expect("a name and a kind"))
}

impl Schema {
    const fn refusing(self, rule: fn() -> Value) -> Self {
        Self {
            refuses: Some(rule),
            ..self
        }
    }

    /// The shape as JSON Schema.
    pub(super) fn document(&self) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (name, kind) in members(self.members) {
            let plain = name.trim_end_matches('!');
            if plain != name {
                required.push(plain);
            }
            properties.insert(plain.to_owned(), typed(kind));
        }
        let mut document = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            document["required"] = required.into();
        }
        if self.request {
            document["additionalProperties"] = false.into();
        }
        if let Some(refused) = self.refuses {
            document["not"] = refused();
        }
        document
    }
}

/// The longest time that a request may name, in seconds, where the configuration says nothing else.
fn longest() -> u64 {
    RackSettings::default().longest_timeout.as_secs()
}

/// Options of a request for a task that would have no effect beside its other ones.
fn options_without_effect() -> Value {
    let idle: Vec<&str> = Operation::ALL
        .into_iter()
        .filter(|operation| !operation.boots())
        .map(Operation::name)
        .collect();
    json!({ "anyOf": [
        { "required": ["uefi"], "properties": { "uefi": { "const": true }, "boot_device": { "type": "null" } } },
        { "required": ["on_if_off"], "properties": { "on_if_off": { "const": true }, "operation": { "enum": idle } } },
        { "required": ["boot_device"],
          "properties": { "boot_device": { "type": "string" }, "operation": { "enum": idle } } },
        { "required": ["on_busy", "take_over"], "properties": {
            "on_busy": { "enum": [OnBusy::Fail.word(), OnBusy::Skip.word()] }, "take_over": { "type": "string" } } },
    ] })
}

/// A time for an abort, which takes none.
fn times_of_aborts() -> Value {
    let aborts = PowerTarget::ALL
        .into_iter()
        .filter(|target| matches!(target.change(), PowerChange::Abort(_)))
        .map(PowerTarget::name);
    let aborts: Vec<&str> = aborts.collect();
    json!({ "required": ["timeout"],
            "properties": { "target": { "enum": aborts }, "timeout": { "not": { "type": "null" } } } })
}

/// A kind as JSON Schema.
pub(super) fn typed(kind: &str) -> Value {
    if let Some(kind) = kind.strip_suffix('?') {
        return json!({ "anyOf": [typed(kind), { "type": "null" }] });
    }
    if let Some(kind) = kind
        .strip_prefix('[')
        .and_then(|kind| kind.strip_suffix(']'))
    {
        return json!({ "type": "array", "items": typed(kind) });
    }
    let known = as_number(kind).or_else(|| as_word(kind));
    known.unwrap_or_else(|| as_text(kind))
}

/// What is counted or measured.
fn as_number(kind: &str) -> Option<Value> {
    Some(match kind {
        "natural" => json!({ "type": "integer", "minimum": 0 }),
        "natural32" => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        "positive" => json!({ "type": "integer", "minimum": 1 }),
        "byte" => json!({ "type": "integer", "minimum": 0, "maximum": 255 }),
        "netfn" => json!({ "type": "integer", "minimum": 0, "maximum": 62, "multipleOf": 2 }),
        "channel" => json!({ "type": "integer", "minimum": 0, "maximum": 15 }),
        "address" => json!({ "type": "integer", "minimum": 0, "maximum": 254, "multipleOf": 2 }),
        "lun" => json!({ "type": "integer", "minimum": 0, "maximum": 3 }),
        "raw" => json!({ "type": "array", "items": typed("byte"), "maxItems": 200 }),
        // In a query everything is text.
        "seconds" => json!({ "anyOf": [
            { "type": "number", "minimum": 0 },
            { "type": "string", "pattern": r"^([0-9]{1,6}(ms|s|m|h|d)){1,3}$" },
        ] }),
        "spacing" => json!({ "anyOf": [
            { "type": "number", "minimum": 0, "maximum": longest() },
            { "type": "string", "pattern": r"^([0-9]{1,6}(ms|s)|[0-9]{1,4}m|[0-9]{1,2}h|[0-9]d|[12][0-9]d|30d)$" },
        ] }),
        "patience" => json!({ "anyOf": [
            { "type": "number", "minimum": 0.001, "maximum": longest() },
            { "type": "string", "pattern": r"^([1-9][0-9]{0,5}(ms|s)|[1-9][0-9]{0,3}m|[1-9][0-9]?h|[1-9]d|[12][0-9]d|30d)$" },
        ] }),
        // One byte of seconds (§28.5).
        "blinking" => json!({ "anyOf": [
            { "type": "number", "minimum": 0, "maximum": 255 },
            { "type": "string", "pattern": "^([1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])s$" },
        ] }),
        _ => return None,
    })
}

/// What is one of some words.
fn as_word(kind: &str) -> Option<Value> {
    Some(match kind {
        "reset" => json!({ "enum": BmcReset::words() }),
        "direction" => json!({ "enum": ["asc", "desc"] }),
        "sortable" => json!({ "enum": crate::api::ironic::nodes::SORTABLE }),
        "power" => {
            let known = PowerState::ALL
                .into_iter()
                .filter(|state| *state != PowerState::Unknown);
            json!({ "enum": known.map(PowerState::name).collect::<Vec<_>>() })
        }
        "target" => {
            json!({ "enum": PowerTarget::words() })
        }
        "operation" => {
            json!({ "enum": Operation::words() })
        }
        "state" => json!({ "enum": TaskState::words() }),
        "device" => json!({ "enum": BootDevice::words() }),
        "ironic_device" => json!({ "enum": DEVICES.map(BootDevice::name) }),
        "restore" => json!({ "enum": RestorePolicy::words() }),
        "light" => json!({ "enum": Light::words() }),
        "role" => json!({ "enum": HaRole::words() }),
        "policy" => json!({ "enum": OnSoftTimeout::words() }),
        "failure" => json!({ "enum": OnFailure::words() }),
        "busy" => json!({ "enum": OnBusy::words() }),
        "taking" => json!({ "enum": TakeOver::words() }),
        _ => return None,
    })
}

/// What is written freely, within a pattern; what has a shape of its own is named.
fn as_text(kind: &str) -> Value {
    match kind {
        "any" => json!({}),
        "string" | "boolean" | "integer" | "number" | "object" => json!({ "type": kind }),
        // What `message::truth` takes.
        "truth" => json!({ "anyOf": [{ "type": "boolean" }, { "enum": [0, 1] },
            { "type": "string",
              "pattern": "^([01tTfFyYnN]|[tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|[oO][nN]|[oO][fF][fF]|[yY][eE][sS]|[nN][oO])$" }] }),
        // To a controller behind the BMC, or to one behind another.
        "bridge" => json!({ "anyOf": [typed("Bridge"), typed("DualBridge")] }),
        "uuid" => json!({ "type": "string", "format": "uuid" }),
        "time" => json!({ "type": "string", "format": "date-time" }),
        "event" => json!({ "type": "string", "pattern": "^[0-9a-f]{1,16}-[0-9]{1,19}$" }),
        "since" => json!({ "type": "string", "pattern": "^([0-9a-f]{1,16}-[0-9]{1,19})?$" }),
        "nodes" => json!({ "type": "string", "pattern": r"^[^,\x00]+(,[^,\x00]+)*$" }),
        "fields" => {
            let known: Vec<&str> = MEMBERS.iter().map(|(name, _)| *name).collect();
            let one = known.join("|");
            json!({ "type": "string", "pattern": format!("^({one})(,({one}))*$") })
        }
        "name" => json!({ "type": "string", "minLength": 1 }),
        "set" => json!({
            "type": "string",
            "pattern": "^[A-Za-z0-9]{1,63}$",
            "description": "A node. Sets (r1n[01-16]) and groups (@compute), too, as `rackbmc` takes them.",
        }),
        "sets" => json!({ "type": "array", "items": typed("set"), "minItems": 1 }),
        "reason" => json!({
            "type": "string",
            "pattern": format!("^[^{HIDDEN}]*[^{HIDDEN}\\s][^{HIDDEN}]*$"),
            "maxLength": REASON_LIMIT,
        }),
        "remark" => json!({
            "type": "string",
            "pattern": format!("^[^{HIDDEN}]*$"),
            "maxLength": REASON_LIMIT,
        }),
        shape => super::reference(shape),
    }
}

/// What `text::is_hidden` refuses, as the inside of a bracket expression.
const HIDDEN: &str = r"\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb";
