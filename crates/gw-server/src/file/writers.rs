//! Whether somebody is writing a file at the moment, as far as the system tells.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::time::Instant;
use tracing::debug;

/// After how long without a write nobody is taken to be writing, where the system has lost count.
const QUIET: Duration = Duration::from_secs(2);

/// Bound: events taken in at once. The system keeps no more than some ten thousand.
const MOST: usize = 1 << 16;

/// Knows of a file whether somebody has begun to write it and has not closed it since. It is to be asked every now and then,
/// or the system loses count of what happens in a lively folder.
///
/// Where the system tells nothing, on file systems of the network for one, nobody is ever seen writing.
#[derive(Debug)]
pub(crate) struct Writers {
    events: Option<OwnedFd>,
    /// What is watched: the file by what it is, folders by the name it has there.
    watched: Vec<(i32, Option<Box<OsStr>>)>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody writes.
    Still,
    /// Somebody has begun, and has not closed it.
    Written,
    /// The system has lost count, then.
    Unknown(Instant),
}

impl Writers {
    pub(crate) fn new() -> Self {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        Self {
            events: events
                .inspect_err(|error| debug!(%error, "the system does not tell who writes a file"))
                .ok(),
            watched: Vec::new(),
            state: State::Still,
        }
    }

    /// Watches what a path leads to now.
    pub(crate) fn watch(&mut self, path: &Path) {
        let Some(events) = &self.events else { return };
        let mut watched = Vec::new();
        let mut add = |path: &Path, name: Option<&OsStr>| {
            let flags =
                WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
            match inotify::add_watch(events, path, flags) {
                Ok(watch) => watched.push((watch, name.map(Into::into))),
                Err(error) => {
                    debug!(path = %path.display(), %error, "the system does not tell who writes here")
                }
            }
        };
        add(path, None);
        let real = std::fs::canonicalize(path);
        for path in [Some(path), real.as_deref().ok()].into_iter().flatten() {
            if let (Some(folder), Some(name)) = (path.parent(), path.file_name()) {
                let folder = if folder.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    folder
                };
                add(folder, Some(name));
            }
        }
        let left = self
            .watched
            .iter()
            .filter(|(watch, _)| !watched.iter().any(|(kept, _)| kept == watch));
        for (watch, _) in left {
            // It may have gone by itself, with what it watched.
            if let Err(error) = inotify::remove_watch(events, *watch) {
                debug!(%error, "a watch has ended");
            }
        }
        self.watched = watched;
    }

    /// Whether somebody is writing it, or may be.
    pub(crate) fn are_at_work(&mut self, now: Instant) -> bool {
        if let Err(error) = self.take_in(now) {
            debug!(%error, "the system does not tell who writes a file");
            self.state = State::Still;
        }
        match self.state {
            State::Still => false,
            State::Written => true,
            State::Unknown(since) => now.saturating_duration_since(since) < QUIET,
        }
    }

    fn take_in(&mut self, now: Instant) -> io::Result<()> {
        let Some(events) = &self.events else { return Ok(()) };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(events, &mut buffer);
        for _ in 0..MOST {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::WOULDBLOCK) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                self.state = State::Unknown(now);
                continue;
            }
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let is_ours = self
                .watched
                .iter()
                .any(|(watch, known)| *watch == event.wd() && known.as_deref() == name);
            if is_ours {
                self.state = match event.events().contains(ReadFlags::MODIFY) {
                    true => State::Written,
                    false => State::Still,
                };
            }
        }
        self.state = State::Unknown(now); // there is more
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn who_writes_is_seen_until_the_file_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kong.yml");
        std::fs::write(&path, "a").unwrap();
        let mut writers = Writers::new();
        let now = Instant::now();
        writers.watch(&path);
        assert!(!writers.are_at_work(now));
        // In place.
        let mut file = File::create(&path).unwrap();
        assert!(writers.are_at_work(now));
        file.write_all(b"b").unwrap();
        assert!(writers.are_at_work(now));
        drop(file);
        assert!(!writers.are_at_work(now));
        // Anew, under the same name.
        std::fs::remove_file(&path).unwrap();
        let mut file = File::create(&path).unwrap();
        file.write_all(b"b").unwrap();
        assert!(writers.are_at_work(now));
        writers.watch(&path);
        assert!(writers.are_at_work(now));
        drop(file);
        assert!(!writers.are_at_work(now));
        // Of others nothing is seen.
        let mut other = File::create(dir.path().join("other")).unwrap();
        other.write_all(b"c").unwrap();
        assert!(!writers.are_at_work(now));
        // By a link.
        let link = dir.path().join("link.yml");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        writers.watch(&link);
        let file = File::create(&path).unwrap();
        assert!(writers.are_at_work(now));
        std::fs::rename(dir.path().join("other"), &path).unwrap();
        assert!(!writers.are_at_work(now));
        drop(file);
    }

    #[test]
    fn what_is_not_there_is_written_by_nobody() {
        let mut writers = Writers::new();
        writers.watch(Path::new("/nowhere/at/all"));
        assert!(!writers.are_at_work(Instant::now()));
    }

    /// More than the system keeps, of other files in the folder.
    fn noise(dir: &Path) {
        let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let most: usize = most.trim().parse().unwrap();
        let mut others = ["one", "other"].map(|name| File::create(dir.join(name)).unwrap());
        for _ in 0..=most / 2 {
            for other in &mut others {
                other.write_all(b"x").unwrap();
            }
        }
    }

    #[test]
    fn where_the_system_has_lost_count_a_writer_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kong.yml");
        std::fs::write(&path, "a").unwrap();
        let mut writers = Writers::new();
        writers.watch(&path);
        let now = Instant::now();
        let mut file = File::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        noise(dir.path());
        assert!(writers.are_at_work(now), "it is open still");
        assert!(writers.are_at_work(now + QUIET - Duration::from_millis(1)));
        // It goes on.
        file.write_all(b"more").unwrap();
        assert!(writers.are_at_work(now + QUIET));
        assert!(writers.are_at_work(now + 10 * QUIET));
        drop(file);
        assert!(!writers.are_at_work(now + 10 * QUIET));
        // That it was closed is lost too.
        let file = File::create(&path).unwrap();
        noise(dir.path());
        drop(file);
        assert!(writers.are_at_work(now));
        assert!(!writers.are_at_work(now + QUIET));
    }
}
