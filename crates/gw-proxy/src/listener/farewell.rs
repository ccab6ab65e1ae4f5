//! How a server lets its clients go: first they are asked to, later they have to.

use std::time::Duration;

use super::{Acceptor, Server, join};
use crate::worker;

impl Server {
    /// Accepts no more connections. Those that are open are served on.
    pub async fn stop_accepting(&mut self) {
        let mut threads = Vec::new();
        for Acceptor { stop, thread } in self.acceptors.drain(..) {
            drop(stop);
            threads.push(thread);
        }
        join(threads).await;
    }

    /// Asks clients to leave: answers on HTTP/1 say `Connection: close`, connections of HTTP/2 that are open now are told to
    /// take no more requests. Nothing is refused.
    pub fn part(&self) {
        self.gateway.workers().iter().for_each(|worker| worker.part());
    }

    /// Waits until no connection is open, and not for longer than `limit`; returns how many are.
    pub async fn emptied(&self, limit: Duration) -> usize {
        let deadline = tokio::time::Instant::now() + limit;
        let mut open = 0;
        for worker in self.gateway.workers() {
            open += worker::emptied(worker, deadline).await;
        }
        open
    }
}
