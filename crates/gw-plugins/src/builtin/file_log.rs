//! `file-log`: writes a record of every exchange to a file, one line each.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::blocking::blocking;
use crate::cx::LogCx;
use crate::env::{BuildEnv, Lender, Lent};
use crate::log_record::Recorder;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Needs, Plugin};
use crate::queue::{Queue, QueueSettings, Sink, Undelivered};
use crate::settings::fields;

/// Bound: lines written at once.
const LINES: usize = 1000;

pub(crate) struct FileLog {
    recorder: Recorder,
    queue: Queue,
}

#[derive(Debug, serde::Deserialize)]
pub(crate) struct Config {
    path: Box<str>,
    reopen: bool,
    #[serde(deserialize_with = "fields")]
    custom_fields_by_lua: Map<String, Value>,
}

/// A file that lines are appended to, by one writer at a time.
struct Lines {
    path: Box<str>,
    reopen: bool,
    lender: Arc<dyn Lender>,
    open: Arc<Mutex<Option<Output>>>,
}

/// Where lines go.
enum Output {
    File(File),
    Stdout,
    Stderr,
}

impl Definition for FileLog {
    const NAME: &'static str = "file-log";
    const PRIORITY: i32 = 9;
    const PHASES: Phases = Phases::of(&[Phase::Log]);
    const SCHEMA: &'static str = include_str!("file_log.json");

    type Config = Config;

    fn build(config: Config, env: &BuildEnv) -> Result<Self, BuildError> {
        let sink = Lines {
            path: config.path.clone(),
            reopen: config.reopen,
            lender: Arc::clone(env.lender()),
            open: Arc::default(),
        };
        let queue = QueueSettings::plain(LINES);
        Ok(Self {
            recorder: Recorder::new(Some(&config.custom_fields_by_lua), None)?,
            queue: Queue::open(env, Self::NAME, &config, &queue, Arc::new(sink)),
        })
    }
}

impl Plugin for FileLog {
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
        let (lines, path, reopen) = (batch.concat(), self.path.clone(), self.reopen);
        let open = Arc::clone(&self.open);
        let written = blocking(self.lender.tasks(), move || {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            if reopen {
                *open = None;
            }
            let mut output = match open.take() {
                Some(output) => output,
                None => Output::open(&path)?,
            };
            // After an error the file is opened anew: it may have been on a disk that is gone.
            output.append(&lines)?;
            *open = Some(output);
            Ok::<_, io::Error>(())
        });
        Box::pin(async move {
            Ok(written
                .await
                .unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))?)
        })
    }
}

impl Output {
    fn open(path: &str) -> io::Result<Self> {
        match path {
            "/dev/stdout" => Ok(Self::Stdout),
            "/dev/stderr" => Ok(Self::Stderr),
            path => OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .map(Self::File),
        }
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all(lines),
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(lines),
        }
    }
}

#[cfg(test)]
mod tests;
