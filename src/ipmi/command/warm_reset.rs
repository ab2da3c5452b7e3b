//! Warm Reset (§20.3): the BMC starts afresh and keeps its settings; the machine is meant to run
//! on.

use super::{Empty, plain_request};
use crate::ipmi::message::net_fn;

plain_request!(net_fn::APP, 0x03, "Warm Reset", Empty);
