//! A file that is followed: what it says comes into force when it has changed and is at rest.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gw_admin::AdminApi;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, error, info, warn};

use super::writers::Writers;
use super::{Environment, FileError, Signature};

/// How often it is looked at. What has changed comes into force when two looks have seen the same, so within a second.
const PAUSE: Duration = Duration::from_millis(200);

/// After how long a writer that does not close it is complained of.
const PATIENCE: Duration = Duration::from_secs(10);

/// A file that is followed.
#[derive(Debug)]
pub(crate) struct Follower {
    path: PathBuf,
    environment: Environment,
    api: AdminApi,
    writers: Writers,
    rest: Rest,
    /// Since when it is being written, and whether that was complained of.
    written_since: Option<(Instant, bool)>,
    /// Nobody is told twice that it is gone.
    is_gone: bool,
    reload: Signal,
}

/// After how long what could not be read, or stored, is tried again: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Decides from looks at a file when to read it.
#[derive(Debug)]
struct Rest {
    /// What was read last.
    read: Option<Signature>,
    /// What was seen last.
    seen: Option<Signature>,
    failed: Option<Failed>,
}

/// A state of a file that was not taken in, though nothing may be wrong with it.
#[derive(Debug)]
struct Failed {
    state: Option<Signature>,
    /// When it is tried again, and how long that was put off.
    again: Instant,
    pause: Duration,
}

impl Rest {
    /// Whether the file is to be read, now that it looks so: it is another than the one that was read, and was the same
    /// at the look before.
    fn look(&mut self, now: Signature) -> bool {
        let before = self.seen.replace(now);
        self.read != Some(now) && before == Some(now)
    }

    /// Whether nothing speaks against reading it now: if that has failed before, some time has passed, or it has changed.
    fn is_due(&self, now: Instant) -> bool {
        let failed = self.failed.as_ref().filter(|failed| failed.state == self.seen);
        failed.is_none_or(|failed| now >= failed.again)
    }

    /// Takes note that what was seen last was not taken in; whether that is new.
    fn fails(&mut self, now: Instant) -> bool {
        let (first, longest) = AGAIN;
        let before = self.failed.take().filter(|failed| failed.state == self.seen);
        let pause = before
            .as_ref()
            .map_or(first, |before| (before.pause * 2).min(longest));
        self.failed = Some(Failed {
            state: self.seen,
            again: now + pause,
            pause,
        });
        before.is_none()
    }

    /// Takes note that it was taken in as it was then, or refused for what it says.
    fn reads(&mut self, state: Option<Signature>) {
        (self.read, self.failed) = (state, None);
    }
}

impl Follower {
    /// Follows a file that was read as `read`.
    pub(crate) fn new(
        path: &Path,
        environment: Environment,
        api: AdminApi,
        read: Option<Signature>,
    ) -> io::Result<Self> {
        let mut writers = Writers::new();
        writers.watch(path);
        Ok(Self {
            path: path.to_owned(),
            environment,
            api,
            writers,
            rest: Rest {
                read,
                seen: read,
                failed: None,
            },
            written_since: None,
            is_gone: false,
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// Follows it until the future is dropped.
    pub(crate) async fn run(mut self) {
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.look().await,
                _ = self.reload.recv() => {
                    info!(file = %self.path.display(), "SIGHUP: the file is read again");
                    self.read().await;
                }
            }
        }
    }

    async fn look(&mut self) {
        // On a thread of its own: a file system of the network may take its time.
        let path = self.path.clone();
        let now = tokio::task::spawn_blocking(move || Signature::of(&path)).await;
        let now = match now {
            Ok(Ok(now)) => now,
            Ok(Err(error)) => return self.is_gone(&error),
            Err(error) => return debug!(%error, "the file was not looked at"),
        };
        self.is_gone = false;
        if self.rest.seen.is_none_or(|seen| !seen.is_same_file(&now)) {
            self.writers.watch(&self.path);
        }
        // At every look, so that the system need not keep what happens around the file.
        let are_at_work = self.writers.are_at_work(Instant::now());
        if !self.rest.look(now) {
            self.written_since = None;
            return;
        }
        if are_at_work {
            return self.is_written();
        }
        self.written_since = None;
        if self.rest.is_due(Instant::now()) {
            self.read().await;
        }
    }

    /// Reads it, and puts it into force if nothing is wrong with it.
    async fn read(&mut self) {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || super::read_at_rest(&path)).await;
        let (text, signature) = match read {
            Ok(Ok(read)) => read,
            Ok(Err(error)) if error.is_about_contents() => {
                // Once for each state that it is found in.
                self.rest.reads(self.rest.seen);
                return report(&error);
            }
            Ok(Err(error)) => return self.fails(&error),
            Err(error) => return error!(%error, "the file was not read to the end"),
        };
        self.rest.seen = Some(signature);
        let loaded = super::load(&self.api, &self.path, text, self.environment, true).await;
        match loaded {
            Err(error) if !error.is_about_contents() => self.fails(&error),
            loaded => {
                self.rest.reads(Some(signature));
                if let Err(error) = loaded {
                    report(&error);
                }
            }
        }
    }

