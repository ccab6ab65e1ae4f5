//! One line of JSON per request: written into a buffer of the worker, carried out by a thread that only does that.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use tracing::warn;

use crate::access_log::line::Clock;
use crate::attempt::Try;
use crate::lock;
use crate::settings::AccessLogSink;

mod line;

/// What one line says.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) time: SystemTime,
    pub(crate) request_id: &'a str,
    /// The request that it is a part of, if a plugin has made it.
    pub(crate) parent: Option<&'a str>,
    pub(crate) client: IpAddr,
    pub(crate) client_port: u16,
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) host: &'a [u8],
    /// The server name of a connection that is passed on as it is; of such there is no request to tell of.
    pub(crate) sni: Option<&'a str>,
    /// What is known of the client's certificate, where one is asked for: the verdict, and the subject.
    pub(crate) client_verify: Option<(&'a [u8], &'a str)>,
    pub(crate) status: u16,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) total: Duration,
    pub(crate) upstream: Option<Duration>,
    pub(crate) route: Option<&'a str>,
    pub(crate) service: Option<&'a str>,
    pub(crate) consumer: Option<&'a str>,
    pub(crate) revision: u64,
    pub(crate) tries: &'a [Try],
    pub(crate) failure: Option<&'static str>,
    pub(crate) aborted: bool,
}

impl Default for Record<'_> {
    fn default() -> Self {
        Self {
            time: SystemTime::UNIX_EPOCH,
            request_id: "",
            parent: None,
            client: IpAddr::from([0, 0, 0, 0]),
            client_port: 0,
            method: "",
            target: "",
            host: &[],
            sni: None,
            client_verify: None,
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            total: Duration::ZERO,
            upstream: None,
            route: None,
            service: None,
            consumer: None,
            revision: 0,
            tries: &[],
            failure: None,
            aborted: false,
        }
    }
}

/// The access log of a gateway.
#[derive(Debug)]
pub(crate) struct AccessLog {
    on: bool,
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    /// One per worker; a lock is shared with the writer only.
    buffers: Box<[Mutex<Buffer>]>,
    dropped: AtomicU64,
    closing: AtomicBool,
    round: Mutex<Round>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    clock: Clock,
}

/// How often all buffers have been written out, and how often somebody wants them to have been.
#[derive(Debug, Default)]
struct Round {
    wanted: u64,
    done: u64,
}

/// Bound: what one worker may have unwritten. Lines beyond are dropped and counted.
const FULL: usize = 4 << 20;
/// The writer is woken before its time when a worker has this much.
const PLENTY: usize = 64 << 10;
const PERIOD: Duration = Duration::from_millis(200);

impl AccessLog {
    /// Opens the log for so many workers.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(sink: &AccessLogSink, workers: usize) -> io::Result<Self> {
        let output: Option<Box<dyn Write + Send>> = match sink {
            AccessLogSink::Off => None,
            AccessLogSink::Stdout => Some(Box::new(io::stdout())),
            AccessLogSink::File(path) => {
                Some(Box::new(OpenOptions::new().create(true).append(true).open(path)?))
            }
        };
        let shared = shared(workers);
        let on = output.is_some();
        let writer = output.map(|output| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("access-log".to_owned())
                .spawn(move || shared.run(output))
        });
        Ok(Self {
            on,
            shared,
            writer: Mutex::new(writer.transpose()?),
        })
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// Lines that found no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }

    /// Writes a line into the buffer of a worker.
    pub(crate) fn write(&self, worker: usize, record: &Record<'_>) {
        let Some(buffer) = self.shared.buffers.get(worker) else {
            return;
        };
        let mut buffer = lock(buffer);
        let Buffer { bytes, clock } = &mut *buffer;
        if bytes.len() >= FULL {
            self.shared.dropped.fetch_add(1, Relaxed);
            return;
        }
        let before = bytes.len();
        line::write(bytes, clock, record);
        if before < PLENTY && bytes.len() >= PLENTY {
            self.shared.wake.notify_one();
        }
    }

    /// Returns once every line written so far is out.
    pub(crate) fn flush(&self) {
        if !self.on {
            return;
        }
        let mut round = lock(&self.shared.round);
        round.wanted += 1;
        let wanted = round.wanted;
        self.shared.wake.notify_all();
        while round.done < wanted && !lock(&self.writer).as_ref().is_none_or(JoinHandle::is_finished) {
            let waited = self.shared.wake.wait_timeout(round, PERIOD);
            round = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn shared(workers: usize) -> Arc<Shared> {
    Arc::new(Shared {
        buffers: (0..workers).map(|_| Mutex::default()).collect(),
        dropped: AtomicU64::new(0),
        closing: AtomicBool::new(false),
        round: Mutex::default(),
        wake: Condvar::new(),
    })
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.shared.closing.store(true, Relaxed);
        self.shared.wake.notify_all();
        if let Some(writer) = lock(&self.writer).take()
            && writer.join().is_err()
        {
            warn!("the access log's writer panicked");
        }
    }
}

impl Shared {
    fn run(&self, mut output: Box<dyn Write + Send>) {
        let mut spare = Vec::new();
        let mut failing = false;
        loop {
            let closing = self.closing.load(Relaxed);
            let wanted = lock(&self.round).wanted;
            for buffer in &self.buffers {
                std::mem::swap(&mut lock(buffer).bytes, &mut spare);
                let written = output.write_all(&spare).and_then(|()| output.flush());
                if let Err(error) = &written
                    && !failing
                {
                    warn!(%error, "access log cannot be written");
                }
                failing = written.is_err();
                spare.clear();
            }
            let mut round = lock(&self.round);
            round.done = wanted;
            self.wake.notify_all();
            if closing {
                return;
            }
            if round.wanted == wanted {
                let waited = self.wake.wait_timeout(round, PERIOD);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_out_once_flushed_and_at_the_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = AccessLog::open(&AccessLogSink::File(file.path().to_owned()), 2).unwrap();
        let lines = || std::fs::read_to_string(file.path()).unwrap().lines().count();
        for round in 1..=3 {
            for worker in 0..2 {
                log.write(worker, &Record::default());
            }
            log.flush();
            assert_eq!(lines(), 2 * round);
        }
        log.write(0, &Record::default());
        drop(log);
        assert_eq!(lines(), 7);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let log = AccessLog {
            on: true,
            shared: shared(1),
            writer: Mutex::default(),
        };
        let path = "x".repeat(1 << 20);
        for _ in 0..10 {
            log.write(
                0,
                &Record {
                    target: &path,
                    ..Record::default()
                },
            );
        }
        assert_eq!(log.dropped(), 6);
        assert!(lock(&log.shared.buffers[0]).bytes.len() < FULL + (2 << 20));
    }

    #[test]
    fn a_log_that_is_off_takes_no_thread() {
        let log = AccessLog::open(&AccessLogSink::Off, 1).unwrap();
        assert!(!log.is_on());
        log.flush();
    }
}
