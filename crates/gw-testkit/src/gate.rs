//! A gate that a test opens when it wants something to go on.

use std::sync::Arc;

use tokio::sync::watch;

/// Holds whoever waits at it until the test opens it. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate {
    open: Arc<watch::Sender<bool>>,
}

impl Gate {
    /// A gate that is closed.
    pub fn closed() -> Self {
        Self {
            open: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until it is open. Has no deadline of its own: the test that holds the gate has one.
    pub async fn wait(&self) {
        let opened = self.open.subscribe().wait_for(|open| *open).await.map(drop);
        opened.expect("the sender is in `self`, so it is alive");
    }
}
