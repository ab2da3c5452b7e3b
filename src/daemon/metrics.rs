//! The text of `/metrics` (OpenMetrics), made from what the daemon knows already: a scrape never touches a BMC.

use crate::rack::Counters;
use crate::rack::call::{HealthView, NodeView, PowerState};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

/// Everything that one scrape shows.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) health: HealthView,
    pub(super) nodes: Vec<NodeView>,
    pub(super) counters: Counters,
    pub(super) sockets: usize,
}

/// The text.
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
        self.encode_nodes(&mut encoder)
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
            "udp_sockets",
            "Open UDP sockets.",
            i64::try_from(self.sockets).unwrap_or(i64::MAX),
        )
    }

    fn encode_counters(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let counters = &self.counters;
        let tasks: Vec<_> = counters
            .tasks
            .iter()
            .map(|((operation, state), count)| {
                ([("operation", *operation), ("outcome", *state)], *count)
            })
            .collect();
        counted(encoder, "tasks_ended", "Tasks that ended.", &tasks)?;
        let reports: Vec<_> = counters
            .reports
            .iter()
            .map(|(kind, count)| ([("kind", *kind)], *count))
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
            .map(|(code, count)| ([("code", code.as_str())], *count))
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
            .map(|(why, count)| ([("cause", *why)], *count))
            .collect();
        counted(
            encoder,
            "unanswered",
            "Orders without an answer, by cause.",
            &troubles,
        )?;
        let way = |direction, count| ([("direction", direction)], count);
        let datagrams = [
            way("sent", counters.sent),
            way("received", counters.received),
            way("stray", counters.strangers),
        ];
        counted(
            encoder,
            "datagrams",
            "Datagrams handed to and taken from the network.",
            &datagrams,
        )
    }

    fn encode_nodes(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let label = |node: &NodeView| [("node", node.name.clone()), ("rack", node.rack.clone())];
        let power = |node: &NodeView| match node.power_state {
            PowerState::On => Some(1i64),
            PowerState::Off => Some(0),
            PowerState::Error | PowerState::Unknown => None,
        };
        let powers: Vec<_> = self
            .nodes
            .iter()
            .filter_map(|node| Some((label(node), power(node)?)))
            .collect();
        family(
            encoder,
            "power_on",
            "Whether the node is on; nothing where that is not known.",
            None,
            &powers,
        )?;
        let up: Vec<_> = self
            .nodes
            .iter()
            .map(|node| (label(node), i64::from(node.bmc.trouble.is_none())))
            .collect();
        family(
            encoder,
            "bmc_up",
            "Whether nothing stands in the way of the BMC.",
            None,
            &up,
        )?;
        let ages: Vec<_> = self
            .nodes
            .iter()
            .filter_map(|node| Some((label(node), node.reading.as_ref()?.age.as_secs_f64())))
            .collect();
        family(
            encoder,
            "reading_age",
            "Age of the last power reading.",
            Some(&Unit::Seconds),
            &ages,
        )?;
        let trips: Vec<_> = self
            .nodes
            .iter()
            .filter_map(|node| Some((label(node), node.bmc.round_trip?.as_secs_f64())))
            .collect();
        family(
            encoder,
            "bmc_round_trip",
            "Smoothed round trip to the BMC.",
            Some(&Unit::Seconds),
            &trips,
        )
    }
}

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
