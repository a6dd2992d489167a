//! All traces, and how many there may be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tracehound::Tracer;

use crate::config::Config;
use crate::error::{ApiError, ApiResult};
use crate::lock;
use crate::metrics::{Gauges, Metrics};
use crate::request::NewTrace;
use crate::trace::{How, Limits, Trace};

/// How long the end of a trace is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the service knows.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) config: Config,
    pub(crate) metrics: Arc<Metrics>,
    tracer: Tracer,
    traces: Mutex<Traces>,
    readers: Arc<Semaphore>,
    tracees: Arc<Semaphore>,
    closing: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Traces {
    all: BTreeMap<u64, Arc<Trace>>,
    last: u64,
    /// Those that are not there yet.
    starting: usize,
    /// How many events they will keep.
    starting_events: usize,
}

impl Traces {
    fn running(&self) -> usize {
        let running = self.all.values().filter(|trace| trace.end().is_none());
        running.count() + self.starting
    }

    /// How many events are kept at most.
    fn events(&self) -> usize {
        let all = self.all.values().map(|trace| trace.plan.buffer);
        all.sum::<usize>().saturating_add(self.starting_events)
    }

    /// Forgets the one that has ended first, if there is any.
    fn forget_one(&mut self) -> bool {
        let ended = self
            .all
            .values()
            .filter_map(|trace| Some((trace.ended_at()?, trace.id)));
        let first = ended.min().map(|(_, id)| id);
        first.is_some_and(|id| self.all.remove(&id).is_some())
    }

    /// Keeps no more of those that have ended than this.
    fn keep(&mut self, most: usize) {
        let ended = self.all.values().filter(|trace| trace.end().is_some());
        for _ in most..ended.count() {
            self.forget_one();
        }
    }
}

impl Registry {
    pub(crate) fn new(config: Config, tracer: Tracer) -> Self {
        let semaphore = |most: usize| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Registry {
            readers: semaphore(config.max_readers),
            tracees: semaphore(config.max_all_tracees),
            config,
            metrics: Arc::default(),
            tracer,
            traces: Mutex::default(),
            closing: watch::Sender::new(false),
        }
    }

    /// Begins a trace.
    pub(crate) async fn begin(self: &Arc<Self>, request: NewTrace) -> ApiResult<Arc<Trace>> {
        let plan = request.check(&self.config)?;
        let place = Place::reserve(self, plan.buffer)?;
        let limits = Limits {
            max_tracees: self.config.max_tracees,
            tracees: Arc::clone(&self.tracees),
            max_block: self.config.max_block(),
        };
        let metrics = Arc::clone(&self.metrics);
        let trace = Trace::start(place.id, plan, &self.tracer, limits, metrics).await?;
        place.fill(&trace);
        tokio::spawn(Arc::clone(self).tidy_after(Arc::clone(&trace)));
        if self.is_closing() {
            trace.stop(trace.usual_end());
            return Err(ApiError::closing());
        }
        Ok(trace)
    }

    /// When a trace has ended there may be one too many of those.
    async fn tidy_after(self: Arc<Self>, trace: Arc<Trace>) {
        trace.ended().await;
        lock(&self.traces).keep(self.config.max_ended);
    }

    pub(crate) fn get(&self, id: u64) -> ApiResult<Arc<Trace>> {
        let traces = lock(&self.traces);
        traces
            .all
            .get(&id)
            .cloned()
            .ok_or_else(ApiError::no_such_trace)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Trace>> {
        lock(&self.traces).all.values().cloned().collect()
    }

    /// Ends a trace and forgets it; gives whether it has ended in time.
    pub(crate) async fn remove(&self, id: u64, how: Option<How>) -> ApiResult<(Arc<Trace>, bool)> {
        let trace = self.get(id)?;
        if trace.end().is_none() {
            trace.stop(how.unwrap_or_else(|| trace.usual_end()));
        }
        let ended = timeout(PATIENCE, trace.ended()).await.is_ok();
        if ended {
            lock(&self.traces).all.remove(&id);
        }
        Ok((trace, ended))
    }

    /// A place for a reader.
    pub(crate) fn reader(&self) -> ApiResult<OwnedSemaphorePermit> {
        let readers = Arc::clone(&self.readers);
        let most = self.config.max_readers;
        readers.try_acquire_owned().map_err(|_| {
            ApiError::too_many(
                "too-many-readers",
                format!("there are {most} readers already"),
            )
        })
    }

    pub(crate) fn gauges(&self) -> Gauges {
        let all = self.all();
        let ended = all.iter().filter(|trace| trace.end().is_some()).count();
        Gauges {
            running: all.len() - ended,
            ended,
            readers: self
                .config
                .max_readers
                .saturating_sub(self.readers.available_permits()),
            tracees: all
                .iter()
                .map(|trace| trace.tree(|tree| tree.alive()))
                .sum(),
        }
    }

    /// What the tracer has counted.
    pub(crate) fn tracer_metrics(&self) -> tracehound::Metrics {
        self.tracer.metrics()
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Told when the service goes down.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Has all streams end, and begins no trace any more.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Ends all traces and the tracer: commands are killed, attached processes run on.
    pub(crate) async fn end(&self) {
        let all = self.all();
        for trace in &all {
            trace.stop(trace.usual_end());
        }
        let ended = futures::future::join_all(all.iter().map(|trace| trace.ended()));
        if timeout(PATIENCE, ended).await.is_err() {
            tracing::warn!("some traces do not end: the tracer lets them go");
        }
        // It fails only in a forked child, which this is not.
        let _ = self.tracer.shutdown().await;
    }
}

/// The place of a trace that is being started.
struct Place<'a> {
    registry: &'a Registry,
    id: u64,
    events: usize,
}

impl<'a> Place<'a> {
    fn reserve(registry: &'a Registry, events: usize) -> ApiResult<Self> {
        if registry.is_closing() {
            return Err(ApiError::closing());
        }
        let config = &registry.config;
        let mut traces = lock(&registry.traces);
        if traces.running() >= config.max_traces {
            let message = format!("{} traces run already", config.max_traces);
            return Err(ApiError::too_many("too-many-traces", message));
        }
        while traces.events().saturating_add(events) > config.max_all_events {
            if !traces.forget_one() {
                let most = config.max_all_events;
                let message = format!("all traces together may keep {most} events");
                return Err(ApiError::too_many("too-many-events", message));
            }
        }
        traces.starting += 1;
        traces.starting_events += events;
        traces.last += 1;
        let id = traces.last;
        drop(traces);
        Ok(Place {
            registry,
            id,
            events,
        })
    }

    fn fill(self, trace: &Arc<Trace>) {
        let mut traces = lock(&self.registry.traces);
        traces.all.insert(self.id, Arc::clone(trace));
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut traces = lock(&self.registry.traces);
        traces.starting -= 1;
        traces.starting_events -= self.events;
    }
}
