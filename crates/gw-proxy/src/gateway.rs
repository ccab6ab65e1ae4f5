//! The gateway: the current snapshot, and how it is replaced.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::{ArcSwap, Guard};
use gw_core::{Change, Config};
use gw_plugins::Registry;
use tokio::runtime::Handle;

use crate::access_log::AccessLog;
use crate::addresses::Addresses;
use crate::admission::Admission;
use crate::dns::{KnownName, Names, Resolver};
use crate::lock;
use crate::overload::{self, Overload};
use crate::pool::Pool;
use crate::probe::Prober;
use crate::settings::Settings;
use crate::snapshot::{Compiler, Problem, Snapshot};
use crate::tls::TlsServer;
use crate::traffic::{Part, Traffic};
use crate::worker::{Worker, sweep};

/// What all workers share: the snapshot requests are served by, the settings, the access log.
#[derive(Debug)]
pub struct Gateway {
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// Made when the first client speaks TLS.
    tls: OnceLock<TlsServer>,
    /// Held while the next snapshot is made.
    applying: Mutex<()>,
    registry: Registry,
    settings: Settings,
    /// Whether a listener asks clients for certificates.
    asking: AtomicBool,
    names: Arc<Names>,
    prober: Prober,
    log: AccessLog,
    admission: Arc<Admission>,
    overload: Arc<Overload>,
    /// One per worker thread, then the one of requests that come in without one.
    workers: Box<[Arc<Worker>]>,
}

/// What a gateway has counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Client connections accepted.
    pub connections: u64,
    /// Client connections open now.
    pub open_connections: u64,
    /// Requests begun.
    pub requests: u64,
    /// Requests begun and not finished yet.
    pub requests_in_flight: u64,
    /// Client connections closed because they began with no header of the PROXY protocol, at a listener where they must.
    pub bad_preambles: u64,
    /// Panics: each cost a request or a connection, and is a bug of a plugin or of the gateway.
    pub panics: u64,
    /// Bytes read from clients.
    pub bytes_in: u64,
    /// Bytes written to clients.
    pub bytes_out: u64,
    /// Access log lines that found no room.
    pub log_lines_dropped: u64,
    /// Connections refused because there were as many as there may be.
    pub refused_connections: u64,
    /// Connections refused because there were as many from their address as there may be.
    pub refused_from_address: u64,
    /// Requests refused because too many were in flight.
    pub shed_overloaded: u64,
    /// Requests refused because memory was short.
    pub shed_low_memory: u64,
    /// Requests refused because there was no room for their bodies.
    pub shed_buffers_full: u64,
    /// Whether memory is short now.
    pub low_memory: bool,
    /// Connections of HTTP/2 ended because of floods of frames.
    pub floods: u64,
    /// Clients given up because they sent or took too little.
    pub slow_clients: u64,
}

impl Gateway {
    /// A gateway without configuration: every request is answered with 404.
    ///
    /// Names are looked up on the runtime `control`, which should not be one that serves requests.
    ///
    /// # Errors
    /// The access log cannot be opened.
    pub fn new(
        registry: Registry,
        settings: Settings,
        control: Handle,
        resolver: Arc<dyn Resolver>,
    ) -> io::Result<Arc<Self>> {
        let count = settings.workers.max(1);
        let log = AccessLog::open(&settings.access_log, count + 1)?;
        let workers: Box<[_]> = (0..=count)
            .map(|index| {
                let pool = Pool::new(settings.pool.clone());
                let traffic = Traffic::new(
                    settings.traffic.samples.div_ceil(count),
                    &settings.traffic.headers,
                );
                Arc::new(Worker::new(index, pool, traffic))
            })
            .collect();
        let overload = Arc::new(Overload::new(&settings));
        overload::start_watch(&overload, &control);
        if let Some(embedded) = workers.last() {
            control.spawn(sweep(Arc::downgrade(embedded)));
        }
        Ok(Arc::new(Self {
            snapshot: Arc::new(ArcSwap::from_pointee(
                Snapshot::empty(settings.router_flavor).believing(&settings.edge.client_authorities),
            )),
            tls: OnceLock::new(),
            applying: Mutex::default(),
            asking: AtomicBool::new(false),
            prober: Prober::start(&control),
            names: Arc::new(Names::new(
                resolver,
                control,
                settings.dns.clone(),
                Addresses::new(workers.clone()),
            )),
            registry,
            admission: Arc::new(Admission::new(&settings)),
            overload,
            settings,
            log,
            workers,
        }))
    }

