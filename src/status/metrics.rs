//! Numbers for Prometheus.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::tally::Tallies;
use crate::app::App;
use crate::gateway::{Fault, Record};
use crate::spawner::Ending;

type Labels = [(&'static str, &'static str); 1];
type Count = Family<Labels, Counter<u64, AtomicU64>>;
type Level = Gauge<i64, AtomicI64>;

/// Upper bounds of durations, seconds.
pub(super) const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// All of them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    tallies: Arc<Tallies>,
    scripts: Histogram,
    spawns: Histogram,
    exits: Count,
    kills: Count,
    running: Level,
    queued: Level,
    websockets: Level,
    lost_lines: Level,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("cgiserve");
        let metrics = Self {
            tallies: Arc::default(),
            scripts: Histogram::new(SECONDS),
            spawns: Histogram::new(SECONDS),
            exits: Count::default(),
            kills: Count::default(),
            running: Level::default(),
            queued: Level::default(),
            websockets: Level::default(),
            lost_lines: Level::default(),
            registry: Registry::default(),
        };
        registry.register_collector(Box::new(metrics.tallies.clone()));
        let seconds = || Unit::Seconds;
        registry.register_with_unit(
            "script_duration",
            "From arrival to the end of the process",
            seconds(),
            metrics.scripts.clone(),
        );
        registry.register_with_unit(
            "script_spawn",
            "From hand-over to the running process",
            seconds(),
            metrics.spawns.clone(),
        );
        registry.register("script_exits", "How scripts ended", metrics.exits.clone());
        registry.register("script_kills", "Scripts that the server ended, by reason", metrics.kills.clone());
        registry.register("scripts_running", "Scripts running", metrics.running.clone());
        registry.register("scripts_queued", "Requests waiting for a place", metrics.queued.clone());
        registry.register("websocket_clients", "Open WebSockets", metrics.websockets.clone());
        registry.register("log_lines_lost", "Lines that the log could not take", metrics.lost_lines.clone());
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// A request is over.
    pub fn request(&self, status: u16, octets: u64, took: Duration) {
        self.tallies.request(status, octets, took);
    }

    /// A script's process has gone.
    pub(super) fn script(&self, took: Duration, ending: Option<Ending>, record: &Record) {
        self.scripts.observe(took.as_secs_f64());
        if let Some(spawn) = record.spawn_time() {
            self.spawns.observe(spawn.as_secs_f64());
        }
        let how = match ending {
            Some(Ending::Exited { status: 0, .. }) => "success",
            Some(Ending::Exited { .. }) => "failure",
            Some(Ending::Signalled { .. }) => "signal",
            Some(Ending::NotStarted { .. }) => "not-started",
            Some(Ending::SpawnerDied) | None => "lost",
        };
        self.exits.get_or_create(&[("how", how)]).inc();
        let reason = match record.body_fault() {
            _ if record.end_asked() => Some("operator"),
            Some(Fault::TimedOut { key }) => Some(key),
            Some(Fault::Shorter { .. }) => Some("body-shorter"),
            Some(Fault::Longer { .. }) => None,
            None => record.killed_for(),
        };
        if let (Some(reason), Some(Ending::Signalled { .. })) = (reason, ending) {
            self.kills.get_or_create(&[("reason", reason)]).inc();
        }
    }

    /// Requests answered, those that failed with 5xx, and octets of bodies, since the start.
    pub(super) fn totals(&self) -> (u64, u64, u64) {
        self.tallies.totals()
    }

    /// The text that Prometheus reads.
    pub fn encode(&self, app: &App) -> String {
        let level = |gauge: &Level, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        let (running, queued) = app.config.admission.load();
        level(&self.running, running);
        level(&self.queued, queued);
        level(&self.websockets, app.config.websockets.load().0);
        self.lost_lines.set(i64::try_from(app.log.lost()).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing to memory cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_class() {
        let metrics = Metrics::default();
        metrics.request(204, 0, Duration::from_millis(3));
        metrics.request(502, 7, Duration::from_millis(3));
        metrics.request(0, 0, Duration::ZERO);
        let mut text = String::new();
        encode(&mut text, &metrics.registry).unwrap();
        for line in [
            "cgiserve_requests_total{status=\"2xx\"} 1",
            "cgiserve_requests_total{status=\"5xx\"} 1",
            "cgiserve_response_bytes_total 7",
            "cgiserve_request_duration_seconds_count 3",
            "cgiserve_request_duration_seconds_sum 0.006",
            "cgiserve_request_duration_seconds_bucket{le=\"0.0025\"} 1",
            "cgiserve_request_duration_seconds_bucket{le=\"0.005\"} 3",
            "cgiserve_request_duration_seconds_bucket{le=\"+Inf\"} 3",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }
}
