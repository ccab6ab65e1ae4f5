//! One batching queue for all plugins that send elsewhere what they have seen of exchanges: they put it in and go on.
//!
//! An entry is put in from a worker, which waits for nothing. A task beside requests takes entries out in batches, hands them over and
//! tries again where that fails. A full queue lets go of its oldest entry.

mod settings;
mod wait;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use gw_core::{Id, PluginUse};
use http::StatusCode;
use tracing::{error, info, warn};

use crate::env::{BuildEnv, CallError, Lender, Lent};

pub(crate) use settings::QueueSettings;

/// Where the entries of a queue go.
pub(crate) trait Sink: Send + Sync + 'static {
    /// Hands over a batch, of one entry at least, in their order.
    fn deliver(&self, batch: &[Bytes]) -> Lent<'static, Result<(), Undelivered>>;
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undelivered {
    #[error("no answer: {0}")]
    Call(#[from] CallError),
    #[error("answered with {0}")]
    Status(StatusCode),
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It never will be.
    #[error("{bytes} bytes are more than can be sent at once")]
    TooLarge { bytes: usize },
}

/// An instance's queue. When the last one is dropped, what is in it is still handed over.
#[derive(Clone)]
pub(crate) struct Queue(Arc<Open>);

/// Closes the queue when it is dropped.
struct Open(Arc<Core>);

/// All queues, and what went through them: in [`Shared`](crate::env::Shared).
#[derive(Default)]
pub(crate) struct Queues {
    open: Mutex<HashMap<Key, Entry>>,
    totals: Mutex<BTreeMap<&'static str, Arc<Totals>>>,
}

/// An instance, and its settings: a queue goes on as long as neither changes.
type Key = (Id<PluginUse>, Box<str>);

#[derive(Default)]
struct Entry {
    open: Weak<Open>,
    core: Weak<Core>,
}

/// What went through the queues of a plugin.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// Entries handed over.
    pub(crate) sent: AtomicU64,
    /// Entries given up after all tries.
    pub(crate) failed: AtomicU64,
    /// Entries that found no room, or gave theirs to newer ones.
    pub(crate) dropped: AtomicU64,
}

struct Core {
    plugin: &'static str,
    settings: QueueSettings,
    lender: Arc<dyn Lender>,
    totals: Arc<Totals>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Bytes>,
    bytes: usize,
    /// Batches under way.
    under_way: usize,
    /// Nothing is put in any more.
    closed: bool,
    /// Nobody waits for a batch to fill.
    hurried: bool,
    /// Entries have been let go since a batch was taken.
    dropping: bool,
    /// The last batch was not taken at its first try.
    failing: bool,
    /// Those who take entries out.
    takers: Vec<Waker>,
    /// Those who wait until there are none.
    watchers: Vec<Waker>,
}

impl Queue {
    /// The queue of the instance that is made, or the one it had before if that was of the same settings, which `described` tells
    /// apart. Where settings are only tried, one that leads nowhere.
    pub(crate) fn open(
        env: &BuildEnv,
        plugin: &'static str,
        described: &dyn std::fmt::Debug,
        settings: &QueueSettings,
        sink: Arc<dyn Sink>,
    ) -> Self {
        let queues = env.shared().get::<Queues>();
        let totals = queues.totals(plugin);
        let make = || {
            Arc::new(Core {
                plugin,
                settings: settings.clone(),
                lender: Arc::clone(env.lender()),
                totals,
                state: Mutex::default(),
            })
        };
        let Some(instance) = env.instance() else {
            return Self(Arc::new(Open(make())));
        };
        let key = (instance, format!("{described:?} {settings:?}").into_boxed_str());
        let mut open = lock(&queues.open);
        open.retain(|_, entry| entry.core.strong_count() > 0);
        let entry = open.entry(key).or_default();
        if let Some(open) = entry.open.upgrade() {
            return Self(open);
        }
        let core = make();
        for _ in 0..settings.takers() {
            let taking = take(Arc::clone(&core), Arc::clone(&sink));
            env.lender().tasks().spawn(Box::pin(taking));
        }
        let opened = Arc::new(Open(Arc::clone(&core)));
        *entry = Entry {
            open: Arc::downgrade(&opened),
            core: Arc::downgrade(&core),
        };
        Self(opened)
    }

