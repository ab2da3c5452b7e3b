//! The text of `/metrics` (OpenMetrics), made from what the daemon knows already: a scrape never
//! touches a BMC.

pub(super) mod ha;

use crate::model::{Chassis, Health, Light, Node, Power, PowerState, Trouble, Word};
use crate::rack::{Counters, Durations, Figures};
use crate::time::WallTime;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Everything that one scrape shows.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) health: Health,
    pub(super) nodes: Vec<Node>,
    pub(super) counters: Counters,
    pub(super) figures: Figures,
    pub(super) sockets: usize,
    pub(super) journal_bytes: u64,
    pub(super) audit_bytes: u64,
    /// For how long the oldest of what was put down has waited to be durable.
    pub(super) journal_waiting: Duration,
    /// Datagrams that the kernel dropped because our buffers were full.
    pub(super) overflowed: u64,
    /// Where the rack has another host.
    pub(super) shared: Option<ha::Figures>,
}

pub(super) fn text(snapshot: Snapshot) -> String {
    let mut registry = Registry::with_prefix("rackbmc");
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => text,
        Err(error) => format!("# the metrics could not be written: {error}\n# EOF\n"),
    }
}

type Encoded = Result<(), std::fmt::Error>;

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoded {
        self.encode_rack(&mut encoder)?;
        self.encode_counters(&mut encoder)?;
        self.encode_durations(&mut encoder)?;
        self.encode_figures(&mut encoder)?;
        self.encode_nodes(&mut encoder)?;
        self.encode_chassis(&mut encoder)?;
        match &self.shared {
            Some(shared) => shared.encode(&self.health.rack, &mut encoder),
            None => Ok(()),
        }
    }
}

impl Snapshot {
    fn encode_rack(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let labels = [
            ("rack", self.health.rack.as_str()),
            ("version", env!("CARGO_PKG_VERSION")),
        ];
        family(
            encoder,
            "build",
            "The daemon's version.",
            None,
            &[(labels, 1i64)],
        )?;
        let rack = [("rack", self.health.rack.as_str())];
        let mut gauge =
            |name, help, value: i64| family(encoder, name, help, None, &[(rack, value)]);
        gauge("nodes", "Configured nodes.", i64::from(self.health.nodes))?;
        gauge(
            "active_tasks",
            "Tasks that have not ended.",
            i64::from(self.health.active_tasks),
        )?;
        gauge(
            "troubled_bmcs",
            "BMCs that something stands in the way of.",
            i64::from(self.health.troubled),
        )?;
        gauge(
            "paused",
            "Whether the rack is paused.",
            i64::from(self.health.pause.is_some()),
        )?;
        gauge(
            "journal_failed",
            "Whether the journal cannot be written.",
            i64::from(self.health.store_trouble.is_some()),
        )?;
        gauge(
            "configuration_refused",
            "Whether the configuration on the disk is wrong, and an older one in force.",
            i64::from(self.health.configuration_refused.is_some()),
        )?;
        gauge(
            "udp_sockets",
            "Open UDP sockets.",
            i64::try_from(self.sockets).unwrap_or(i64::MAX),
        )?;
        for (name, help, bytes) in [
            (
                "journal_size",
                "The journal's file, which does not get smaller.",
                self.journal_bytes,
            ),
            (
                "audit_size",
                "The records of the audit trail.",
                self.audit_bytes,
            ),
        ] {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            family(encoder, name, help, Some(&Unit::Bytes), &[(rack, bytes)])?;
        }
        family(
            encoder,
            "journal_waiting",
            "How long the oldest of what was put down has waited for the disk, or for etcd.",
            Some(&Unit::Seconds),
            &[(rack, self.journal_waiting.as_secs_f64())],
        )?;
        let refused: Vec<_> = self.health.configuration_refused.iter().collect();
        let refused: Vec<_> = refused
            .iter()
            .map(|refused| (rack, seconds(refused.since)))
            .collect();
        family(
            encoder,
            "configuration_refused_timestamp",
            "Since when the configuration on the disk is known to be wrong.",
            Some(&Unit::Seconds),
            &refused,
        )
    }

