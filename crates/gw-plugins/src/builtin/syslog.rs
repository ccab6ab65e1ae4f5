//! `syslog`: gives a record of every exchange to the machine's system log.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value};

use crate::blocking::blocking;
use crate::cx::LogCx;
use crate::env::{BuildEnv, Lender, Lent};
use crate::log_record::Recorder;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Needs, Plugin};
use crate::queue::{Queue, QueueSettings, Sink, Undelivered};
use crate::settings::fields;

/// Where system logs listen, in the order in which they are tried: Linux, macOS, FreeBSD.
const SOCKETS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// Bound: messages handed over at once.
const MESSAGES: usize = 100;

/// Bound: how long a full log holds a message up.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct Syslog {
    recorder: Recorder,
    queue: Queue,
    log_level: Severity,
    /// Of what went well, of clients' errors, and of servers'.
    severities: [Severity; 3],
    facility: u8,
}

#[derive(Debug, serde::Deserialize)]
pub(crate) struct Config {
    log_level: Severity,
    successful_severity: Severity,
    client_errors_severity: Severity,
    server_errors_severity: Severity,
    facility: Facility,
    #[serde(deserialize_with = "fields")]
    custom_fields_by_lua: Map<String, Value>,
}

/// How severe a message is, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Emerg,
    Alert,
    Crit,
    Err,
    Warning,
    Notice,
    Info,
    Debug,
}

/// What a message is about, by its name.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Facility {
    Kern,
    User,
    Mail,
    Daemon,
    Auth,
    Syslog,
    Lpr,
    News,
    Uucp,
    Cron,
    Authpriv,
    Ftp,
    Local0,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

/// The machine's system log.
pub(crate) struct SystemLog {
    lender: Arc<dyn Lender>,
    sockets: Arc<[Box<str>]>,
    open: Arc<Mutex<Option<UnixDatagram>>>,
}

impl Definition for Syslog {
    const NAME: &'static str = "syslog";
    const PRIORITY: i32 = 4;
    const PHASES: Phases = Phases::of(&[Phase::Log]);
    const SCHEMA: &'static str = include_str!("syslog.json");

    type Config = Config;

    fn build(config: Config, env: &BuildEnv) -> Result<Self, BuildError> {
        let sink = SystemLog::new(Arc::clone(env.lender()), SOCKETS.map(Into::into).into());
        let queue = QueueSettings::plain(MESSAGES);
        Ok(Self {
            recorder: Recorder::new(Some(&config.custom_fields_by_lua), None)?,
            queue: Queue::open(env, Self::NAME, &config, &queue, Arc::new(sink)),
            log_level: config.log_level,
            severities: [
                config.successful_severity,
                config.client_errors_severity,
                config.server_errors_severity,
            ],
            facility: config.facility.number(),
        })
    }
}

impl Plugin for Syslog {
    type State = ();

    fn needs(&self) -> Needs {
        self.recorder.needs()
    }

    fn log(&self, cx: &mut LogCx<'_>) {
        if let Some(mut message) = self.head(cx.parts.status) {
            message.extend_from_slice(&self.recorder.line(&cx.parts));
            self.queue.push(message.into());
        }
    }
}

impl Syslog {
    /// How the message of such a response begins, if it is severe enough: as the C library writes it, but for the time. Whoever
    /// receives it puts its own.
    fn head(&self, status: StatusCode) -> Option<Vec<u8>> {
        let [successful, client, server] = self.severities;
        let severity = match status.as_u16() {
            ..400 => successful,
            400..500 => client,
            500.. => server,
        };
        let code = self.facility * 8 + severity as u8;
        let is_severe = severity <= self.log_level;
        is_severe.then(|| format!("<{code}>kong[{}]: ", std::process::id()).into_bytes())
    }
}

impl Facility {
    fn number(self) -> u8 {
        match self as u8 {
            // There are codes without a name.
            local @ 12.. => local + 4,
            named => named,
        }
    }
}

impl SystemLog {
    fn new(lender: Arc<dyn Lender>, sockets: Arc<[Box<str>]>) -> Self {
        Self {
            lender,
            sockets,
            open: Arc::default(),
        }
    }
}

impl Sink for SystemLog {
    fn deliver(&self, batch: &[Bytes]) -> Lent<'static, Result<(), Undelivered>> {
        let (batch, sockets, open) = (batch.to_vec(), Arc::clone(&self.sockets), Arc::clone(&self.open));
        let sent = blocking(self.lender.tasks(), move || {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            let socket = match open.take() {
                Some(socket) => socket,
                None => connect(&sockets)?,
            };
            for message in batch {
                match socket.send(&message) {
                    // Larger than the log takes: it would be at every try.
                    Err(error) if error.raw_os_error() == Some(TOO_LARGE) => {
                        tracing::warn!(bytes = message.len(), "a record is too large for the system log");
                    }
                    sent => drop(sent?),
                }
            }
            *open = Some(socket);
            Ok::<_, io::Error>(())
        });
        Box::pin(async move {
            Ok(sent
                .await
                .unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))?)
        })
    }
}

/// `EMSGSIZE`, which the standard library has no name for.
const TOO_LARGE: i32 = if cfg!(target_os = "linux") { 90 } else { 40 };

fn connect(sockets: &[Box<str>]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for path in sockets {
        match socket.connect(&**path) {
            Ok(()) => return Ok(socket),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests;
