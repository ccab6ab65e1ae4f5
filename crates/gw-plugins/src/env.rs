//! What the gateway lends to an instance for its life: state that outlives it, a client, sockets, tasks, a clock.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use gw_core::{Id, PluginUse};
use http::{Request, Response};

/// A future of something lent.
pub type Lent<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the gateway lends to an instance for its life. Cloning shares it.
#[derive(Clone)]
pub struct BuildEnv {
    instance: Option<Id<PluginUse>>,
    lender: Arc<dyn Lender>,
    shared: Arc<Shared>,
}

/// What a gateway, or a test, lends to plugins.
pub trait Lender: Send + Sync + 'static {
    /// The clock.
    fn clock(&self) -> &dyn Clock;

    /// A random number, for samples and names; not for secrets.
    fn random(&self) -> u128 {
        fastrand::u128(..)
    }

    /// A client for HTTP, with a pool of connections of its own.
    fn http(&self) -> &dyn HttpClient;

    /// Sockets for what is not HTTP.
    fn sockets(&self) -> &dyn Sockets;

    /// Work beside requests.
    fn tasks(&self) -> &dyn Tasks;
}

/// The time.
pub trait Clock: Send + Sync {
    /// For durations.
    fn now(&self) -> Instant;

    /// For dates.
    fn wall(&self) -> SystemTime;
}

/// Calls to other services.
pub trait HttpClient: Send + Sync {
    /// Sends a request whose URI has a scheme and an authority, and reads the answer whole.
    ///
    /// Redirects are not followed. The future may be dropped: the call ends then.
    fn send(
        &self,
        request: Request<Bytes>,
        terms: CallTerms,
    ) -> Lent<'static, Result<Response<Bytes>, CallError>>;
}

/// How a call is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallTerms {
    /// All of it: connecting, sending, reading.
    pub timeout: Duration,
    /// Whether the certificate of a service is checked.
    pub verify: bool,
    /// Bound: bytes of an answer's body.
    pub most: usize,
    /// Whether the connection is kept for later calls, and for how long.
    pub keepalive: Option<Duration>,
}

impl Default for CallTerms {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            verify: true,
            most: 1 << 20,
            keepalive: Some(Duration::from_secs(60)),
        }
    }
}

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The request cannot be sent anywhere.
    #[error("`{uri}` cannot be called; write it as `http://host:port/path`")]
    Uri {
        /// Where to.
        uri: Box<str>,
    },
    /// No connection.
    #[error("no connection to {to}")]
    Connect {
        /// Whom to.
        to: Box<str>,
        /// Why.
        source: io::Error,
    },
    /// No answer in time.
    #[error("no answer within {} ms", after.as_millis())]
    TimedOut {
        /// The time it had.
        after: Duration,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("the call broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is larger than was asked for.
    #[error("the answer has more than {most} bytes")]
    TooLarge {
        /// The bound.
        most: usize,
    },
}

/// Sockets for what is not HTTP.
pub trait Sockets: Send + Sync {
    /// Connects over TCP, and writes. The connection may be kept for the next call to the same place.
    fn tcp(&self, to: Stream, bytes: Bytes) -> Lent<'static, io::Result<()>>;

    /// Sends one datagram.
    fn udp(&self, host: &str, port: u16, bytes: Bytes, timeout: Duration) -> Lent<'static, io::Result<()>>;
}

/// A place to write to over TCP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Stream {
    /// Name or address.
    pub host: Box<str>,
    /// Port.
    pub port: u16,
    /// The server name of TLS, if it is spoken; empty for `host`.
    pub tls: Option<Box<str>>,
    /// For connecting and for writing, each.
    pub timeout: Duration,
    /// How long the connection is kept when nothing is written.
    pub keepalive: Duration,
}

impl Stream {
    /// Plain TCP, with ten seconds for each step, kept for a minute.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            tls: None,
            timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(60),
        }
    }
}

/// Work beside requests, on a thread that serves none.
pub trait Tasks: Send + Sync {
    /// Runs the future until it ends or the program does.
    fn spawn(&self, future: Lent<'static, ()>);

    /// Runs what blocks (a file) where it holds nobody up.
    fn block(&self, work: Box<dyn FnOnce() + Send>);

    /// Ends after `duration`. It may be awaited within [`Tasks::spawn`] and in requests alike.
    fn sleep(&self, duration: Duration) -> Lent<'static, ()>;
}

/// What plugins keep beyond their instances, one of each type: counters, caches, connections.
///
/// Instances come and go with the configuration; what is here stays as long as the program.
#[derive(Default)]
pub struct Shared {
    values: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Shared {
    /// The value of this type; made when it is first asked for.
    pub fn get<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        self.get_or(T::default)
    }

    /// The same, made by `make` when it is first asked for.
    ///
    /// # Panics
    /// `make` asks for a shared value itself.
    pub fn get_or<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let value = values
            .entry(TypeId::of::<T>())
            .or_insert_with(|| Arc::new(make()));
        Arc::clone(value).downcast().expect("found under its own type")
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl BuildEnv {
    /// With what `lender` lends.
    #[must_use]
    pub fn new(lender: Arc<dyn Lender>) -> Self {
        Self {
            instance: None,
            lender,
            shared: Arc::default(),
        }
    }

    /// The same for this instance.
    #[must_use]
    pub(crate) fn of(&self, instance: Id<PluginUse>) -> Self {
        Self {
            instance: Some(instance),
            ..self.clone()
        }
    }

    /// Which instance is made; none if the settings are only tried: nothing may be opened or started then.
    #[must_use]
    pub fn instance(&self) -> Option<Id<PluginUse>> {
        self.instance
    }

    /// The clock, the client, and so on. It may be kept.
    #[must_use]
    pub fn lender(&self) -> &Arc<dyn Lender> {
        &self.lender
    }

    /// What plugins keep beyond their instances.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Default for BuildEnv {
    /// With a clock, and with nothing else: calls and sockets fail, tasks do not run.
    fn default() -> Self {
        Self::new(Arc::new(Nothing))
    }
}

impl fmt::Debug for BuildEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildEnv")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

/// The time of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// What a registry without a gateway lends.
struct Nothing;

fn nothing_lent() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "no gateway lends this here")
}

impl Lender for Nothing {
    fn clock(&self) -> &dyn Clock {
        &SystemClock
    }

    fn http(&self) -> &dyn HttpClient {
        self
    }

    fn sockets(&self) -> &dyn Sockets {
        self
    }

    fn tasks(&self) -> &dyn Tasks {
        self
    }
}

impl HttpClient for Nothing {
    fn send(
        &self,
        request: Request<Bytes>,
        _: CallTerms,
    ) -> Lent<'static, Result<Response<Bytes>, CallError>> {
        let to = request.uri().to_string().into();
        Box::pin(std::future::ready(Err(CallError::Connect {
            to,
            source: nothing_lent(),
        })))
    }
}

impl Sockets for Nothing {
    fn tcp(&self, _: Stream, _: Bytes) -> Lent<'static, io::Result<()>> {
        Box::pin(std::future::ready(Err(nothing_lent())))
    }

    fn udp(&self, _: &str, _: u16, _: Bytes, _: Duration) -> Lent<'static, io::Result<()>> {
        Box::pin(std::future::ready(Err(nothing_lent())))
    }
}

impl Tasks for Nothing {
    fn spawn(&self, future: Lent<'static, ()>) {
        drop(future);
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) {
        drop(work);
    }

    fn sleep(&self, _: Duration) -> Lent<'static, ()> {
        Box::pin(std::future::pending())
    }
}
