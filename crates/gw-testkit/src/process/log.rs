//! The lines that a child process writes.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// Lines in the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: Mutex<Vec<String>>,
    added: watch::Sender<()>,
}

impl Log {
    pub(super) fn add(&self, line: String) {
        self.lock().push(line);
        self.added.send_replace(());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// Waits until `find` finds what it looks for.
    pub(crate) async fn wait_for<T>(&self, find: impl Fn(&[String]) -> Option<T>) -> T {
        let mut added = self.added.subscribe();
        loop {
            // Looked at after subscribing: a line added in between wakes us.
            if let Some(found) = find(&self.lock()) {
                return found;
            }
            added
                .changed()
                .await
                .expect("the sender is in `self`, so it is alive");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
