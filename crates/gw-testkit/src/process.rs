//! A child process, watched by a thread of its own so that it outlives no test and needs no test's runtime.

mod log;

use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::log::Log;

/// A running child process and what it wrote.
#[derive(Debug)]
pub(crate) struct Process {
    id: u32,
    log: Arc<Log>,
    status: watch::Receiver<Option<ExitStatus>>,
    signals: Option<mpsc::UnboundedSender<Signal>>,
    thread: Option<JoinHandle<()>>,
}

impl Process {
    pub(crate) fn spawn(command: Command) -> io::Result<Self> {
        let log = Arc::new(Log::default());
        let (signals, wanted) = mpsc::unbounded_channel();
        let (ended, status) = watch::channel(None);
        let (started, start) = std::sync::mpsc::channel();
        let written = Arc::clone(&log);
        let thread = std::thread::Builder::new()
            .name("child".to_owned())
            .spawn(move || watch_over(command, started, wanted, ended, &written))?;
        let id = start.recv().map_err(io::Error::other)??;
        Ok(Self {
            id,
            log,
            status,
            signals: Some(signals),
            thread: Some(thread),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn status(&self) -> Option<ExitStatus> {
        *self.status.borrow()
    }

    pub(crate) async fn wait(&self) -> ExitStatus {
        let mut status = self.status.clone();
        let ended = status
            .wait_for(Option::is_some)
            .await
            .expect("the thread tells the status before it ends");
        ended.expect("just waited for")
    }

    /// Does nothing if the process has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(signals) = &self.signals {
            // Without a receiver there is no process either.
            let _sent = signals.send(signal);
        }
    }

    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        drop(self.signals.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the thread that watches a child process panicked");
        }
    }
}

type Started = std::sync::mpsc::Sender<io::Result<u32>>;

fn watch_over(
    command: Command,
    started: Started,
    mut wanted: mpsc::UnboundedReceiver<Signal>,
    ended: watch::Sender<Option<ExitStatus>>,
    log: &Arc<Log>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let child = tokio::process::Command::from(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let told = match child {
            Err(error) => started.send(Err(error)),
            Ok(mut child) => {
                let told = started.send(Ok(child.id().expect("not waited for yet")));
                let (status, mut reading) = run(&mut child, &mut wanted, log).await;
                ended.send_replace(Some(status));
                // A grandchild may have taken the output over: it is read for as long as somebody wants it.
                let dropped = async { while wanted.recv().await.is_some() {} };
                tokio::select! {
                    () = dropped => {}
                    _ = async { while reading.join_next().await.is_some() {} } => {}
                }
                told
            }
        };
        told.expect("the spawning thread waits for this");
    });
}

/// Passes signals on and collects lines until the process ends and its output is read, or what is left of it is somebody
/// else's.
async fn run(
    child: &mut Child,
    wanted: &mut mpsc::UnboundedReceiver<Signal>,
    log: &Arc<Log>,
) -> (ExitStatus, JoinSet<()>) {
    let mut reading = JoinSet::new();
    reading.spawn(collect(child.stdout.take(), Arc::clone(log)));
    reading.spawn(collect(child.stderr.take(), Arc::clone(log)));
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.expect("a child can be waited for"),
            Some(signal) = wanted.recv() => send(child, signal),
        }
    };
    // Bound: a grandchild may hold the pipes open for longer than anybody wants to wait.
    let read = async { while reading.join_next().await.is_some() {} };
    let _late = tokio::time::timeout(Duration::from_secs(1), read).await;
    (status, reading)
}

fn send(child: &Child, signal: Signal) {
    // Not yet waited for, so the id is still this process's own, if only as a zombie.
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        // It may have ended a moment ago.
        let _sent = kill_process(pid, signal);
    }
}

async fn collect(output: Option<impl AsyncRead + Unpin>, log: Arc<Log>) {
    let Some(output) = output else { return };
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).await.is_ok_and(|n| n > 0) {
        log.add(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
}
