//! The names in use: each is looked up again and again by a task of its own, and its cells are told of every change.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::known::{Found, Known};
use super::{Answer, Records, ResolveError, Resolver};
use crate::addresses::Addresses;
use crate::cell::Cell;
use crate::health::Clock;
use crate::lock;
use crate::settings::DnsSettings;

/// The names in use, and what else cells share.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) control: Handle,
    /// The addresses of all cells.
    pub(crate) addresses: Addresses,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    resolver: Arc<dyn Resolver>,
    settings: DnsSettings,
    /// Look-ups under way.
    turns: Semaphore,
    /// What the resolver goes by has changed.
    again: Notify,
    known: Mutex<HashMap<Box<str>, Weak<Name>>>,
}

/// One name in use. When nobody uses it any more, it is not looked up again.
#[derive(Debug)]
pub(crate) struct Name {
    text: Box<str>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: Known,
    watchers: Vec<Weak<Cell>>,
}

/// What a gateway knows of a name it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownName {
    /// The name, as it is configured.
    pub name: Box<str>,
    /// What it stands for; none if it has never been answered, or does not exist.
    pub records: Option<Records>,
    /// The time to live of the last good answer, as it was answered.
    pub ttl: Option<Duration>,
    /// Until when that answer holds.
    pub expires: Option<SystemTime>,
    /// When the name is looked up again; none while it is.
    pub next: Option<SystemTime>,
    /// Whether the last answer is used though the look-ups since have brought nothing.
    pub stale: bool,
    /// Why the last look-up brought nothing.
    pub error: Option<Box<str>>,
    /// Whether the first look-up is not over yet.
    pub pending: bool,
}

/// Bound: look-ups under way at once.
const LOOKUPS: usize = 32;
/// Bound: how long one look-up may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often the resolver is asked whether what it goes by has changed.
const GLANCE: Duration = Duration::from_secs(1);

impl Names {
    pub(crate) fn new(
        resolver: Arc<dyn Resolver>,
        control: Handle,
        settings: DnsSettings,
        addresses: Addresses,
    ) -> Self {
        let shared = Arc::new(Shared {
            resolver,
            settings,
            turns: Semaphore::new(LOOKUPS),
            again: Notify::new(),
            known: Mutex::default(),
        });
        control.spawn(glance(Arc::downgrade(&shared)));
        Self {
            control,
            addresses,
            shared,
        }
    }

    /// The name, looked up from now on for as long as somebody keeps it; `watcher` is told of every change.
    pub(crate) fn watch(&self, text: &str, watcher: Weak<Cell>) -> Arc<Name> {
        let mut known = lock(&self.shared.known);
        let name = known.get(text).and_then(Weak::upgrade).unwrap_or_else(|| {
            let name = Arc::new(Name {
                text: text.into(),
                state: Mutex::default(),
            });
            known.insert(text.into(), Arc::downgrade(&name));
            let shared = Arc::clone(&self.shared);
            self.control.spawn(refresh(Arc::downgrade(&name), shared));
            name
        });
        drop(known);
        let mut state = lock(&name.state);
        state.watchers.retain(|watcher| watcher.strong_count() > 0);
        if !state.watchers.iter().any(|known| Weak::ptr_eq(known, &watcher)) {
            state.watchers.push(watcher);
        }
        drop(state);
        name
    }

    pub(crate) fn list(&self) -> Vec<KnownName> {
        let known = lock(&self.shared.known);
        let names: Vec<Arc<Name>> = known.values().filter_map(Weak::upgrade).collect();
        drop(known);
        let clock = Clock::read();
        let mut list: Vec<_> = names.iter().map(|name| name.shown(&clock)).collect();
        list.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        list
    }

    #[cfg(test)]
    pub(crate) fn known(&self) -> usize {
        lock(&self.shared.known).len()
    }
}

impl Name {
    pub(crate) fn found(&self) -> Found {
        lock(&self.state).known.found.clone()
    }

    /// The type of record it is looked up as; if it has none, why.
    pub(crate) fn dns(&self) -> Box<str> {
        let state = lock(&self.state);
        match (&state.known.found, &state.known.error) {
            (Found::Records(records), _) => records.kind().into(),
            (_, Some(error)) => error.clone(),
            (_, None) => "not looked up yet".into(),
        }
    }

    fn shown(&self, clock: &Clock) -> KnownName {
        let state = lock(&self.state);
        let known = &state.known;
        KnownName {
            name: self.text.clone(),
            records: match &known.found {
                Found::Records(records) => Some(records.clone()),
                Found::Pending | Found::Nothing => None,
            },
            ttl: known.expires.map(|_| known.ttl),
            expires: known.expires.and_then(|at| clock.wall(at)),
            next: known.next.and_then(|at| clock.wall(at)),
            stale: known.is_stale(),
            error: known.error.clone(),
            pending: known.found == Found::Pending,
        }
    }

    /// Takes what a look-up has brought and tells those who watch, if it is news; the pause until the next.
    fn settle(&self, result: Result<Answer, ResolveError>, settings: &DnsSettings) -> Duration {
        let mut state = lock(&self.state);
        let failing = state.known.error.is_some();
        let (news, pause) = state
            .known
            .settle(result, Instant::now(), settings, fastrand::f64());
        self.tell(&state.known, failing, news);
        if !news {
            return pause;
        }
        let watchers: Vec<Arc<Cell>> = state.watchers.iter().filter_map(Weak::upgrade).collect();
        // Invariant: a cell reads names while it holds its own lock, so no name may be locked while it is told.
        drop(state);
        for watcher in watchers {
            watcher.rebuild();
        }
        pause
    }

    /// Says once that look-ups fail, that they do no more, and each time that the name loses its addresses.
    fn tell(&self, known: &Known, failing: bool, news: bool) {
        let name = &*self.text;
        match &known.error {
            Some(error) if !failing || news => {
                warn!(
                    name,
                    error = &**error,
                    stale = known.is_stale(),
                    "a name look-up failed"
                );
            }
            None if failing => info!(name, "a name is answered again"),
            _ => {}
        }
    }

    fn begin(&self) {
        lock(&self.state).known.next = None;
    }
}

/// Looks the name up whenever it is time, for as long as somebody uses it.
async fn refresh(name: Weak<Name>, shared: Arc<Shared>) {
    while let Some(text) = name.upgrade().map(|name| name.text.clone()) {
        let again = shared.again.notified();
        tokio::pin!(again);
        // Enabled before looking up, so that a change meanwhile is not missed.
        again.as_mut().enable();
        let Ok(turn) = shared.turns.acquire().await else {
            break;
        };
        if let Some(name) = name.upgrade() {
            name.begin();
        }
        let looked_up = tokio::time::timeout(PATIENCE, shared.resolver.resolve(&text)).await;
        drop(turn);
        let late = |_| {
            Err(ResolveError::Failed {
                name: text.clone(),
                source: io::ErrorKind::TimedOut.into(),
            })
        };
        let Some(name) = name.upgrade() else { break };
        let pause = name.settle(looked_up.unwrap_or_else(late), &shared.settings);
        drop(name);
        // Over at once if the time has come or something has changed.
        tokio::time::timeout(pause, again).await.ok();
    }
    lock(&shared.known).retain(|_, name| name.strong_count() > 0);
}

/// Has all names looked up again when what the resolver goes by has changed.
async fn glance(shared: Weak<Shared>) {
    let mut tick = tokio::time::interval(GLANCE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut version = None;
    loop {
        tick.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        let now = shared.resolver.version();
        if version.replace(now).is_some_and(|before| before != now) {
            shared.again.notify_waiters();
        }
    }
}
