//! `udp-log`: sends a record of every exchange to a UDP server, one datagram each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::cx::LogCx;
use crate::env::{BuildEnv, Lender, Lent};
use crate::log_record::Recorder;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Needs, Plugin};
use crate::queue::{Queue, QueueSettings, Sink, Undelivered};
use crate::settings::fields;

pub(crate) struct UdpLog {
    recorder: Recorder,
    queue: Queue,
}

#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct Config {
    host: Box<str>,
    port: u16,
    timeout: f64,
    #[serde(deserialize_with = "fields")]
    custom_fields_by_lua: Map<String, Value>,
}

/// A server that datagrams are sent to.
struct Datagrams {
    host: Box<str>,
    port: u16,
    timeout: Duration,
    lender: Arc<dyn Lender>,
}

/// Bound: bytes of a datagram, over IPv4.
const LARGEST: usize = 65_507;

/// `EMSGSIZE`, which the standard library has no name for.
const TOO_LARGE: i32 = if cfg!(target_os = "linux") { 90 } else { 40 };

impl Definition for UdpLog {
    const NAME: &'static str = "udp-log";
    const PRIORITY: i32 = 8;
    const PHASES: Phases = Phases::of(&[Phase::Log]);
    const SCHEMA: &'static str = include_str!("udp_log.json");

    type Config = Config;

    fn build(config: Config, env: &BuildEnv) -> Result<Self, BuildError> {
        let sink = Datagrams {
            host: config.host.clone(),
            port: config.port,
            timeout: Duration::try_from_secs_f64(config.timeout / 1000.0).unwrap_or(Duration::MAX),
            lender: Arc::clone(env.lender()),
        };
        let queue = QueueSettings::plain(1).of_at_most(LARGEST);
        Ok(Self {
            recorder: Recorder::new(Some(&config.custom_fields_by_lua), None)?,
            queue: Queue::open(env, Self::NAME, &config, &queue, Arc::new(sink)),
        })
    }
}

impl Plugin for UdpLog {
    type State = ();

    fn needs(&self) -> Needs {
        self.recorder.needs()
    }

    fn log(&self, cx: &mut LogCx<'_>) {
        self.queue.push(self.recorder.entry(&cx.parts));
    }
}

impl Sink for Datagrams {
    fn deliver(&self, batch: &[Bytes]) -> Lent<'static, Result<(), Undelivered>> {
        let (lender, host, batch) = (Arc::clone(&self.lender), self.host.clone(), batch.to_vec());
        let (port, timeout) = (self.port, self.timeout);
        Box::pin(async move {
            for entry in batch {
                let bytes = entry.len();
                match lender.sockets().udp(&host, port, entry, timeout).await {
                    // On its way there is room for less. It would be so at every try.
                    Err(error) if error.raw_os_error() == Some(TOO_LARGE) => {
                        return Err(Undelivered::TooLarge { bytes });
                    }
                    sent => sent?,
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