    /// Serves `config` from now on: what the current configuration becomes by `changes`. Only what they touch is
    /// compiled. Requests in flight finish as they began.
    ///
    /// Returns the entities, new among the problems or old, that cannot be compiled; they hold nothing back.
    pub fn apply(&self, config: Config, changes: &[Change], revision: u64) -> Vec<Problem> {
        self.swap(|before, compiler| before.next(compiler, config, changes, revision))
    }

    /// Serves `config` from now on, however it came about: everything is compiled anew. Connections, positions and
    /// names that go on being used stay.
    pub fn replace(&self, config: Config, revision: u64) -> Vec<Problem> {
        self.swap(|before, compiler| before.fresh(compiler, config, revision))
    }

    fn swap(&self, make: impl FnOnce(&Snapshot, &Compiler<'_>) -> Snapshot) -> Vec<Problem> {
        let applying = lock(&self.applying);
        let before = self.snapshot.load_full();
        let next = Arc::new(make(
            &before,
            &Compiler {
                registry: &self.registry,
                names: &self.names,
                prober: &self.prober,
                health: &self.settings.health,
                client_authorities: &self.settings.edge.client_authorities,
            },
        ));
        let problems = next.problems().cloned().collect();
        self.snapshot.store(next);
        drop(applying);
        // Dropped here and not by a worker, unless a request still holds it.
        drop(before);
        problems
    }

    /// The snapshot requests are served by.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The same for a look.
    pub(crate) fn snapshot_now(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The plugins it has.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What it was started with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it has counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let [refused_connections, refused_from_address] = self.admission.refused();
        let [shed_overloaded, shed_low_memory, shed_buffers_full] = self.overload.shed();
        let mut sum = Counters {
            log_lines_dropped: self.log.dropped(),
            refused_connections,
            refused_from_address,
            shed_overloaded,
            shed_low_memory,
            shed_buffers_full,
            low_memory: self.overload.is_low_on_memory(),
            ..Counters::default()
        };
        for worker in &self.workers {
            sum.connections += worker.counters.connections.load(Relaxed);
            sum.open_connections += worker.load.load(Relaxed) as u64;
            // In this order: what finishes in between must not count as never begun.
            let finished = worker.counters.finished.load(Relaxed);
            let requests = worker.counters.requests.load(Relaxed);
            sum.requests += requests;
            sum.requests_in_flight += requests.saturating_sub(finished);
            sum.bad_preambles += worker.counters.bad_preambles.load(Relaxed);
            sum.panics += worker.counters.panics.load(Relaxed);
            sum.floods += worker.counters.floods.load(Relaxed);
            sum.slow_clients += worker.counters.slow_clients.load(Relaxed);
            sum.bytes_in += worker.counters.bytes_in.load(Relaxed);
            sum.bytes_out += worker.counters.bytes_out.load(Relaxed);
        }
        sum
    }

    /// What is known of the names in use, in the order of the alphabet.
    #[must_use]
    pub fn names(&self) -> Vec<KnownName> {
        self.names.list()
    }

    /// Returns once every access log line so far is written. Blocks.
    pub fn flush_access_log(&self) {
        self.log.flush();
    }

    /// A listener asks clients for certificates: what is known of them is the gateway's to tell.
    pub(crate) fn ask_for_certificates(&self) {
        self.asking.store(true, Relaxed);
    }

    pub(crate) fn asks_for_certificates(&self) -> bool {
        self.asking.load(Relaxed)
    }

    pub(crate) fn tls(&self) -> &TlsServer {
        self.tls
            .get_or_init(|| TlsServer::new(&self.settings.tls, Arc::clone(&self.snapshot)))
    }

    pub(crate) fn log(&self) -> &AccessLog {
        &self.log
    }

    /// Which connections are taken.
    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Which requests are taken.
    pub(crate) fn overload(&self) -> &Overload {
        &self.overload
    }

    /// The workers with threads.
    pub(crate) fn workers(&self) -> &[Arc<Worker>] {
        self.workers.split_last().map_or(&[], |(_, threads)| threads)
    }

    /// What requests of late looked like.
    pub(crate) fn recent(&self) -> Vec<Arc<Part>> {
        self.workers
            .iter()
            .flat_map(|worker| worker.traffic.parts())
            .collect()
    }

    /// The worker of requests that come in by [`GatewayService`](crate::GatewayService).
    pub(crate) fn embedded(&self) -> &Arc<Worker> {
        &self.workers[self.workers.len() - 1]
    }
}
