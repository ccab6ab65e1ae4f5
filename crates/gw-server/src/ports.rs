//! What the program lends to the Admin API: how far this node is, and what it says of itself.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use gw_admin::ports::{Applied, Counters, Node, Status};
use gw_proxy::Gateway;
use gw_store::Revision;
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

/// This node, as the Admin API sees it.
#[derive(Debug)]
pub(crate) struct ThisNode {
    pub(crate) applied: watch::Receiver<Revision>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) node: Node,
    pub(crate) settings: Value,
}

impl Applied for ThisNode {
    fn wait(&self, revision: u64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut applied = self.applied.clone();
        Box::pin(async move {
            if applied.wait_for(|now| now.0 >= revision).await.is_err() {
                // The sync loop has ended, so this node will never serve the revision: the caller's bound decides.
                std::future::pending::<()>().await;
            }
        })
    }

    fn revision(&self) -> u64 {
        self.applied.borrow().0
    }
}

impl Status for ThisNode {
    fn node(&self) -> Node {
        self.node.clone()
    }

    fn counters(&self) -> Counters {
        let counters = self.gateway.counters();
        Counters {
            requests: counters.requests,
            accepted: counters.connections,
            handled: counters.connections,
            active: counters.open_connections,
            // HTTP/1.1: a connection has one request at a time. Reading a head takes no time worth counting.
            reading: 0,
            writing: counters.requests_in_flight,
            waiting: counters
                .open_connections
                .saturating_sub(counters.requests_in_flight),
        }
    }

    fn settings(&self) -> Value {
        self.settings.clone()
    }
}

/// The node's identity, kept in its data directory.
pub(crate) fn node(data_dir: &Path) -> io::Result<Node> {
    let path = data_dir.join("node-id");
    let known = std::fs::read_to_string(&path)
        .ok()
        .and_then(|text| text.trim().parse::<Uuid>().ok());
    let id = match known {
        Some(id) => id,
        None => {
            let id = Uuid::new_v4();
            std::fs::write(&path, format!("{id}\n"))?;
            id
        }
    };
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let hostname = match hostname.trim() {
        "" => "localhost",
        name => name,
    };
    Ok(Node {
        id,
        hostname: hostname.into(),
    })
}