    /// Another time it may be taken in as it is.
    fn fails(&mut self, error: &FileError) {
        if self.rest.fails(Instant::now()) {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            error!(
                %error, cause,
                "the file is not taken in, and is tried again; the configuration from before goes on being served"
            );
        }
    }

    fn is_gone(&mut self, error: &io::Error) {
        self.rest.seen = None;
        if !std::mem::replace(&mut self.is_gone, true) {
            warn!(file = %self.path.display(), %error, "the file is gone; what it said goes on being served");
        }
    }

    fn is_written(&mut self) {
        let (since, told) = *self.written_since.get_or_insert((Instant::now(), false));
        if !told && since.elapsed() >= PATIENCE {
            self.written_since = Some((since, true));
            warn!(
                file = %self.path.display(),
                "somebody has begun to write the file and holds it open; it is read when they close it, or on SIGHUP"
            );
        }
    }
}

/// Says what is wrong, a line for each.
fn report(error: &FileError) {
    const STAYS: &str = "the file is refused; the configuration from before goes on being served";
    match error {
        FileError::Refused { path, refusal } => {
            let faults = super::faults(path, refusal);
            error!(file = %path.display(), faults = faults.len(), "{STAYS}");
            for fault in faults {
                error!("{fault}");
            }
        }
        other => {
            let cause = std::error::Error::source(other).map(ToString::to_string);
            error!(error = %other, cause, "{STAYS}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(number: i64) -> Signature {
        Signature {
            device: 1,
            inode: 1,
            size: 1,
            modified: (number, 0),
            changed: (number, 0),
        }
    }

    #[test]
    fn it_is_read_when_two_looks_have_seen_the_same() {
        let read = Some(signature(0));
        let mut rest = Rest {
            read,
            seen: read,
            failed: None,
        };
        for (seen, is_read) in [
            (0, false),
            (1, false),
            (2, false),
            (2, true),
            (2, true),
            (0, false),
            (0, false),
        ] {
            assert_eq!(rest.look(signature(seen)), is_read, "{seen}");
        }
        rest.read = Some(signature(2));
        assert!(!rest.look(signature(2)) && !rest.look(signature(2)));
        // Gone in between.
        rest.seen = None;
        assert!(!rest.look(signature(3)) && rest.look(signature(3)));
    }

    #[test]
    fn what_could_not_be_read_is_tried_again_and_told_once() {
        let (first, longest) = AGAIN;
        let mut rest = Rest {
            read: Some(signature(0)),
            seen: Some(signature(1)),
            failed: None,
        };
        let mut now = Instant::now();
        assert!(rest.look(signature(1)) && rest.is_due(now));
        assert!(rest.fails(now), "it is told");
        let mut pause = first;
        for _ in 0..10 {
            // It has not changed, and is to be read nevertheless.
            assert!(rest.look(signature(1)));
            assert!(!rest.is_due(now + pause - Duration::from_millis(1)));
            now += pause;
            assert!(rest.is_due(now));
            assert!(!rest.fails(now), "it was told");
            pause = (pause * 2).min(longest);
        }
        // Another state is another matter.
        assert!(!rest.look(signature(2)) && rest.look(signature(2)));
        assert!(rest.is_due(now) && rest.fails(now));
        rest.reads(rest.seen);
        assert!(!rest.look(signature(2)));
    }
}