    /// Puts an entry in. It waits for nobody but another who does the same.
    pub(crate) fn push(&self, entry: Bytes) {
        let core = &self.0.0;
        let (most, largest) = (core.settings.max_bytes(), core.settings.largest());
        if entry.len() > largest {
            core.totals.dropped.fetch_add(1, Relaxed);
            warn!(
                plugin = core.plugin,
                bytes = entry.len(),
                most = largest,
                "a log entry is too large to be handed over, and dropped"
            );
            return;
        }
        let mut state = core.state();
        let mut dropped = 0;
        while state.waiting.len() >= core.settings.max_entries || state.bytes + entry.len() > most {
            let Some(oldest) = state.waiting.pop_front() else {
                break;
            };
            state.bytes -= oldest.len();
            dropped += 1;
        }
        state.bytes += entry.len();
        state.waiting.push_back(entry);
        let count = state.waiting.len();
        let is_news = count == 1 || count == core.settings.full_batch() || dropped > 0;
        let takers = if is_news {
            std::mem::take(&mut state.takers)
        } else {
            Vec::new()
        };
        let first_dropped = dropped > 0 && !std::mem::replace(&mut state.dropping, true);
        drop(state);
        takers.into_iter().for_each(Waker::wake);
        if dropped > 0 {
            core.totals.dropped.fetch_add(dropped, Relaxed);
        }
        if first_dropped {
            error!(
                plugin = core.plugin,
                entries = count,
                "a log queue is full, its oldest entries are dropped"
            );
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("plugin", &self.0.0.plugin)
            .finish_non_exhaustive()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closed = true;
        let takers = std::mem::take(&mut state.takers);
        drop(state);
        takers.into_iter().for_each(Waker::wake);
    }
}

impl Queues {
    /// What went through the queues of each plugin.
    pub(crate) fn all_totals(&self) -> Vec<(&'static str, Arc<Totals>)> {
        let totals = lock(&self.totals);
        totals
            .iter()
            .map(|(plugin, totals)| (*plugin, Arc::clone(totals)))
            .collect()
    }

    /// Entries that wait, by plugin.
    pub(crate) fn waiting(&self) -> BTreeMap<&'static str, usize> {
        let mut waiting = BTreeMap::new();
        for core in self.cores() {
            *waiting.entry(core.plugin).or_default() += core.state().waiting.len();
        }
        waiting
    }

    /// Ends when everything that is in the queues now has been handed over, or given up; no batch waits to be filled.
    pub(crate) fn flushed(&self) -> impl Future<Output = ()> + Send + use<> {
        let cores = self.cores();
        async move {
            for core in cores {
                core.emptied().await;
            }
        }
    }

    fn cores(&self) -> Vec<Arc<Core>> {
        let open = lock(&self.open);
        open.values().filter_map(|entry| entry.core.upgrade()).collect()
    }

    fn totals(&self, plugin: &'static str) -> Arc<Totals> {
        Arc::clone(lock(&self.totals).entry(plugin).or_default())
    }
}

impl Core {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Hands a batch over, at once or at a later try, or gives it up.
    async fn hand_over(&self, sink: &dyn Sink, batch: &[Bytes]) {
        let clock = self.lender.clock();
        let begun = clock.now();
        let mut pauses = self.settings.pauses();
        loop {
            let Err(why) = sink.deliver(batch).await else {
                self.totals.sent.fetch_add(batch.len() as u64, Relaxed);
                let was_failing = std::mem::take(&mut self.state().failing);
                if was_failing {
                    info!(plugin = self.plugin, "log entries are taken again");
                }
                return;
            };
            let was_failing = std::mem::replace(&mut self.state().failing, true);
            if !was_failing {
                warn!(plugin = self.plugin, %why, "log entries are not taken");
            }
            let spent = clock.now().saturating_duration_since(begun);
            let is_final = matches!(why, Undelivered::TooLarge { .. });
            let is_worth_it = !is_final && self.settings.is_worth_a_retry(spent);
            let Some(pause) = pauses.next().filter(|_| is_worth_it) else {
                self.totals.failed.fetch_add(batch.len() as u64, Relaxed);
                error!(plugin = self.plugin, entries = batch.len(), %why, "log entries are given up");
                return;
            };
            self.lender.tasks().sleep(pause).await;
        }
    }
}

/// Takes entries out until the queue is closed and empty.
async fn take(core: Arc<Core>, sink: Arc<dyn Sink>) {
    while let Some(batch) = core.batch().await {
        core.hand_over(&*sink, &batch).await;
        core.is_done();
    }
}

/// The time that Kong writes as a number of seconds.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