    fn encode_counters(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let counters = &self.counters;
        let rack = ("rack", self.health.rack.as_str());
        let tasks: Vec<_> = counters
            .tasks
            .iter()
            .map(|((operation, state), took)| {
                (
                    [("operation", *operation), ("outcome", *state), rack],
                    took.count,
                )
            })
            .collect();
        counted(encoder, "tasks_ended", "Tasks that ended.", &tasks)?;
        let reports: Vec<_> = counters
            .reports
            .iter()
            .map(|(kind, count)| ([("kind", *kind), rack], *count))
            .collect();
        counted(
            encoder,
            "orders",
            "Orders by how their BMC reported.",
            &reports,
        )?;
        let codes: Vec<(String, u64)> = counters
            .refusals
            .iter()
            .map(|(code, count)| (format!("{code:02x}"), *count))
            .collect();
        let codes: Vec<_> = codes
            .iter()
            .map(|(code, count)| ([("code", code.as_str()), rack], *count))
            .collect();
        counted(
            encoder,
            "refusals",
            "Orders that BMCs refused, by completion code.",
            &codes,
        )?;
        let troubles: Vec<_> = counters
            .troubles
            .iter()
            .map(|(why, count)| ([("cause", *why), rack], *count))
            .collect();
        counted(
            encoder,
            "unanswered",
            "Orders without an answer, by cause.",
            &troubles,
        )?;
        let way = |direction, count| ([("direction", direction), rack], count);
        let datagrams = [
            way("sent", counters.sent),
            way("received", counters.received),
            way("stray", counters.strangers),
            way("overflowed", self.overflowed),
        ];
        counted(
            encoder,
            "datagrams",
            "Datagrams handed to and taken from the network; overflowed: dropped by the kernel because a receive buffer was full.",
            &datagrams,
        )?;
        counted(
            encoder,
            "unasked_power_changes",
            "Changes of a power state that nobody asked this daemon for.",
            &[([rack], counters.unasked)],
        )
    }

    fn encode_durations(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        if self.counters.tasks.is_empty() {
            return Ok(());
        }
        let rack = ("rack", self.health.rack.as_str());
        let mut metric = encoder.encode_descriptor(
            "task_duration",
            "From the request for a task to its end.",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for ((operation, outcome), took) in &self.counters.tasks {
            let labels = [("operation", *operation), ("outcome", *outcome), rack];
            let bounds = Durations::BOUNDS.iter().map(|bound| *bound as f64);
            let mut buckets: Vec<(f64, u64)> = bounds.zip(took.within).collect();
            // What took longer than the last bound: the bucket of all the rest.
            buckets.push((f64::INFINITY, took.count - took.within.iter().sum::<u64>()));
            metric
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(
                    took.sum.as_secs_f64(),
                    took.count,
                    &buckets,
                    None,
                )?;
        }
        Ok(())
    }

    fn encode_figures(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let rack = [("rack", self.health.rack.as_str())];
        let figures = &self.figures;
        let tasks: Vec<_> = ["queued", "running", "suspended"]
            .into_iter()
            .chain(figures.tasks.keys().copied())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|state| {
                let count = figures.tasks.get(state).copied().unwrap_or_default();
                (
                    [("state", state), rack[0]],
                    i64::try_from(count).unwrap_or(i64::MAX),
                )
            })
            .collect();
        family(
            encoder,
            "tasks",
            "Tasks that have not ended, by state.",
            None,
            &tasks,
        )?;
        let waiting = i64::try_from(figures.waiting_orders).unwrap_or(i64::MAX);
        family(
            encoder,
            "waiting_orders",
            "Orders that wait for their BMC's turn, or for its answer.",
            None,
            &[(rack, waiting)],
        )?;
        let sessions = [
            ([("event", "handshake"), rack[0]], figures.handshakes),
            ([("event", "opened"), rack[0]], figures.opened),
            ([("event", "lost"), rack[0]], figures.lost),
        ];
        counted(
            encoder,
            "sessions",
            "Sessions with the configured BMCs: handshakes begun, sessions opened and lost.",
            &sessions,
        )?;
        counted(
            encoder,
            "resends",
            "Copies of requests sent to the configured BMCs.",
            &[(rack, figures.resends)],
        )
    }

    /// A value of each node that has it.
    fn of_nodes<V>(&self, value: impl Fn(&Node) -> Option<V>) -> Vec<(Labels, V)> {
        let labels = |node: &Node| {
            [
                ("node", node.name.clone()),
                ("rack", node.rackbmcd.rack.clone()),
            ]
        };
        let nodes = self.nodes.iter();
        nodes
            .filter_map(|node| Some((labels(node), value(node)?)))
            .collect()
    }

    fn encode_nodes(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let power = |node: &Node| match node.power_state {
            PowerState::On => Some(1i64),
            PowerState::Off => Some(0),
            // What the last operation left open may have been read since.
            PowerState::Error => {
                let reading = node.rackbmcd.reading.as_ref();
                let power = reading.and_then(|reading| reading.power_state.known());
                power.map(|power| i64::from(power == Power::On))
            }
            PowerState::Unknown => None,
        };
        family(
            encoder,
            "power_on",
            "Whether the node is on; nothing where that is not known.",
            None,
            &self.of_nodes(power),
        )?;
        self.encode_flags(encoder)?;
        self.encode_readings(encoder)
    }

