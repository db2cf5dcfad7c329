//! What is counted for every request, each thread for itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::metrics::SECONDS;
use crate::stripe;

/// The classes of status, 1xx first.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Requests, octets and durations of all threads.
#[derive(Debug, Default)]
pub(super) struct Tallies([Tally; stripe::MOST]);

/// Those of one thread, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Tally {
    requests: [AtomicU64; CLASSES.len()],
    octets: AtomicU64,
    /// One for each bound in [`SECONDS`], and one for those beyond.
    durations: [AtomicU64; SECONDS.len() + 1],
    /// Of all durations.
    nanoseconds: AtomicU64,
}

impl Tallies {
    /// A request is over.
    pub(super) fn request(&self, status: u16, octets: u64, took: Duration) {
        let tally = &self.0[stripe::number()];
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        let seconds = took.as_secs_f64();
        let bucket = SECONDS.iter().take_while(|bound| **bound < seconds).count();
        tally.requests[class].fetch_add(1, Ordering::Relaxed);
        tally.octets.fetch_add(octets, Ordering::Relaxed);
        tally.durations[bucket].fetch_add(1, Ordering::Relaxed);
        tally.nanoseconds.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Requests, those of them that failed by the server's or a script's fault, and octets.
    pub(super) fn totals(&self) -> (u64, u64, u64) {
        let class = |class: usize| self.sum(|tally| &tally.requests[class]);
        ((0..CLASSES.len()).map(class).sum(), class(CLASSES.len() - 1), self.sum(|tally| &tally.octets))
    }

    fn sum(&self, of: impl Fn(&Tally) -> &AtomicU64) -> u64 {
        self.0.iter().map(|tally| of(tally).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

impl Collector for Tallies {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let what = "Requests answered, by class of status";
        let mut requests = encoder.encode_descriptor("requests", what, None, MetricType::Counter)?;
        for (class, name) in CLASSES.into_iter().enumerate() {
            let count = self.sum(|tally| &tally.requests[class]);
            requests.encode_family(&[("status", name)])?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        let what = "Octets of bodies sent";
        let mut octets = encoder.encode_descriptor("response", what, Some(&Unit::Bytes), MetricType::Counter)?;
        octets.encode_counter::<NoLabelSet, _, u64>(&self.sum(|tally| &tally.octets), None)?;

        let what = "From the head to the last octet";
        let seconds = Some(&Unit::Seconds);
        let mut durations = encoder.encode_descriptor("request_duration", what, seconds, MetricType::Histogram)?;
        let bounds = SECONDS.into_iter().chain([f64::INFINITY]).enumerate();
        let buckets: Vec<_> = bounds.map(|(n, bound)| (bound, self.sum(|tally| &tally.durations[n]))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.sum(|tally| &tally.nanoseconds) as f64 / 1e9;
        durations.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}
