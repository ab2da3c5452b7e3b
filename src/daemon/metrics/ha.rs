//! Figures of a host that has a second one beside it.

use super::{Encoded, counted, family};
use crate::etcd_client;
use crate::model::HaHost;
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
    /// The hosts of the rack.
    pub(in crate::daemon) hosts: Vec<HaHost>,
    /// Requests to etcd.
    pub(in crate::daemon) etcd: etcd_client::Figures,
    /// How much of its space each member of etcd has used.
    pub(in crate::daemon) etcd_space: Vec<(String, f64)>,
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
        self.encode_hosts(rack, encoder)?;
        self.encode_etcd(rack, encoder)
    }

    /// What was asked of etcd, and how it is.
    fn encode_etcd(
        &self,
        rack: (&'static str, &str),
        encoder: &mut DescriptorEncoder<'_>,
    ) -> Encoded {
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
        let times: Vec<_> = answered
            .iter()
            .map(|(op, (_, time))| ([("op", *op), rack], time.as_secs_f64()))
            .collect();
        family(
            encoder,
            "etcd_answering",
            "How long etcd took for the requests that it has answered, all together.",
            Some(&Unit::Seconds),
            &times,
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
        )?;
        let space: Vec<_> = self
            .etcd_space
            .iter()
            .map(|(member, ratio)| ([("member", member.as_str()), rack], *ratio))
            .collect();
        family(
            encoder,
            "etcd_space_ratio",
            "How much of its quota a member of etcd has used: 1 is all, and it takes no commits then.",
            None,
            &space,
        )
    }

    /// What the hosts of the rack say of themselves.
    fn encode_hosts(
        &self,
        rack: (&'static str, &str),
        encoder: &mut DescriptorEncoder<'_>,
    ) -> Encoded {
        let of_each = |figure: fn(&HaHost) -> Option<f64>| -> Vec<_> {
            let hosts = self.hosts.iter();
            let known = hosts.filter_map(|host| Some((host, figure(host)?)));
            known
                .map(|(host, figure)| ([("host", host.host.as_str()), rack], figure))
                .collect()
        };
        family(
            encoder,
            "ha_peer_seen",
            "How long ago a host of the rack said something of itself.",
            Some(&Unit::Seconds),
            &of_each(|host| Some(host.seen)),
        )?;
        family(
            encoder,
            "ha_fit",
            "Whether a host of the rack is alive and could take it.",
            None,
            &of_each(|host| Some(f64::from(u8::from(host.alive && host.unfit.is_none())))),
        )?;
        family(
            encoder,
            "ha_config_differs",
            "Whether a host of the rack has other nodes in its configuration than this one.",
            None,
            &of_each(|host| Some(f64::from(u8::from(host.differs)))),
        )?;
        family(
            encoder,
            "ha_clock_skew",
            "By how much the calendar of a host of the rack is ahead of this one's.",
            Some(&Unit::Seconds),
            &of_each(|host| host.clock_ahead),
        )
    }
}
