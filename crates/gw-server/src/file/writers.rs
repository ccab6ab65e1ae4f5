//! Whether somebody is writing a file at the moment, as far as the system tells.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tracing::debug;

/// Knows of a file whether somebody has begun to write it and has not closed it since.
///
/// Where the system tells nothing, on file systems of the network for one, nobody is ever seen writing.
#[derive(Debug)]
pub(crate) struct Writers {
    events: Option<OwnedFd>,
    /// What is watched: the file by what it is, folders by the name it has there.
    watched: Vec<(i32, Option<Box<OsStr>>)>,
    is_written: bool,
}

impl Writers {
    pub(crate) fn new() -> Self {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        Self {
            events: events
                .inspect_err(|error| debug!(%error, "the system does not tell who writes a file"))
                .ok(),
            watched: Vec::new(),
            is_written: false,
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

    /// Whether somebody is writing it.
    pub(crate) fn are_at_work(&mut self) -> bool {
        if let Err(error) = self.take_in() {
            debug!(%error, "the system does not tell who writes a file");
            self.is_written = false;
        }
        self.is_written
    }

    fn take_in(&mut self) -> io::Result<()> {
        let Some(events) = &self.events else { return Ok(()) };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(events, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::WOULDBLOCK) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                self.is_written = false;
                continue;
            }
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let is_ours = self
                .watched
                .iter()
                .any(|(watch, known)| *watch == event.wd() && known.as_deref() == name);
            if is_ours {
                self.is_written = event.events().contains(ReadFlags::MODIFY);
            }
        }
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
        writers.watch(&path);
        assert!(!writers.are_at_work());
        // In place.
        let mut file = File::create(&path).unwrap();
        assert!(writers.are_at_work());
        file.write_all(b"b").unwrap();
        assert!(writers.are_at_work());
        drop(file);
        assert!(!writers.are_at_work());
        // Anew, under the same name.
        std::fs::remove_file(&path).unwrap();
        let mut file = File::create(&path).unwrap();
        file.write_all(b"b").unwrap();
        assert!(writers.are_at_work());
        writers.watch(&path);
        assert!(writers.are_at_work());
        drop(file);
        assert!(!writers.are_at_work());
        // Of others nothing is seen.
        let mut other = File::create(dir.path().join("other")).unwrap();
        other.write_all(b"c").unwrap();
        assert!(!writers.are_at_work());
        // By a link.
        let link = dir.path().join("link.yml");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        writers.watch(&link);
        let file = File::create(&path).unwrap();
        assert!(writers.are_at_work());
        std::fs::rename(dir.path().join("other"), &path).unwrap();
        assert!(!writers.are_at_work());
        drop(file);
    }

    #[test]
    fn what_is_not_there_is_written_by_nobody() {
        let mut writers = Writers::new();
        writers.watch(Path::new("/nowhere/at/all"));
        assert!(!writers.are_at_work());
    }
}
