//! Scripts that run in Redis, over a connection per worker that is made when it is needed, and made again.

mod line;
mod tls;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use self::line::{Connection, Line, Looked, Written};
use self::tls::Tls;
use crate::env::BuildEnv;
use crate::limits::redis::RedisPlace;
use crate::limits::refused;
use crate::limits::scripts::{Argument, Script};
use crate::plugin::BuildError;

/// How many connections there are to one Redis at most. A worker has its own, which its own runtime drives; workers beyond
/// that share.
const LINES: usize = 32;

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
    lines: [Line; LINES],
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

/// How one attempt failed.
struct Failed {
    why: RemoteError,
    /// The connection is not there any more, and Redis has done nothing: another connection may be tried.
    may_repeat: bool,
}

impl From<RemoteError> for Failed {
    fn from(why: RemoteError) -> Self {
        Self {
            why,
            may_repeat: false,
        }
    }
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
            lines: std::array::from_fn(|_| Line::default()),
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
        let deadline = Instant::now() + endpoint.place.timeout;
        let call = Call {
            script,
            keys,
            arguments,
        };
        let mut ended = endpoint.attempt(line, call, deadline).await;
        if ended.as_ref().is_err_and(|failed| failed.may_repeat) {
            // A connection that broke while nobody used it says nothing about Redis.
            ended = endpoint.attempt(line, call, deadline).await;
        }
        ended.map_err(|failed| {
            endpoint.note(line, &failed.why);
            failed.why
        })
    }
}

/// What is to be run.
#[derive(Clone, Copy)]
struct Call<'a> {
    script: Script,
    keys: &'a [String],
    arguments: &'a [Argument<'a>],
}

impl Call<'_> {
    async fn invoke(&self, connection: &mut MultiplexedConnection) -> redis::RedisResult<Vec<i64>> {
        let mut call = SCRIPTS[self.script as usize].prepare_invoke();
        for key in self.keys {
            call.key(key);
        }
        for argument in self.arguments {
            match argument {
                Argument::Number(number) => call.arg(*number),
                Argument::Text(text) => call.arg(*text),
            };
        }
        match call.invoke_async(connection).await? {
            redis::Value::Int(one) => Ok(vec![one]),
            many => redis::from_redis_value(many).map_err(redis::RedisError::from),
        }
    }
}

impl Endpoint {
    async fn attempt(&self, line: &Line, call: Call<'_>, deadline: Instant) -> Result<Vec<i64>, Failed> {
        let mut connection = self.connection(line, deadline).await?;
        let before = connection.written.bytes();
        let ran = timeout_at(deadline, call.invoke(&mut connection.redis)).await;
        match ran {
            Ok(Ok(given)) => {
                line.answered();
                Ok(given)
            }
            Ok(Err(error)) if !error.is_timeout() => {
                let is_broken = error.is_unrecoverable_error() || error.is_io_error();
                // Note: what others have written meanwhile counts as this call's. That only makes it careful.
                let did_nothing = call.script.may_be_repeated() || connection.written.bytes() == before;
                if is_broken {
                    line.drop_connection(connection.generation);
                }
                Err(Failed {
                    why: self.refused(error),
                    may_repeat: is_broken && did_nothing,
                })
            }
            Ok(Err(_)) | Err(_) => {
                line.drop_connection(connection.generation);
                line.rest();
                Err(self.timed_out().into())
            }
        }
    }

    /// The line's connection; made if there is none, by one request while the others wait for it.
    async fn connection(&self, line: &Line, deadline: Instant) -> Result<Connection, RemoteError> {
        if let Some(found) = self.looked(line)? {
            return Ok(found);
        }
        let Ok(turn) = timeout_at(deadline, line.connecting.lock()).await else {
            return Err(self.timed_out());
        };
        // Another's turn may have brought one, or shown that there is none to be had.
        if let Some(found) = self.looked(line)? {
            return Ok(found);
        }
        let made = match timeout_at(deadline, self.connect()).await {
            Ok(made) => made,
            Err(_) => Err(self.timed_out()),
        };
        let made = made.map(|(redis, written)| line.connected(redis, written));
        if made.is_err() {
            line.rest(); // before the turn ends: those who wait for it are to find it
        }
        drop(turn);
        made
    }

    fn looked(&self, line: &Line) -> Result<Option<Connection>, RemoteError> {
        match line.look() {
            Looked::Open(connection) => Ok(Some(connection)),
            Looked::Closed => Ok(None),
            Looked::Resting => Err(RemoteError::Resting { redis: self.name() }),
        }
    }

    async fn connect(&self) -> Result<(MultiplexedConnection, Written), RemoteError> {
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
        let written = Written::default();
        let made = match &self.tls {
            None => {
                let stream = written.counting(stream);
                MultiplexedConnection::new_with_config(&info, stream, config)
                    .await
                    .map(spawned)
            }
            Some(tls) => {
                let stream = written.counting(tls.connect(stream).await.map_err(failed)?);
                MultiplexedConnection::new_with_config(&info, stream, config)
                    .await
                    .map(spawned)
            }
        };
        made.map(|connection| (connection, written))
            .map_err(|error| failed(std::io::Error::other(error)))
    }

    /// Says once that it fails.
    fn note(&self, line: &Line, why: &RemoteError) {
        if !matches!(why, RemoteError::Resting { .. }) && line.fails_newly() {
            let cause = std::error::Error::source(why).map(ToString::to_string);
            tracing::warn!(error = %why, cause, "calls cannot be counted in Redis");
        }
    }

    fn timed_out(&self) -> RemoteError {
        RemoteError::TimedOut { redis: self.name() }
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
