//! What this node says of itself to the others on its store, and what it hears from them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use gw_admin::ports::{ClusterNode, Node};
use gw_store::{Announced, LogError, Store};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, error, info};

use crate::alarms::Alarms;
use crate::sync::standing::{Lookout, Standing};

/// How long a word counts.
const LASTING: Duration = Duration::from_secs(10);

/// How often it is said again.
const EVERY: Duration = Duration::from_secs(3);

/// How long the word counts of a node that is about to end.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Bound: how long a store is waited for that does not take a word.
const PATIENCE: Duration = Duration::from_secs(3);

/// The alarm of nodes that serve different things at one revision.
const DIVERGED: &str = "diverged";

/// A node that tells the others where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Heartbeat {
    pub(crate) node: Node,
    pub(crate) started: SystemTime,
    pub(crate) store: Store,
    pub(crate) lookout: Lookout,
    pub(crate) alarms: Alarms,
}

impl Heartbeat {
    /// Says it at each change, and again before it lapses, until `stop` is dropped; then, that it is over.
    pub(crate) async fn run(self, mut stop: watch::Receiver<()>) {
        let mut standing = self.lookout.subscribe();
        let mut again = interval(EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Nothing is ever sent: it resolves when the sender is dropped.
                _ = stop.changed() => break,
                _ = again.tick() => {
                    self.say(false).await;
                    self.listen().await;
                }
                changed = standing.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.say(false).await;
                }
            }
        }
        self.say(true).await;
    }

    async fn say(&self, leaving: bool) {
        let lasting = if leaving { LAST_WORD } else { LASTING };
        let name = self.node.id.to_string();
        let about = encode(&self.here(), leaving);
        let said = timeout(PATIENCE, self.store.announce(&name, about, lasting)).await;
        // That the store does not answer is told by who follows it.
        match said {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "the other nodes were not told where this one stands"),
            Err(_) => debug!("the other nodes were not told in time where this one stands"),
        }
    }

    /// Finds out whether others serve something else than this node where they should serve the same.
    async fn listen(&self) {
        let Ok(Ok(nodes)) = timeout(PATIENCE, self.store.nodes()).await else {
            return;
        };
        let here = self.here();
        let differ: Vec<String> = others(&nodes, &here.node)
            .filter(|there| {
                (&there.incarnation, there.applied) == (&here.incarnation, here.applied)
                    && there.hash != here.hash
            })
            .map(|there| format!("{} ({})", there.node.id, there.node.hostname))
            .collect();
        if differ.is_empty() {
            if self.alarms.clear(DIVERGED) {
                info!("all nodes serve the same again");
            }
            return;
        }
        let message = format!(
            "at revision {} this node and {} serve different configurations; restart the one whose hash GET /cluster shows alone",
            here.applied,
            differ.join(", ")
        );
        if self.alarms.raise(DIVERGED, message.clone(), Some(here.applied)) {
            error!("{message}");
        }
    }

    /// This node, as the others see it.
    pub(crate) fn here(&self) -> ClusterNode {
        let Standing { served, problems, .. } = self.lookout.standing();
        let nothing = || ("".into(), 0, "".into(), self.started);
        let (incarnation, applied, hash, applied_at) = served.map_or_else(nothing, |served| {
            (
                served.view.incarnation().to_string().into_boxed_str(),
                served.view.revision().0,
                served.view.hash().to_string().into_boxed_str(),
                served.since,
            )
        });
        ClusterNode {
            node: self.node.clone(),
            is_this: true,
            version: env!("CARGO_PKG_VERSION").into(),
            started: self.started,
            incarnation,
            applied,
            hash,
            applied_at,
            stale_since: self.lookout.stale().map(|(since, _)| since),
            problems: problems.len() as u64,
        }
    }

    /// All nodes that are alive, this one as it is now.
    pub(crate) fn all(&self, announced: &[Announced]) -> Vec<ClusterNode> {
        let mut nodes: Vec<ClusterNode> = others(announced, &self.node).collect();
        nodes.push(self.here());
        nodes.sort_by_key(|node| node.node.id);
        nodes
    }

    /// The nodes that do not serve this revision of the store's history yet, when they do or time is up.
    pub(crate) async fn behind(&self, revision: u64, within: Duration) -> Result<Vec<ClusterNode>, LogError> {
        const FIRST_PAUSE: Duration = Duration::from_millis(2);
        const MAX_PAUSE: Duration = Duration::from_millis(50);
        let deadline = Instant::now() + within;
        let mut pause = FIRST_PAUSE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // One question is answered, however little time there was for it.
            let asked = timeout(left.max(PATIENCE), self.store.nodes()).await;
            let nodes = asked.map_err(|elapsed| LogError::Unavailable {
                place: self.store.place(),
                source: elapsed.into(),
            })??;
            let history = self.store.view().incarnation().to_string();
            let mut behind = self.all(&nodes);
            behind.retain(|node| *node.incarnation != *history || node.applied < revision);
            let now = Instant::now();
            if behind.is_empty() || now >= deadline {
                return Ok(behind);
            }
            tokio::time::sleep_until(deadline.min(now + pause)).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }
}

