//! When the gateway takes up no more: requests in flight, bytes held of their bodies, memory.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::failure::Failure;
use crate::settings::Settings;
use crate::worker::Worker;

/// When the gateway takes up no more. Requests read it; only the watch over memory writes it.
#[derive(Debug)]
pub(crate) struct Overload {
    /// How many requests one worker may have in flight, and how many bytes of bodies it may hold.
    requests: u64,
    buffered: usize,
    /// How much memory is too much.
    memory: Option<u64>,
    low_memory: AtomicBool,
    retry_after: Duration,
    shed: Shed,
}

/// How many requests were refused, and why.
#[derive(Debug, Default)]
struct Shed {
    overloaded: AtomicU64,
    low_memory: AtomicU64,
    buffers_full: AtomicU64,
}

/// Bound: requests that one worker serves at once while memory is short. Some have to be served in any case: a process does
/// not always give back what it has had, and would never serve again.
const FEW: u64 = 16;

/// How often is looked at the memory.
const TICK: Duration = Duration::from_millis(250);

impl Overload {
    pub(crate) fn new(settings: &Settings) -> Self {
        let overload = &settings.overload;
        let workers = settings.workers.max(1);
        let requests = overload.requests.map(|all| all.div_ceil(workers).max(1));
        Self {
            requests: requests.map_or(u64::MAX, |each| each as u64),
            buffered: overload.buffered.div_ceil(workers),
            memory: overload.memory,
            low_memory: AtomicBool::new(false),
            retry_after: overload.retry_after,
            shed: Shed::default(),
        }
    }

    /// Refuses a request that has begun, if its worker has too many.
    pub(crate) fn admit(&self, worker: &Worker) -> Result<(), Failure> {
        let counters = &worker.counters;
        let in_flight = counters
            .requests
            .load(Relaxed)
            .saturating_sub(counters.finished.load(Relaxed));
        let retry_after = self.retry_after;
        if in_flight > self.requests {
            self.shed.overloaded.fetch_add(1, Relaxed);
            return Err(Failure::Overloaded { retry_after });
        }
        if in_flight > FEW && self.low_memory.load(Relaxed) {
            self.shed.low_memory.fetch_add(1, Relaxed);
            return Err(Failure::LowMemory { retry_after });
        }
        Ok(())
    }

    /// Counts what an exchange holds of its bodies.
    pub(crate) fn held<'e>(&'e self, worker: &'e Worker, bytes: &'e mut usize) -> Held<'e> {
        Held {
            overload: self,
            all: &worker.held,
            bytes,
        }
    }

    /// Requests refused since the start: too many in flight, memory short, no room for bodies.
    pub(crate) fn shed(&self) -> [u64; 3] {
        let shed = &self.shed;
        [&shed.overloaded, &shed.low_memory, &shed.buffers_full].map(|count| count.load(Relaxed))
    }

    /// Whether memory is short.
    pub(crate) fn is_low_on_memory(&self) -> bool {
        self.low_memory.load(Relaxed)
    }

    /// Takes note of how much memory is in use. What was short stays so until a twentieth of the limit is free again.
    fn note(&self, used: u64, limit: u64) {
        let was_low = self.low_memory.load(Relaxed);
        let is_low = used >= if was_low { limit - limit / 20 } else { limit };
        if is_low == was_low {
            return;
        }
        self.low_memory.store(is_low, Relaxed);
        if is_low {
            warn!(
                used,
                limit, "memory is short: few requests are served at once, others are answered 503"
            );
        } else {
            info!(used, limit, "memory is no longer short");
        }
    }
}

/// Watches the memory for as long as anybody needs to know, if there is a limit.
pub(crate) async fn watch(overload: Weak<Overload>, used: impl Fn() -> Option<u64>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(overload) = overload.upgrade() else {
            return;
        };
        let Some(limit) = overload.memory else { return };
        if let Some(used) = used() {
            overload.note(used, limit);
        }
    }
}

