//! Cold Reset (§20.2): the BMC starts afresh; the machine is meant to run on.

use super::{Empty, plain_request};
use crate::ipmi::message::net_fn;

plain_request!(net_fn::APP, 0x02, "Cold Reset", Empty);
