//! A new process takes over from this one, or this one from an old one, and no request is lost.
//!
//! ```text
//!   old process                                    new process
//!   SIGUSR2: starts the program's file  ─────────▶ reads its flags, takes the sockets, builds everything but the store
//!   serves on                           ◀prepared─
//!   Admin API gives way, store is closed ──yours─▶ opens the store, compiles, looks names up, begins to accept
//!   proxies serve on                    ◀─serving─
//!   accepts no more                     ───alone─▶ serves the Admin API
//!   lets its connections end, and ends
//! ```
//!
//! Until `serving` the old process takes back what it gave, if the new one ends or takes too long.

mod wire;

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use gw_proxy::ListenSocket;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tracing::{info, warn};

use self::wire::{Handed, Handover, Line, Word};
use crate::background::Starter;
use crate::sockets::{Giver, Inherited, Open};

/// Names the process to take over from, which has given the end of a stream as standard input.
const VARIABLE: &str = "GW_SERVER_TAKES_OVER_FROM";

/// Bound: how long the new process may take for what it can do without the store.
const PREPARING: Duration = Duration::from_secs(30);

/// Bound: how long it may take from then until it serves. For so long nothing can be written, should it hang.
const STARTING: Duration = Duration::from_secs(60);

/// Bound: how long a process that says nothing any more may take to end.
const MOMENT: Duration = Duration::from_secs(2);

/// Bound: how long the process before may take to hand over what it has promised.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why no new process takes over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpgradeError {
    #[error("{} cannot be started", program.display())]
    Spawn { program: PathBuf, source: io::Error },
    #[error(
        "a container ends with its process 1, so another cannot take over from it; start a new container instead"
    )]
    FirstProcess,
    #[error("the new process ended with {status} before it served; it has said why")]
    Ended { status: ExitStatus },
    #[error("the new process did not {0} in time, and was ended")]
    Late(&'static str),
    #[error("told to end meanwhile")]
    Cancelled,
    #[error("the new process cannot be talked to")]
    Talk(#[from] io::Error),
}

/// Why this process cannot take over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeoverError {
    /// Standard input is not what it should be.
    #[error("{VARIABLE} is set, but standard input is not what an old process hands over; unset it")]
    Stream(#[source] io::Error),
    /// What is handed over cannot be taken.
    #[error("what the old process hands over cannot be taken")]
    Handover(#[source] io::Error),
    /// The old process lets this one wait.
    #[error("the old process did not hand over in time")]
    Late,
}

/// How this program was started, so that it can be started again.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    starter: Starter,
}

/// The process that is to take over.
#[derive(Debug)]
pub(crate) struct Successor {
    child: Child,
    pid: u32,
    line: Line,
}

/// The process that this one takes over from.
#[derive(Debug)]
pub(crate) struct Predecessor {
    pub(crate) pid: u32,
    stream: UnixStream,
}

/// The same, once the runtime runs.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) pid: u32,
    line: Line,
}

impl Program {
    /// The program as it was started. Called at the start: later its file may be another's.
    pub(crate) fn this() -> io::Result<Self> {
        let mut args = std::env::args_os();
        let name = PathBuf::from(args.next().unwrap_or_default());
        // A path is kept as it was typed: where it is a link, the new process is of what it leads to by then.
        let path = if name.components().count() > 1 {
            std::path::absolute(name)?
        } else {
            std::env::current_exe()?
        };
        Ok(Self {
            path,
            args: args.collect(),
            starter: Starter::new()?,
        })
    }

    fn command(&self, end: Stdio) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.args).stdin(end);
        for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
            command.env_remove(variable);
        }
        command.env(VARIABLE, std::process::id().to_string());
        command
    }
}

impl Successor {
    /// Starts the program anew and hands the sockets over.
    pub(crate) fn start(program: &Program, sockets: &[Open]) -> Result<Self, UpgradeError> {
        if std::process::id() == 1 {
            return Err(UpgradeError::FirstProcess);
        }
        let (own, other) = wire::pair()?;
        let (runtime, mut command) = (Handle::current(), program.command(other.into()));
        let child = program.starter.run(move || {
            let _entered = runtime.enter();
            command.spawn()
        });
        let child = child.map_err(|source| UpgradeError::Spawn {
            program: program.path.clone(),
            source,
        })?;
        let pid = child.id().unwrap_or_default();
        info!(pid, program = %program.path.display(), "a new process is to take over");
        let handed = sockets.iter().map(|open| Handed {
            name: open.name().into(),
            is_foreign: open.is_foreign,
            descriptor: open.socket.as_fd(),
        });
        let handover = Handover {
            pid: std::process::id(),
            sockets: handed.collect(),
        };
        // A program that is none of ours may be gone by now; that is found out by listening to it.
        if let Err(error) = wire::send(&own, &handover) {
            warn!(%error, "the new process takes no sockets");
        }
        Ok(Self {
            child,
            pid,
            line: Line::new(own)?,
        })
    }

