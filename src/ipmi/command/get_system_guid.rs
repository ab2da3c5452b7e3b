//! Get System GUID (§22.14): the managed system's, as `ipmitool mc guid` asks for it.

use super::get_device_guid::Response;
use super::plain_request;
use crate::ipmi::message::net_fn;

plain_request!(net_fn::APP, 0x37, "Get System GUID", Response);
