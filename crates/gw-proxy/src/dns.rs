//! Names to addresses, off the request path: each name in use is resolved again and again by a task of its own.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::warn;

use crate::cell::Cell;
use crate::lock;

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Finds the addresses of a name.
pub trait Resolver: fmt::Debug + Send + Sync + 'static {
    /// The addresses of `name`, and how long they hold.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Answer, ResolveError>>;
}

/// What a [`Resolver`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The addresses: IPv4, or IPv6 where there is no IPv4.
    pub addresses: Vec<IpAddr>,
    /// After this the name is looked up again.
    pub ttl: Duration,
}

/// Why a name has no addresses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The name has no address.
    #[error("the name `{name}` has no address; check its spelling and its records")]
    NotFound {
        /// The name.
        name: Box<str>,
    },
    /// The look-up itself failed.
    #[error("the name `{name}` could not be looked up; check the name servers")]
    Failed {
        /// The name.
        name: Box<str>,
        /// What happened.
        source: io::Error,
    },
}

/// The system's resolver (`getaddrinfo`), on the blocking threads of the runtime it is asked from.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    /// The system tells no time to live: names are looked up again after this.
    pub ttl: Duration,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(5),
        }
    }
}

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Answer, ResolveError>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await;
            let found = found.map_err(|source| ResolveError::Failed {
                name: name.into(),
                source,
            })?;
            let all: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            let v4: Vec<IpAddr> = all.iter().copied().filter(IpAddr::is_ipv4).collect();
            let addresses = if v4.is_empty() { all } else { v4 };
            if addresses.is_empty() {
                return Err(ResolveError::NotFound { name: name.into() });
            }
            Ok(Answer {
                addresses,
                ttl: self.ttl,
            })
        })
    }
}

/// The names in use.
#[derive(Debug)]
pub(crate) struct Names {
    resolver: Arc<dyn Resolver>,
    control: Handle,
    /// Look-ups under way. A look-up may hold a blocking thread for long, and others need those too.
    turns: Arc<Semaphore>,
    known: Arc<Mutex<HashMap<Box<str>, Weak<Name>>>>,
}

/// One name in use. When nobody uses it any more, it is not looked up again.
#[derive(Debug)]
pub(crate) struct Name {
    text: Box<str>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    found: Found,
    watchers: Vec<Weak<Cell>>,
}

/// What is known of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Found {
    /// It has never been answered.
    #[default]
    Pending,
    /// These, in order, without repetition. They stay when a later look-up fails.
    Addresses(Vec<IpAddr>),
    /// Every look-up so far has failed.
    Nothing,
}

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// Bound: look-ups under way at once.
const LOOKUPS: usize = 32;
/// Bound: how long one look-up may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(15);

impl Names {
    pub(crate) fn new(resolver: Arc<dyn Resolver>, control: Handle) -> Self {
        Self {
            resolver,
            control,
            turns: Arc::new(Semaphore::new(LOOKUPS)),
            known: Arc::default(),
        }
    }

    /// The name, looked up from now on for as long as somebody keeps it; `watcher` is told of every change.
    pub(crate) fn watch(&self, text: &str, watcher: Weak<Cell>) -> Arc<Name> {
        let mut known = lock(&self.known);
        let name = known.get(text).and_then(Weak::upgrade).unwrap_or_else(|| {
            let name = Arc::new(Name {
                text: text.into(),
                state: Mutex::default(),
            });
            known.insert(text.into(), Arc::downgrade(&name));
            let (resolver, turns) = (Arc::clone(&self.resolver), Arc::clone(&self.turns));
            let known = Arc::downgrade(&self.known);
            self.control
                .spawn(refresh(Arc::downgrade(&name), resolver, turns, known));
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

    #[cfg(test)]
    pub(crate) fn known(&self) -> usize {
        lock(&self.known).len()
    }
}

impl Name {
    pub(crate) fn found(&self) -> Found {
        lock(&self.state).found.clone()
    }

    /// Takes what a look-up found and tells those who watch, if it is news.
    fn settle(&self, result: Result<Answer, ResolveError>) -> Option<Duration> {
        let (found, again) = match result {
            Ok(Answer { mut addresses, ttl }) if !addresses.is_empty() => {
                addresses.sort_unstable();
                addresses.dedup();
                (Found::Addresses(addresses), Some(ttl.clamp(SHORTEST, LONGEST)))
            }
            Ok(_) => (Found::Nothing, None),
            Err(error) => {
                warn!(name = %self.text, %error, "name look-up failed");
                (Found::Nothing, None)
            }
        };
        let mut state = lock(&self.state);
        let serve_stale = found == Found::Nothing && matches!(state.found, Found::Addresses(_));
        if serve_stale || state.found == found {
            return again;
        }
        state.found = found;
        let watchers: Vec<Arc<Cell>> = state.watchers.iter().filter_map(Weak::upgrade).collect();
        // Invariant: a cell reads names while it holds its own lock, so no name may be locked while it is told.
        drop(state);
        for watcher in watchers {
            watcher.rebuild();
        }
        again
    }
}

async fn refresh(
    name: Weak<Name>,
    resolver: Arc<dyn Resolver>,
    turns: Arc<Semaphore>,
    known: Weak<Mutex<HashMap<Box<str>, Weak<Name>>>>,
) {
    let mut backoff = SHORTEST;
    while let Some(text) = name.upgrade().map(|name| name.text.clone()) {
        let turn = turns.acquire().await;
        let looked_up = tokio::time::timeout(PATIENCE, resolver.resolve(&text)).await;
        drop(turn);
        let Some(name) = name.upgrade() else { break };
        let late = || ResolveError::Failed {
            name: text.clone(),
            source: io::ErrorKind::TimedOut.into(),
        };
        let again = name.settle(looked_up.unwrap_or_else(|_| Err(late())));
        drop(name);
        let pause = again.unwrap_or(backoff);
        backoff = if again.is_some() {
            SHORTEST
        } else {
            (backoff * 2).min(Duration::from_secs(30))
        };
        tokio::time::sleep_until(Instant::now() + pause).await;
    }
    if let Some(known) = known.upgrade() {
        lock(&known).retain(|_, name| name.strong_count() > 0);
    }
}