    /// Waits until the new process has done what it can without the store.
    pub(crate) async fn prepared(&mut self) -> Result<(), UpgradeError> {
        self.hears(Word::Prepared, PREPARING, "prepare").await
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Leaves the store to it; returns when it serves.
    pub(crate) async fn take_store(&mut self) -> Result<(), UpgradeError> {
        self.line.say(Word::Yours).await?;
        self.hears(Word::Serving, STARTING, "serve").await
    }

    /// Tells it that nobody else accepts connections any more.
    pub(crate) async fn leave(mut self) {
        if let Err(error) = self.line.say(Word::Alone).await {
            warn!(%error, "the new process does not listen any more");
        }
    }

    /// Ends it, if it does not end by itself, and waits until it has; says how.
    pub(crate) async fn end(mut self, why: UpgradeError) -> UpgradeError {
        if matches!(why, UpgradeError::Talk(_))
            && let Ok(Ok(status)) = tokio::time::timeout(MOMENT, self.child.wait()).await
        {
            return UpgradeError::Ended { status };
        }
        if let Err(error) = self.child.kill().await {
            warn!(pid = self.pid, %error, "the new process cannot be ended");
        }
        why
    }

    async fn hears(&mut self, word: Word, limit: Duration, what: &'static str) -> Result<(), UpgradeError> {
        match tokio::time::timeout(limit, self.line.hear()).await {
            Err(_) => Err(UpgradeError::Late(what)),
            Ok(Ok(Some(heard))) if heard == word => Ok(()),
            Ok(Ok(Some(_))) => Err(UpgradeError::Late(what)),
            Ok(Ok(None)) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(Err(error)) => Err(error.into()),
        }
    }
}

impl Predecessor {
    /// The process to take over from, with the sockets it hands over, if there is one. Called at the start.
    pub(crate) fn find() -> Result<Option<(Self, Vec<Inherited>)>, TakeoverError> {
        let named = std::env::var(VARIABLE).ok().and_then(|pid| pid.parse().ok());
        // A variable that a child of a child has inherited means nothing.
        if named.is_none() || named != Some(std::os::unix::process::parent_id()) {
            return Ok(None);
        }
        let stream = wire::own_end().map_err(TakeoverError::Stream)?;
        let taken = stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| wire::receive(&stream))
            .and_then(|handover| {
                let sockets = handover.sockets.into_iter().map(|handed| {
                    Ok(Inherited {
                        socket: ListenSocket::try_from(handed.descriptor)?,
                        name: handed.name,
                        is_foreign: handed.is_foreign,
                        from: Giver::Predecessor,
                    })
                });
                Ok((handover.pid, sockets.collect::<io::Result<Vec<_>>>()?))
            });
        let (pid, sockets) = taken.map_err(TakeoverError::Handover)?;
        Ok(Some((Self { pid, stream }, sockets)))
    }

    /// As [`prepared`](Self::prepared), where there is one.
    pub(crate) async fn leaving(predecessor: Option<Self>) -> Result<Option<Leaving>, TakeoverError> {
        match predecessor {
            Some(predecessor) => predecessor.prepared().await.map(Some),
            None => Ok(None),
        }
    }

    /// Tells it that all is done that can be without the store, and waits until the store is let go of.
    async fn prepared(self) -> Result<Leaving, TakeoverError> {
        let mut leaving = Leaving {
            pid: self.pid,
            line: Line::new(self.stream).map_err(TakeoverError::Handover)?,
        };
        leaving.exchange(Word::Prepared, Word::Yours).await?;
        Ok(leaving)
    }
}

impl Leaving {
    /// Tells it that clients are served, and waits until it accepts no more.
    pub(crate) async fn serving(mut self) -> Result<(), TakeoverError> {
        self.exchange(Word::Serving, Word::Alone).await
    }

    async fn exchange(&mut self, say: Word, hear: Word) -> Result<(), TakeoverError> {
        let exchanged = async {
            self.line.say(say).await?;
            self.line.hear().await
        };
        match tokio::time::timeout(PATIENCE, exchanged).await {
            Ok(Ok(Some(word))) if word == hear => Ok(()),
            // It has died. So nobody serves, and nobody holds the store.
            Ok(Ok(None)) => {
                warn!(pid = self.pid, "the process to take over from is gone");
                Ok(())
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                warn!(pid = self.pid, "the process to take over from is gone");
                Ok(())
            }
            Ok(Ok(Some(_))) => Err(TakeoverError::Handover(io::ErrorKind::InvalidData.into())),
            Ok(Err(error)) => Err(TakeoverError::Handover(error)),
            Err(_) => Err(TakeoverError::Late),
        }
    }
}
