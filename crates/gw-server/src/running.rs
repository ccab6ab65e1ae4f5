//! A gateway that serves, until it is told to end or another process has taken over.

use std::sync::Arc;
use std::time::Duration;

use gw_proxy::Server;
use tracing::{error, info, warn};

use crate::args::lifecycle::LifecycleArgs;
use crate::control::Control;
use crate::error::StartError;
use crate::notify::{State, notify};
use crate::pulse::{Readiness, Status};
use crate::signal::{Asked, Signals};
use crate::sockets::{Open, SocketFile};
use crate::upgrade::{Program, Successor, UpgradeError};

/// A gateway that serves.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    pub(crate) args: &'a LifecycleArgs,
    pub(crate) signals: Signals,
    pub(crate) program: Program,
    /// All sockets, to be handed over.
    pub(crate) sockets: Vec<Open>,
    /// Their files, but for those that the server removes itself.
    pub(crate) files: Vec<SocketFile>,
    pub(crate) server: Server,
    /// None where there is no store.
    pub(crate) control: Option<Control>,
    pub(crate) status: Vec<Status>,
    pub(crate) readiness: Arc<Readiness>,
}

/// How an attempt to be replaced ended.
enum Upgraded {
    By(Box<Successor>),
    /// Not at all: it was told to end meanwhile.
    Stopped(&'static str),
    Failed(UpgradeError),
}

impl Running<'_> {
    /// Serves until it is told to end, and ends in good order.
    pub(crate) async fn until_end(mut self) {
        loop {
            let asked = self.signals.next().await;
            let upgraded = match asked {
                Asked::Stop(signal) => return self.stop(signal).await,
                Asked::Upgrade => self.upgrade().await,
            };
            match upgraded {
                Upgraded::By(successor) => return self.leave(*successor).await,
                Upgraded::Stopped(signal) => return self.stop(signal).await,
                Upgraded::Failed(error) => {
                    report("no new process takes over, this one goes on as before", &error);
                    notify(&[
                        State::Ready,
                        State::Status("an upgrade failed; serving as before"),
                    ]);
                }
            }
        }
    }

    /// Ends: first load balancers are told, then clients, then the rest is let finish. A second signal ends it at once.
    async fn stop(mut self, signal: &str) {
        notify(&[State::Stopping]);
        self.readiness.leave();
        let LifecycleArgs {
            drain_delay: delay,
            shutdown_grace: grace,
            ..
        } = *self.args;
        if !delay.is_zero() {
            info!(signal, ?delay, "stopping: clients are asked to leave");
            self.server.part();
            let over = tokio::time::sleep_until(tokio::time::Instant::now() + delay);
            tokio::select! {
                () = over => {}
                signal = self.signals.stop() => {
                    warn!(signal, "asked twice, ending at once");
                    return self.end().await;
                }
            }
        }
        info!(
            signal,
            ?grace,
            "stopping: no new connections, requests in flight may finish"
        );
        // While another descriptor of it is open, a socket listens on.
        self.sockets.clear();
        if let Some(control) = &mut self.control {
            control.stop();
        }
        drain(self.server, &mut self.signals, grace, &self.readiness).await;
        end(self.control, self.status).await;
    }

    async fn end(self) {
        drop(self.server);
        end(self.control, self.status).await;
    }

    /// Lets a new process take over; if that comes to nothing, everything is as before.
    async fn upgrade(&mut self) -> Upgraded {
        notify(&[State::Reloading]);
        let mut successor = match Successor::start(&self.program, &self.sockets) {
            Ok(successor) => successor,
            Err(error) => return Upgraded::Failed(error),
        };
        let prepared = tokio::select! {
            prepared = successor.prepared() => prepared,
            signal = self.signals.stop() => {
                successor.end(UpgradeError::Cancelled).await;
                return Upgraded::Stopped(signal);
            }
        };
        if let Err(error) = prepared {
            return Upgraded::Failed(successor.end(error).await);
        }
        if let Some(control) = &mut self.control {
            control.let_go().await;
        }
        let taken = tokio::select! {
            taken = successor.take_store() => taken,
            signal = self.signals.stop() => {
                // Nobody is left to serve what it has begun to.
                successor.end(UpgradeError::Cancelled).await;
                return Upgraded::Stopped(signal);
            }
        };
        let Err(error) = taken else {
            return Upgraded::By(Box::new(successor));
        };
        let error = successor.end(error).await;
        if let Some(control) = &mut self.control
            && let Err(error) = control.take_back().await
        {
            report(
                "the store cannot be opened again; restart the gateway to change its configuration",
                &error,
            );
        }
        Upgraded::Failed(error)
    }

    /// Ends, with another process serving in its place.
    async fn leave(mut self, successor: Successor) {
        let pid = successor.pid();
        let LifecycleArgs {
            upgrade_grace: limit,
            shutdown_grace: grace,
            ..
        } = *self.args;
        self.server.stop_accepting().await;
        self.server.leave_files();
        self.sockets.clear();
        self.files.drain(..).for_each(SocketFile::leave);
        notify(&[State::MainPid(pid)]);
        successor.leave().await;
        self.server.part();
        info!(pid, ?limit, "a new process has taken over; connections may end");
        // At once: operators and load balancers are to ask the new process.
        let others = tokio::spawn(end(self.control.take(), std::mem::take(&mut self.status)));
        let open = tokio::select! {
            open = self.server.emptied(limit) => open,
            signal = self.signals.stop() => {
                warn!(signal, "told to end, connections get the grace of a stop");
                usize::MAX
            }
        };
        let grace = if open == 0 { Duration::ZERO } else { grace };
        drain(self.server, &mut self.signals, grace, &self.readiness).await;
        if let Err(error) = others.await {
            warn!(%error, "the control plane ended badly");
        }
    }
}

/// Lets requests in flight finish, and what plugins have logged of them go where it is to go, unless told a second time.
async fn drain(server: Server, signals: &mut Signals, grace: Duration, readiness: &Readiness) {
    let finishing = async {
        let drained = server.shutdown(grace).await;
        info!(cut = drained.cut, "stopped serving");
        readiness.flush_logs().await;
    };
    tokio::select! {
        () = finishing => {}
        signal = signals.stop() => warn!(signal, "asked twice, ending at once"),
    }
}

/// The Status API last: it says no until the end.
async fn end(control: Option<Control>, status: Vec<Status>) {
    if let Some(control) = control {
        control.end().await;
    }
    for status in status {
        status.end().await;
    }
}

fn report(what: &str, error: &(dyn std::error::Error + 'static)) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    error!(error = text, "{what}");
}

/// Says that it serves; in place of a process, if it has taken over from one.
pub(crate) fn tell_ready(predecessor: Option<u32>) {
    let status = match predecessor {
        Some(pid) => format!("serving, in place of process {pid}"),
        None => "serving".to_owned(),
    };
    notify(&[State::Ready, State::Status(&status)]);
}

/// What a signal handler's absence is called.
pub(crate) fn listen_for_signals() -> Result<Signals, StartError> {
    Signals::listen().map_err(|source| StartError::System {
        what: "signal handlers",
        source,
    })
}
