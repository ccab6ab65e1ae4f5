//! A worker: what its connections share, and the thread that serves them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::admission::Place;
use crate::conn::Connection;
use crate::gateway::Gateway;
use crate::ids::Ids;
use crate::listener::Speaks;
use crate::lock;
use crate::pool::Pool;
use crate::server::{Door, Serve};
use crate::socket::Accepted;
use crate::streams::Passing;
use crate::traffic::Traffic;
use crate::wall::WallClock;

/// What the connections of one worker share. Its locks are taken by one thread only, but for shutdown and for an
/// address that leaves.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    /// Connections it has, those on their way to it included.
    pub(crate) load: AtomicUsize,
    pub(crate) pool: Mutex<Pool>,
    pub(crate) ids: Mutex<Ids>,
    pub(crate) wall: WallClock,
    pub(crate) counters: Counters,
    /// Bytes of request bodies that its exchanges hold.
    pub(crate) held: AtomicUsize,
    pub(crate) passing: Passing,
    /// What its requests of late looked like.
    pub(crate) traffic: Traffic,
    /// Connections are to end as soon as they have nothing to do.
    pub(crate) draining: AtomicBool,
    /// Clients are asked to leave.
    pub(crate) parting: AtomicBool,
    wakers: Mutex<Wakers>,
    /// A connection has ended.
    pub(crate) ended: Notify,
}

/// What one worker has counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) finished: AtomicU64,
    pub(crate) panics: AtomicU64,
    /// Connections closed because they began with no header of the PROXY protocol, at a listener where they must.
    pub(crate) bad_preambles: AtomicU64,
    /// Connections ended because of what the client sent besides requests.
    pub(crate) floods: AtomicU64,
    /// Clients given up because they were too slow.
    pub(crate) slow_clients: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

#[derive(Debug, Default)]
struct Wakers {
    next: u64,
    waiting: HashMap<u64, Waker>,
}

/// What a worker's thread is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// Serve this connection.
    Serve(Accepted, (Connection, Speaks), Place),
    /// End: let requests in flight finish until the deadline, then answer how many connections were cut.
    Drain(tokio::time::Instant, oneshot::Sender<usize>),
}

impl Worker {
    pub(crate) fn new(index: usize, pool: Pool, traffic: Traffic) -> Self {
        Self {
            index,
            load: AtomicUsize::new(0),
            pool: Mutex::new(pool),
            ids: Mutex::new(Ids::new()),
            wall: WallClock::new(),
            counters: Counters::default(),
            held: AtomicUsize::new(0),
            passing: Passing::default(),
            traffic,
            draining: AtomicBool::new(false),
            parting: AtomicBool::new(false),
            wakers: Mutex::default(),
            ended: Notify::new(),
        }
    }

    /// Keeps a connection's waker, so that it can be told to drain.
    pub(crate) fn enlist(&self, waker: Waker) -> u64 {
        let mut wakers = lock(&self.wakers);
        wakers.next += 1;
        let number = wakers.next;
        wakers.waiting.insert(number, waker);
        number
    }

    pub(crate) fn dismiss(&self, number: u64) {
        lock(&self.wakers).waiting.remove(&number);
    }

    /// Asks clients to leave.
    pub(crate) fn part(&self) {
        self.parting.store(true, Relaxed);
        lock(&self.wakers).waiting.values().for_each(Waker::wake_by_ref);
    }

    fn drain(&self) {
        self.draining.store(true, Relaxed);
        let wakers = std::mem::take(&mut lock(&self.wakers).waiting);
        wakers.into_values().for_each(Waker::wake);
    }
}

const SWEEP: Duration = Duration::from_secs(5);

/// Serves what the mailbox brings until it is told to end, or nobody can tell it any more.
pub(crate) async fn run(
    gateway: Arc<Gateway>,
    worker: Arc<Worker>,
    mut mailbox: mpsc::UnboundedReceiver<Message>,
) {
    let door = Arc::new(Door::new(&worker, gateway.settings()));
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            message = mailbox.recv() => message,
            _ = sweep.tick() => {
                lock(&worker.pool).sweep(Instant::now());
                continue;
            }
        };
        match message {
            Some(Message::Serve(stream, arrived, place)) => {
                let Ok(stream) = stream.into_socket() else {
                    worker.load.fetch_sub(1, Relaxed);
                    continue;
                };
                worker.counters.connections.fetch_add(1, Relaxed);
                tokio::spawn(Serve::new(&door, &gateway, &worker, stream, arrived, place));
            }
            Some(Message::Drain(deadline, report)) => {
                let cut = drain(&worker, deadline).await;
                // Whoever asked may have stopped waiting.
                report.send(cut).ok();
                return;
            }
            None => return,
        }
    }
}

async fn drain(worker: &Worker, deadline: tokio::time::Instant) -> usize {
    worker.drain();
    let open = emptied(worker, deadline).await;
    lock(&worker.pool).clear();
    open
}

/// Waits until no connection is open, and not beyond the deadline; returns how many are.
pub(crate) async fn emptied(worker: &Worker, deadline: tokio::time::Instant) -> usize {
    loop {
        let ended = worker.ended.notified();
        tokio::pin!(ended);
        // Enabled before looking, so that an end in between is not missed.
        ended.as_mut().enable();
        if worker.load.load(Relaxed) == 0 || tokio::time::timeout_at(deadline, ended).await.is_err() {
            return worker.load.load(Relaxed);
        }
    }
}

/// Sweeps the pool of connections that no worker thread sweeps, for as long as the worker lives.
pub(crate) async fn sweep(worker: Weak<Worker>) {
    let mut tick = tokio::time::interval(SWEEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(worker) = worker.upgrade() else { return };
        lock(&worker.pool).sweep(Instant::now());
    }
}
