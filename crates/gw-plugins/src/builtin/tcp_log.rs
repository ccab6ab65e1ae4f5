//! `tcp-log`: writes a record of every exchange to a TCP server, one line each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::cx::LogCx;
use crate::env::{BuildEnv, Lender, Lent, Stream};
use crate::log_record::Recorder;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Needs, Plugin};
use crate::queue::{Queue, QueueSettings, Sink, Undelivered};
use crate::settings::fields;

/// Bound: lines written at once.
const LINES: usize = 100;

pub(crate) struct TcpLog {
    recorder: Recorder,
    queue: Queue,
}

#[derive(Debug, serde::Deserialize)]
pub(crate) struct Config {
    host: Box<str>,
    port: u16,
    timeout: f64,
    keepalive: f64,
    tls: bool,
    tls_sni: Option<Box<str>>,
    #[serde(deserialize_with = "fields")]
    custom_fields_by_lua: Map<String, Value>,
}

/// A server that lines are written to.
struct Lines {
    to: Stream,
    lender: Arc<dyn Lender>,
}

impl Definition for TcpLog {
    const NAME: &'static str = "tcp-log";
    const PRIORITY: i32 = 7;
    const PHASES: Phases = Phases::of(&[Phase::Log]);
    const SCHEMA: &'static str = include_str!("tcp_log.json");

    type Config = Config;

    fn build(config: Config, env: &BuildEnv) -> Result<Self, BuildError> {
        let mut to = Stream::new(&config.host, config.port);
        to.timeout = Duration::try_from_secs_f64(config.timeout / 1000.0).unwrap_or(to.timeout);
        to.keepalive = Duration::try_from_secs_f64(config.keepalive / 1000.0).unwrap_or(to.keepalive);
        to.tls = config.tls.then(|| config.tls_sni.clone().unwrap_or_default());
        let sink = Lines {
            to,
            lender: Arc::clone(env.lender()),
        };
        let queue = QueueSettings::plain(LINES);
        Ok(Self {
            recorder: Recorder::new(Some(&config.custom_fields_by_lua), None)?,
            queue: Queue::open(env, Self::NAME, &config, &queue, Arc::new(sink)),
        })
    }
}

impl Plugin for TcpLog {
    type State = ();

    fn needs(&self) -> Needs {
        self.recorder.needs()
    }

    fn log(&self, cx: &mut LogCx<'_>) {
        let mut line = self.recorder.line(&cx.parts);
        line.push(b'\n');
        self.queue.push(line.into());
    }
}

impl Sink for Lines {
    fn deliver(&self, batch: &[Bytes]) -> Lent<'static, Result<(), Undelivered>> {
        let lines = match batch {
            [one] => one.clone(),
            lines => lines.concat().into(),
        };
        let writing = self.lender.sockets().tcp(self.to.clone(), lines);
        Box::pin(async move { Ok(writing.await?) })
    }
}

#[cfg(test)]
mod tests;
