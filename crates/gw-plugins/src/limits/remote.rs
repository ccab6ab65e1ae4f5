//! Scripts that run in Redis, over a connection per worker that is made when it is needed, and made again.

mod tls;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use self::tls::Tls;
use crate::env::BuildEnv;
use crate::limits::redis::RedisPlace;
use crate::limits::refused;
use crate::limits::scripts::{Argument, Script};
use crate::plugin::BuildError;

/// How many connections there are to one Redis at most. A worker has its own, which its own runtime drives; workers beyond
/// that share.
const LINES: usize = 32;

/// How long a Redis that did not answer is left alone: requests meanwhile do not wait for it.
const REST: Duration = Duration::from_millis(500);

static SCRIPTS: LazyLock<Vec<redis::Script>> = LazyLock::new(|| {
    Script::ALL
        .iter()
        .map(|script| redis::Script::new(script.text()))
        .collect()
});

/// A Redis. Cloning shares its connections, and so do all who open the same place.
#[derive(Clone, Debug)]
pub(crate) struct Remote(Arc<Endpoint>);

struct Endpoint {
    place: RedisPlace,
    tls: Option<Tls>,
    lines: [tokio::sync::Mutex<Line>; LINES],
}

/// A connection, or why there is none.
#[derive(Default)]
struct Line {
    connection: Option<MultiplexedConnection>,
    /// Counts connections: who finds his broken does not close the next one.
    generation: u64,
    rest_until: Option<Instant>,
    /// Whether it has been said that it fails.
    is_failing: bool,
}

