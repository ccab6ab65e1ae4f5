//! What goes on beside requests gives way to them: its threads run at a lower priority than those that serve.

use std::io;
use std::sync::mpsc;
use std::thread;

use rustix::process::{getpriority_process, setpriority_process};
use tracing::debug;

/// How much nicer such threads are: beside a thread that serves without a pause they get a fourth of a core.
const NICER: i32 = 5;

/// Bound: as nice as can be.
const NICEST: i32 = 19;

/// The priority of threads that give way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Background {
    /// None where the system does not tell that of a thread.
    niceness: Option<i32>,
}

/// A thread that does not give way, to start processes from: a process begins with the priority of the thread that
/// starts it, and cannot raise it again.
#[derive(Debug)]
pub(crate) struct Starter(mpsc::Sender<Work>);

type Work = Box<dyn FnOnce() + Send>;

impl Background {
    /// That of threads nicer than the calling one.
    pub(crate) fn beside_this() -> Self {
        // Elsewhere a priority is one of all threads together.
        let own = match cfg!(target_os = "linux") {
            true => getpriority_process(None).ok(),
            false => None,
        };
        Self {
            niceness: own.map(|own| (own + NICER).min(NICEST)),
        }
    }

    /// The calling thread gives way from now on, and so do those that it starts.
    pub(crate) fn give_way(self) {
        let Some(niceness) = self.niceness else { return };
        if let Err(error) = setpriority_process(None, niceness) {
            debug!(%error, "a thread keeps its priority");
        }
    }
}

impl Starter {
    /// One with the priority of the calling thread.
    pub(crate) fn new() -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel::<Work>();
        let work = move || receiver.into_iter().for_each(|work| work());
        thread::Builder::new().name("starter".to_owned()).spawn(work)?;
        Ok(Self(sender))
    }

    /// Does it there, and waits for it.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (done, outcome) = mpsc::sync_channel(1);
        let gone = |_| io::Error::other("the thread that starts processes has ended");
        self.0
            .send(Box::new(move || {
                // Whoever asked waits.
                done.send(work()).ok();
            }))
            .map_err(|_| gone(mpsc::RecvError))?;
        outcome.recv().map_err(gone)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_way_is_nicer_and_what_is_started_elsewhere_is_not() {
        let own = getpriority_process(None).unwrap();
        let starter = Starter::new().unwrap();
        let background = Background::beside_this();
        // On a thread of its own: there is no way back.
        let [nicer, again, started] = thread::spawn(move || {
            background.give_way();
            let nicer = getpriority_process(None).unwrap();
            let again = thread::spawn(move || {
                background.give_way();
                getpriority_process(None).unwrap()
            });
            let started = starter.run(|| Ok(getpriority_process(None)?)).unwrap();
            [nicer, again.join().unwrap(), started]
        })
        .join()
        .unwrap();
        let expected = (own + NICER).min(NICEST);
        assert_eq!((nicer, again, started), (expected, expected, own));
        assert_eq!(getpriority_process(None).unwrap(), own);
    }
}