    fn encode_flags(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let mut flag = |name, help, is: fn(&Node) -> bool| {
            let values = self.of_nodes(|node| Some(i64::from(is(node))));
            family(encoder, name, help, None, &values)
        };
        flag(
            "bmc_up",
            "Whether nothing stands in the way of the BMC.",
            |node| node.rackbmcd.bmc.trouble.is_none(),
        )?;
        flag(
            "bmc_log_in_held",
            "Whether log-ins failed and none is tried for a while.",
            |node| {
                matches!(
                    node.rackbmcd.bmc.trouble,
                    Some(Word::Known(
                        Trouble::Held | Trouble::WrongPassword | Trouble::UnknownUser
                    ))
                )
            },
        )?;
        flag(
            "bmc_locked",
            "Whether another daemon of this host has the BMC, so that nothing is sent to it.",
            |node| node.rackbmcd.bmc.trouble == Some(Word::Known(Trouble::Locked)),
        )?;
        flag(
            "node_fault",
            "Whether the last readings of the power state all failed.",
            |node| node.rackbmcd.fault.is_some(),
        )?;
        flag(
            "node_error",
            "Whether the last operation left the power state open.",
            |node| node.power_state == PowerState::Error,
        )?;
        flag(
            "node_maintenance",
            "Whether the node is in maintenance.",
            |node| node.rackbmcd.maintenance.is_some(),
        )
    }

    fn encode_readings(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        family(
            encoder,
            "last_reading_timestamp",
            "When the power state was last read.",
            Some(&Unit::Seconds),
            &self.of_nodes(|node| Some(seconds(node.rackbmcd.reading.as_ref()?.at))),
        )?;
        family(
            encoder,
            "power_use_watts",
            "The power use last read, which is read only when somebody asks for it.",
            None,
            &self.of_nodes(|node| Some(i64::from(*self.counters.watts.get(&*node.name)?))),
        )?;
        family(
            encoder,
            "reading_age",
            "Age of the last power reading.",
            Some(&Unit::Seconds),
            &self.of_nodes(|node| Some(node.rackbmcd.reading.as_ref()?.age.as_secs_f64())),
        )?;
        family(
            encoder,
            "bmc_round_trip",
            "Smoothed round trip to the BMC.",
            Some(&Unit::Seconds),
            &self.of_nodes(|node| Some(node.rackbmcd.bmc.round_trip?.as_secs_f64())),
        )
    }
}

impl Snapshot {
    /// What BMCs say of the chassis: a series for each thing that is wrong, and for each word that
    /// stands.
    fn encode_chassis(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let rack = self.health.rack.as_str();
        let said = |name: &'static str, words: &dyn Fn(&Chassis) -> Vec<String>| {
            let mut values = Vec::new();
            for (node, chassis) in &self.figures.chassis {
                let words = words(chassis).into_iter();
                values.extend(words.map(|word| {
                    let labels = [("node", node.clone()), (name, word)];
                    let [node, said] = labels;
                    ([node, said, ("rack", rack.to_owned())], 1i64)
                }));
            }
            values
        };
        let faults = said("fault", &|chassis| chassis.faults.clone());
        family(
            encoder,
            "chassis_fault",
            "Faults that the BMC tells of.",
            None,
            &faults,
        )?;
        let policies = said("policy", &|chassis| {
            let policy = chassis
                .restore_policy
                .map(|policy| policy.name().to_owned());
            policy.into_iter().collect()
        });
        family(
            encoder,
            "restore_policy",
            "What the machine does when mains power comes back.",
            None,
            &policies,
        )?;
        let events = said("event", &|chassis| chassis.last_power_event.clone());
        family(
            encoder,
            "last_power_event",
            "What the last change of power came from, as the BMC says.",
            None,
            &events,
        )?;
        let lights: Vec<_> = self
            .figures
            .chassis
            .iter()
            .filter_map(|(node, chassis)| {
                let labels = [("node", node.as_str()), ("rack", rack)];
                Some((labels, i64::from(chassis.identify? != Light::Off)))
            })
            .collect();
        family(
            encoder,
            "identify_light",
            "Whether the identify light is on; nothing where the BMC does not say.",
            None,
            &lights,
        )?;
        let others = self.figures.strangers.iter();
        let others: Vec<_> = others
            .map(|(node, count)| ([("node", node.as_str()), ("rack", rack)], i64::from(*count)))
            .collect();
        family(
            encoder,
            "bmc_sessions_of_others",
            "Sessions that somebody else had with the BMC when they were counted last.",
            None,
            &others,
        )
    }
}

/// A moment as Prometheus writes it.
fn seconds(at: WallTime) -> f64 {
    at.unix_micros() as f64 / 1e6
}

