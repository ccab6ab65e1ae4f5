//! SIGTERM, Ctrl-C and SIGUSR2, as futures.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that an operator sends.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    upgrade: Signal,
}

/// What an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To end, by the signal of this name.
    Stop(&'static str),
    /// To let a new process take over.
    Upgrade,
}

impl Signals {
    /// Takes the signals over from the system's default, which is to die.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.upgrade.recv() => Asked::Upgrade,
        }
    }

    /// Waits for the next one to end, and names it. Whatever else is asked for meanwhile comes too late.
    pub(crate) async fn stop(&mut self) -> &'static str {
        loop {
            match self.next().await {
                Asked::Stop(signal) => return signal,
                Asked::Upgrade => {
                    tracing::warn!("SIGUSR2 comes at a moment when no new process can take over")
                }
            }
        }
    }
}