/// Memory that is this process's own, in bytes; none where the system does not say.
pub(crate) fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// What an exchange holds of its bodies, or a plugin of an answer to a request of its own.
#[derive(Debug)]
pub(crate) struct Held<'e> {
    overload: &'e Overload,
    all: &'e AtomicUsize,
    bytes: &'e mut usize,
}

impl Held<'_> {
    /// Counts so many bytes more; false, and they are not counted, if that is too much.
    #[must_use]
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let before = self.all.fetch_add(bytes, Relaxed);
        if before.saturating_add(bytes) > self.overload.buffered {
            self.all.fetch_sub(bytes, Relaxed);
            return false;
        }
        *self.bytes += bytes;
        true
    }

    /// The same, where it cannot do without.
    pub(crate) fn need(&mut self, bytes: usize) -> Result<(), Failure> {
        if self.take(bytes) {
            return Ok(());
        }
        self.overload.shed.buffers_full.fetch_add(1, Relaxed);
        Err(Failure::BuffersFull {
            retry_after: self.overload.retry_after,
        })
    }
}

/// Begins the watch over memory on this runtime, if there is a limit.
pub(crate) fn start_watch(overload: &Arc<Overload>, control: &tokio::runtime::Handle) {
    if overload.memory.is_some() {
        control.spawn(watch(Arc::downgrade(overload), resident));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;
    use crate::settings::{OverloadSettings, PoolLimits};
    use crate::traffic::Traffic;

    fn overload(change: impl FnOnce(&mut OverloadSettings)) -> (Overload, Worker) {
        let mut settings = Settings {
            workers: 2,
            ..Settings::default()
        };
        change(&mut settings.overload);
        let worker = Worker::new(0, Pool::new(PoolLimits::default()), Traffic::new(0, &[]));
        (Overload::new(&settings), worker)
    }

    #[test]
    fn each_worker_has_its_share_of_requests() {
        let (overload, worker) = overload(|settings| settings.requests = Some(6));
        worker.counters.requests.store(103, Relaxed);
        worker.counters.finished.store(100, Relaxed);
        assert_eq!(overload.admit(&worker), Ok(()));
        worker.counters.requests.store(104, Relaxed);
        let refused = overload.admit(&worker).unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.code()), (503, "overloaded"));
        assert_eq!(overload.shed(), [1, 0, 0]);
    }

    #[test]
    fn while_memory_is_short_a_few_are_served() {
        let (overload, worker) = overload(|settings| settings.memory = Some(1000));
        worker.counters.requests.store(FEW + 1, Relaxed);
        for (used, is_low) in [
            (999, false),
            (1000, true),
            (951, true),
            (949, false),
            (999, false),
        ] {
            overload.note(used, 1000);
            assert_eq!(overload.admit(&worker).is_err(), is_low, "{used}");
        }
        overload.note(2000, 1000);
        worker.counters.requests.store(FEW, Relaxed);
        assert_eq!(overload.admit(&worker), Ok(()));
        assert_eq!(overload.shed(), [0, 2, 0]);
    }

    #[test]
    fn bodies_have_room_until_it_is_taken() {
        let (overload, worker) = overload(|settings| settings.buffered = 200);
        let (mut one, mut other) = (0, 0);
        assert!(overload.held(&worker, &mut one).take(60));
        assert!(overload.held(&worker, &mut other).take(40));
        assert!(!overload.held(&worker, &mut other).take(1));
        assert_eq!(
            overload.held(&worker, &mut one).need(1).unwrap_err().code(),
            "buffers_full"
        );
        assert_eq!((one, other, worker.held.load(Relaxed)), (60, 40, 100));
        assert_eq!(overload.shed(), [0, 0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_looked_at_every_now_and_then() {
        let (overload, _) = overload(|settings| settings.memory = Some(1));
        let overload = Arc::new(overload);
        assert!(resident().is_some_and(|bytes| bytes > 1 << 20));
        let watching = tokio::spawn(watch(Arc::downgrade(&overload), resident));
        tokio::time::advance(TICK).await;
        tokio::task::yield_now().await;
        assert!(overload.is_low_on_memory());
        drop(overload);
        watching.await.unwrap();
    }
}