/// The others that are alive. What cannot be read stands for a node of which nothing is known but its name.
fn others(announced: &[Announced], this: &Node) -> impl Iterator<Item = ClusterNode> {
    announced.iter().filter_map(move |word| {
        let id = word.node.parse().ok()?;
        let node = decode(&word.about)?;
        (id != this.id).then_some(ClusterNode {
            node: Node {
                id,
                hostname: node.node.hostname,
            },
            ..node
        })
    })
}

fn encode(node: &ClusterNode, leaving: bool) -> Bytes {
    let about = json!({
        "hostname": node.node.hostname,
        "version": node.version,
        "started": millis(node.started),
        "incarnation": node.incarnation,
        "applied": node.applied,
        "hash": node.hash,
        "applied_at": millis(node.applied_at),
        "stale_since": node.stale_since.map(millis),
        "problems": node.problems,
        "leaving": leaving,
    });
    about.to_string().into()
}

/// Reads a word; none if its node is about to end. What a later release says otherwise is left blank.
fn decode(about: &[u8]) -> Option<ClusterNode> {
    let about: Value = serde_json::from_slice(about).unwrap_or_default();
    if about.get("leaving").and_then(Value::as_bool) == Some(true) {
        return None;
    }
    let text = |name: &str| about.get(name).and_then(Value::as_str).unwrap_or_default().into();
    let number = |name: &str| about.get(name).and_then(Value::as_u64);
    let time = |name: &str| Some(UNIX_EPOCH + Duration::from_millis(number(name)?.min(MAX_MILLIS)));
    Some(ClusterNode {
        node: Node {
            id: uuid::Uuid::nil(),
            hostname: text("hostname"),
        },
        is_this: false,
        version: text("version"),
        started: time("started").unwrap_or(UNIX_EPOCH),
        incarnation: text("incarnation"),
        applied: number("applied").unwrap_or(0),
        hash: text("hash"),
        applied_at: time("applied_at").unwrap_or(UNIX_EPOCH),
        stale_since: time("stale_since"),
        problems: number("problems").unwrap_or(0),
    })
}

/// Bound: times that are taken for times, up to the year 9999.
const MAX_MILLIS: u64 = 253_402_300_799_999;

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u128, applied: u64) -> ClusterNode {
        ClusterNode {
            node: Node {
                id: uuid::Uuid::from_u128(id),
                hostname: "edge-1".into(),
            },
            is_this: false,
            version: "1.0.0".into(),
            started: UNIX_EPOCH + Duration::from_secs(1),
            incarnation: "a".into(),
            applied,
            hash: "ff".into(),
            applied_at: UNIX_EPOCH + Duration::from_millis(1234),
            stale_since: None,
            problems: 2,
        }
    }

    fn word(id: u128, about: Bytes) -> Announced {
        Announced {
            node: uuid::Uuid::from_u128(id).to_string().into(),
            about,
        }
    }

    #[test]
    fn what_is_said_is_heard() {
        let stale = ClusterNode {
            stale_since: Some(UNIX_EPOCH + Duration::from_secs(9)),
            ..node(2, 8)
        };
        let words = [
            word(1, encode(&node(1, 7), false)),
            word(2, encode(&stale, false)),
            word(3, encode(&node(3, 7), true)),
            word(4, Bytes::from_static(b"from the future")),
            Announced {
                node: "no id".into(),
                about: Bytes::new(),
            },
        ];
        let heard: Vec<_> = others(&words, &node(1, 0).node).collect();
        let ids: Vec<u128> = heard.iter().map(|node| node.node.id.as_u128()).collect();
        assert_eq!(
            ids,
            [2, 4],
            "not this one, nor one that leaves, nor what is no node"
        );
        assert_eq!(heard.first(), Some(&stale));
        assert_eq!(heard.last().map(|node| node.applied), Some(0));
    }
}