/// The name of a node and that of its rack.
type Labels = [(&'static str, Arc<str>); 2];

/// One gauge with its labelled values.
fn family<L, V>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    values: &[(L, V)],
) -> Encoded
where
    L: prometheus_client::encoding::EncodeLabelSet,
    V: prometheus_client::encoding::EncodeGaugeValue + Copy,
{
    if let Some((_, first)) = values.first() {
        let kind = ConstGauge::new(*first).metric_type();
        let mut metric = encoder.encode_descriptor(name, help, unit, kind)?;
        for (labels, value) in values {
            ConstGauge::new(*value).encode(metric.encode_family(labels)?)?;
        }
    }
    Ok(())
}

/// One counter with its labelled values.
fn counted<L>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: &[(L, u64)],
) -> Encoded
where
    L: prometheus_client::encoding::EncodeLabelSet,
{
    if !values.is_empty() {
        let kind = ConstCounter::new(0u64).metric_type();
        let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            ConstCounter::new(*value).encode(metric.encode_family(labels)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let mut counters = Counters::default();
        let took = Durations {
            count: 3,
            sum: Duration::from_millis(4_002_500),
            within: [1, 1, 0, 0, 0, 0, 0, 0],
        };
        counters.tasks.insert(("power on", "succeeded"), took);
        counters.refusals.insert(0xc1, 2);
        let chassis = r#"{"power": "power on", "restore_policy": "previous", "identify": "timed",
            "faults": ["fan"], "last_power_event": ["overload"]}"#;
        let chassis = serde_json::from_str(chassis).expect("what the API says of a chassis");
        Snapshot {
            health: Health {
                rack: "r1".into(),
                ..Health::default()
            },
            nodes: Vec::new(),
            counters,
            figures: Figures {
                tasks: [("queued", 4)].into(),
                waiting_orders: 5,
                resends: 6,
                strangers: vec![("n1".to_owned(), 2)],
                chassis: vec![("n1".to_owned(), chassis)],
                ..Figures::default()
            },
            sockets: 1,
            journal_bytes: 77,
            audit_bytes: 33,
            journal_waiting: Duration::from_millis(1500),
            overflowed: 0,
            shared: None,
        }
    }

    /// The buckets are cumulative and the last one holds all (OpenMetrics 1.0, histogram).
    #[test]
    fn the_figures_are_there_as_openmetrics_has_them() {
        let text = text(snapshot());
        for line in [
            "# TYPE rackbmc_task_duration_seconds histogram",
            "# UNIT rackbmc_task_duration_seconds seconds",
            "rackbmc_task_duration_seconds_sum{operation=\"power on\",outcome=\"succeeded\",rack=\"r1\"} 4002.5",
            "rackbmc_task_duration_seconds_count{operation=\"power on\",outcome=\"succeeded\",rack=\"r1\"} 3",
            "rackbmc_task_duration_seconds_bucket{le=\"1.0\",operation=\"power on\",outcome=\"succeeded\",rack=\"r1\"} 1",
            "rackbmc_task_duration_seconds_bucket{le=\"5.0\",operation=\"power on\",outcome=\"succeeded\",rack=\"r1\"} 2",
            "rackbmc_task_duration_seconds_bucket{le=\"3600.0\",operation=\"power on\",outcome=\"succeeded\",rack=\"r1\"} 2",
            "rackbmc_task_duration_seconds_bucket{le=\"+Inf\",operation=\"power on\",outcome=\"succeeded\",rack=\"r1\"} 3",
            "rackbmc_tasks_ended_total{operation=\"power on\",outcome=\"succeeded\",rack=\"r1\"} 3",
            "rackbmc_refusals_total{code=\"c1\",rack=\"r1\"} 2",
            "rackbmc_tasks{state=\"queued\",rack=\"r1\"} 4",
            "rackbmc_tasks{state=\"running\",rack=\"r1\"} 0",
            "rackbmc_waiting_orders{rack=\"r1\"} 5",
            "rackbmc_sessions_total{event=\"lost\",rack=\"r1\"} 0",
            "rackbmc_unasked_power_changes_total{rack=\"r1\"} 0",
            "rackbmc_journal_size_bytes{rack=\"r1\"} 77",
            "rackbmc_audit_size_bytes{rack=\"r1\"} 33",
            "rackbmc_journal_waiting_seconds{rack=\"r1\"} 1.5",
            "rackbmc_configuration_refused{rack=\"r1\"} 0",
            "rackbmc_resends_total{rack=\"r1\"} 6",
            "rackbmc_chassis_fault{node=\"n1\",fault=\"fan\",rack=\"r1\"} 1",
            "rackbmc_restore_policy{node=\"n1\",policy=\"previous\",rack=\"r1\"} 1",
            "rackbmc_last_power_event{node=\"n1\",event=\"overload\",rack=\"r1\"} 1",
            "rackbmc_bmc_sessions_of_others{node=\"n1\",rack=\"r1\"} 2",
            "rackbmc_identify_light{node=\"n1\",rack=\"r1\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
