//! What the service counts, as Prometheus reads it.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper ends of the classes of delays, in microseconds.
const DELAYS: [u64; 12] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 1_000_000,
];

/// Counters of the whole service.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) requests: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) traces: AtomicU64,
    pub(crate) tracees: AtomicU64,
    pub(crate) unfollowed: AtomicU64,
    pub(crate) calls: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) overwritten: AtomicU64,
    pub(crate) readers: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) lost: AtomicU64,
    delays: [AtomicU64; DELAYS.len()],
    delay_sum: AtomicU64,
}

/// What is so at the moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) running: usize,
    pub(crate) ended: usize,
    pub(crate) readers: usize,
    pub(crate) tracees: usize,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Metrics {
    /// An event was handed to a reader, so long after its stop.
    pub(crate) fn deliver(&self, delay: Duration) {
        count(&self.delivered);
        let delay = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.delay_sum.fetch_add(delay, Relaxed);
        let class = DELAYS.iter().position(|end| delay <= *end);
        if let Some(class) = class.and_then(|class| self.delays.get(class)) {
            count(class);
        }
    }

    /// The text that Prometheus reads.
    pub(crate) fn text(&self, gauges: Gauges, tracer: &tracehound::Metrics) -> String {
        let mut out = String::new();
        let now = [
            ("traces_running", "Traces that run.", gauges.running),
            (
                "traces_ended",
                "Traces that have ended and are kept.",
                gauges.ended,
            ),
            ("tracees", "Threads that are traced.", gauges.tracees),
            ("readers", "Readers of events.", gauges.readers),
        ];
        for (name, help, value) in now {
            metric(&mut out, name, "gauge", help, value as u64);
        }
        let since = [
            ("requests", "HTTP requests.", &self.requests),
            (
                "refused",
                "HTTP requests that were answered with an error.",
                &self.refused,
            ),
            ("traces", "Traces that were begun.", &self.traces),
            ("tracees", "Threads that were traced.", &self.tracees),
            (
                "unfollowed",
                "Threads that were let go, being too many.",
                &self.unfollowed,
            ),
            ("calls", "System calls that were seen.", &self.calls),
            ("events", "Events that were recorded.", &self.events),
            (
                "overwritten",
                "Events that were overwritten by newer ones.",
                &self.overwritten,
            ),
            ("readers", "Readers that have come.", &self.readers),
            (
                "delivered",
                "Events that were handed to a reader.",
                &self.delivered,
            ),
            (
                "lost",
                "Events that were overwritten before a reader had them.",
                &self.lost,
            ),
        ];
        for (name, help, value) in since {
            metric(
                &mut out,
                &format!("{name}_total"),
                "counter",
                help,
                value.load(Relaxed),
            );
        }
        self.write_delays(&mut out);
        write_tracer(&mut out, tracer);
        out
    }

    fn write_delays(&self, out: &mut String) {
        const NAME: &str = "tracehound_delay_seconds";
        let _ = writeln!(
            out,
            "# HELP {NAME} From the stop until a reader is handed its event."
        );
        let _ = writeln!(out, "# TYPE {NAME} histogram");
        let mut sum = 0;
        for (end, class) in DELAYS.iter().zip(&self.delays) {
            sum += class.load(Relaxed);
            let end = *end as f64 / 1e6;
            let _ = writeln!(out, "{NAME}_bucket{{le=\"{end}\"}} {sum}");
        }
        // Not less than its classes, whatever is counted meanwhile.
        let all = self.delivered.load(Relaxed).max(sum);
        let seconds = self.delay_sum.load(Relaxed) as f64 / 1e6;
        let _ = writeln!(out, "{NAME}_bucket{{le=\"+Inf\"}} {all}");
        let _ = writeln!(out, "{NAME}_sum {seconds}\n{NAME}_count {all}");
    }
}

/// What the tracer itself counts.
fn write_tracer(out: &mut String, tracer: &tracehound::Metrics) {
    let stops = "tracehound_tracer_stops_total";
    let _ = writeln!(out, "# HELP {stops} Stops that the kernel reported.");
    let _ = writeln!(out, "# TYPE {stops} counter");
    for (kind, count) in tracer.stops.iter() {
        let _ = writeln!(out, "{stops}{{kind=\"{kind}\"}} {count}");
    }
    let since = [
        ("deaths", "Deaths of tracees.", tracer.deaths),
        ("resumes", "Resumes of tracees.", tracer.resumes),
        ("requests", "Other requests to tracees.", tracer.requests),
        ("wakes", "Interrupts of tracer threads.", tracer.wakes),
        (
            "unexplained",
            "Stops that nothing explains.",
            tracer.unexplained,
        ),
        ("lost", "Reports that somebody else has taken.", tracer.lost),
    ];
    for (name, help, value) in since {
        metric(out, &format!("tracer_{name}_total"), "counter", help, value);
    }
    let name = "tracehound_tracer_queue_delay_seconds";
    let help = "How long requests waited for their tracer thread.";
    let _ = writeln!(out, "# HELP {name} {help}");
    let _ = writeln!(out, "# TYPE {name} histogram");
    let mut sum = 0;
    for (limit, count) in tracer.queue_delay.buckets() {
        sum += count;
        let end = match limit {
            Duration::MAX => "+Inf".to_string(),
            limit => limit.as_secs_f64().to_string(),
        };
        let _ = writeln!(out, "{name}_bucket{{le=\"{end}\"}} {sum}");
    }
    let _ = writeln!(out, "{name}_count {sum}");
}

fn metric(out: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    let _ = writeln!(out, "# HELP tracehound_{name} {help}");
    let _ = writeln!(out, "# TYPE tracehound_{name} {kind}");
    let _ = writeln!(out, "tracehound_{name} {value}");
}
