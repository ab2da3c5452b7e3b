//! Figures of a host that has a second one beside it.

use super::{Encoded, counted, family};
use crate::daemon::members;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;
use std::time::Duration;

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Figures {
    /// Whether this host owns the rack.
    pub(in crate::daemon) owner: bool,
    /// How long what changes machines may leave from now on.
    pub(in crate::daemon) permit: Duration,
    /// The number of this host's tenure, or of its last one.
    pub(in crate::daemon) fence: u64,
    /// Datagrams that the last look at the permit has kept back.
    pub(in crate::daemon) withheld: u64,
    /// Tenures that this process has begun, by how they came about.
    pub(in crate::daemon) began: Vec<(&'static str, u64)>,
    /// Tenures that another host has ended.
    pub(in crate::daemon) deposed: u64,
    /// Requests to etcd.
    pub(in crate::daemon) etcd: members::Figures,
}

impl Figures {
    pub(super) fn encode(&self, rack: &str, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let rack = ("rack", rack);
        family(
            encoder,
            "ha_owner",
            "Whether this host owns the rack.",
            None,
            &[([rack], i64::from(self.owner))],
        )?;
        family(
            encoder,
            "ha_permit",
            "How long what changes machines may leave from now on.",
            Some(&Unit::Seconds),
            &[([rack], self.permit.as_secs_f64())],
        )?;
        let fence = i64::try_from(self.fence).unwrap_or(i64::MAX);
        family(
            encoder,
            "ha_fence",
            "The number of this host's tenure, or of its last one.",
            None,
            &[([rack], fence)],
        )?;
        counted(
            encoder,
            "ha_withheld_datagrams",
            "Datagrams that the last look at the permit has kept back: there should be none.",
            &[([rack], self.withheld)],
        )?;
        counted(
            encoder,
            "ha_deposed",
            "Tenures of this host that another one has ended.",
            &[([rack], self.deposed)],
        )?;
        let began: Vec<_> = self
            .began
            .iter()
            .map(|(cause, count)| ([("cause", *cause), rack], *count))
            .collect();
        counted(
            encoder,
            "ha_takeovers",
            "Tenures that this host has begun.",
            &began,
        )?;
        let answered = &self.etcd.answered;
        let counts: Vec<_> = answered
            .iter()
            .map(|(op, (count, _))| ([("op", *op), rack], *count))
            .collect();
        counted(
            encoder,
            "etcd_requests",
            "Requests that etcd has answered.",
            &counts,
        )?;
        let errors: Vec<_> = self
            .etcd
            .troubles
            .iter()
            .map(|((op, code), count)| ([("op", *op), ("code", *code), rack], *count))
            .collect();
        counted(
            encoder,
            "etcd_errors",
            "Requests that etcd has not answered, or refused.",
            &errors,
        )
    }
}