/// Why Redis did not count.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    #[error("{redis} has failed a moment ago; it is asked again soon")]
    Resting { redis: Box<str> },
    #[error("{redis} did not answer in time")]
    TimedOut { redis: Box<str> },
    #[error("no connection to {redis}")]
    Connect { redis: Box<str>, source: std::io::Error },
    #[error("{redis} refuses")]
    Refused {
        redis: Box<str>,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The places that are open.
#[derive(Default)]
struct Endpoints(Mutex<HashMap<RedisPlace, Weak<Endpoint>>>);

/// How one attempt ended.
enum Failed {
    /// The connection is not there any more; another may be.
    Dropped(RemoteError),
    For(RemoteError),
}

impl Remote {
    /// Opens a place; nothing is connected yet.
    pub(crate) fn open(place: &RedisPlace, env: &BuildEnv) -> Result<Self, BuildError> {
        let open = env.shared().get::<Endpoints>();
        let mut open = open.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, endpoint| endpoint.strong_count() > 0);
        if let Some(endpoint) = open.get(place).and_then(Weak::upgrade) {
            return Ok(Self(endpoint));
        }
        let tls = match &place.tls {
            None => None,
            Some(tls) => {
                let name = tls.server_name.as_deref().unwrap_or(&place.host);
                Some(
                    Tls::new(name, tls.verify)
                        .map_err(|error| refused("/redis/server_name", error.to_string()))?,
                )
            }
        };
        let endpoint = Arc::new(Endpoint {
            place: place.clone(),
            tls,
            lines: std::array::from_fn(|_| tokio::sync::Mutex::default()),
        });
        open.insert(place.clone(), Arc::downgrade(&endpoint));
        Ok(Self(endpoint))
    }

    /// Runs a script on some keys. It ends within the time that the place's settings give it.
    pub(crate) async fn run(
        &self,
        worker: usize,
        script: Script,
        keys: &[String],
        arguments: &[Argument<'_>],
    ) -> Result<Vec<i64>, RemoteError> {
        let endpoint = &*self.0;
        let line = &endpoint.lines[worker % LINES];
        let attempts = async {
            match endpoint.attempt(line, script, keys, arguments).await {
                // A connection that broke while nobody used it says nothing about Redis.
                Err(Failed::Dropped(_)) => endpoint.attempt(line, script, keys, arguments).await,
                other => other,
            }
        };
        let ended = timeout(endpoint.place.timeout, attempts).await;
        let failure = match ended {
            Ok(Ok(given)) => return Ok(given),
            Ok(Err(Failed::For(error) | Failed::Dropped(error))) => error,
            Err(_) => RemoteError::TimedOut {
                redis: endpoint.name(),
            },
        };
        endpoint.note(line, &failure);
        Err(failure)
    }
}

impl Endpoint {
    async fn attempt(
        &self,
        line: &tokio::sync::Mutex<Line>,
        script: Script,
        keys: &[String],
        arguments: &[Argument<'_>],
    ) -> Result<Vec<i64>, Failed> {
        let (mut connection, generation) = self.connection(line).await.map_err(Failed::For)?;
        let mut call = SCRIPTS[script as usize].prepare_invoke();
        for key in keys {
            call.key(key);
        }
        for argument in arguments {
            match argument {
                Argument::Number(number) => call.arg(*number),
                Argument::Text(text) => call.arg(*text),
            };
        }
        let ran: redis::RedisResult<redis::Value> = call.invoke_async(&mut connection).await;
        let given = ran.and_then(|value| match value {
            redis::Value::Int(one) => Ok(vec![one]),
            many => redis::from_redis_value(many).map_err(redis::RedisError::from),
        });
        given.map_err(|error| {
            let is_broken = error.is_unrecoverable_error() || error.is_io_error();
            let error = self.refused(error);
            if !is_broken {
                return Failed::For(error);
            }
            if let Ok(mut line) = line.try_lock()
                && line.generation == generation
            {
                line.connection = None;
            }
            Failed::Dropped(error)
        })
    }

    /// The line's connection; made if there is none, by one request while the others wait for it.
    async fn connection(
        &self,
        line: &tokio::sync::Mutex<Line>,
    ) -> Result<(MultiplexedConnection, u64), RemoteError> {
        let mut line = line.lock().await;
        if line.rest_until.is_some_and(|until| Instant::now() < until) {
            return Err(RemoteError::Resting { redis: self.name() });
        }
        line.rest_until = None;
        if let Some(connection) = &line.connection {
            return Ok((connection.clone(), line.generation));
        }
        let connection = self.connect().await?;
        line.is_failing = false;
        line.connection = Some(connection.clone());
        line.generation += 1;
        Ok((connection, line.generation))
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RemoteError> {
        let failed = |source| RemoteError::Connect {
            redis: self.name(),
            source,
        };
        let stream = TcpStream::connect((&*self.place.host, self.place.port))
            .await
            .map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let mut info = redis::RedisConnectionInfo::default().set_db(self.place.database.into());
        if let Some(password) = &self.place.password {
            info = info.set_password(password);
            if let Some(username) = &self.place.username {
                info = info.set_username(username);
            }
        }
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.place.timeout));
        let made = match &self.tls {
            None => MultiplexedConnection::new_with_config(&info, stream, config)
                .await
                .map(spawned),
            Some(tls) => {
                let stream = tls.connect(stream).await.map_err(failed)?;
                MultiplexedConnection::new_with_config(&info, stream, config)
                    .await
                    .map(spawned)
            }
        };
        made.map_err(|error| failed(std::io::Error::other(error)))
    }

    /// Leaves a Redis that cannot be reached alone for a while, and says once that it fails.
    fn note(&self, line: &tokio::sync::Mutex<Line>, why: &RemoteError) {
        // Who holds the lock connects, and will find out for himself.
        let Ok(mut line) = line.try_lock() else { return };
        if matches!(why, RemoteError::Resting { .. }) {
            return;
        }
        if !matches!(why, RemoteError::Refused { .. }) {
            line.rest_until = Some(Instant::now() + REST);
            line.connection = None;
        }
        if !line.is_failing {
            line.is_failing = true;
            let cause = std::error::Error::source(why).map(ToString::to_string);
            tracing::warn!(error = %why, cause, "calls cannot be counted in Redis");
        }
    }

    fn refused(&self, error: redis::RedisError) -> RemoteError {
        RemoteError::Refused {
            redis: self.name(),
            source: Box::new(error),
        }
    }

    fn name(&self) -> Box<str> {
        format!("Redis at {}:{}", self.place.host, self.place.port).into()
    }
}

/// Lets the runtime at hand drive a connection.
fn spawned(
    (connection, driver): (MultiplexedConnection, impl Future<Output = ()> + Send + 'static),
) -> MultiplexedConnection {
    drop(tokio::spawn(driver));
    connection
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

#[cfg(test)]
mod tests;
