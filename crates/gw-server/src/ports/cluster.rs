//! What this node knows of the nodes that serve the same store, and of what it does not serve itself.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use gw_admin::ports::{
    Accepting, Alarm, Cluster, ClusterError, ClusterNode, ObjectProblem, Problems, Word, mark,
};
use gw_store::{LogError, Meta, Op, View};
use tracing::{info, warn};

use super::ThisNode;
use crate::sync::guard::Told;
use crate::sync::standing::Standing;

type Nodes<'a> = Pin<Box<dyn Future<Output = Result<Vec<ClusterNode>, ClusterError>> + Send + 'a>>;

/// How long an operator is told that the store has another history than before.
const RESET_IS_NEWS: Duration = Duration::from_secs(60 * 60);

/// How long what is accepted is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

impl Cluster for ThisNode {
    fn nodes(&self) -> Nodes<'_> {
        Box::pin(async {
            let announced = self.heartbeat.store.nodes().await.map_err(unknown)?;
            Ok(self.heartbeat.all(&announced))
        })
    }

    fn served_by_all(&self, revision: u64, within: Duration) -> Nodes<'_> {
        Box::pin(async move { self.heartbeat.behind(revision, within).await.map_err(unknown) })
    }
}

fn unknown(error: LogError) -> ClusterError {
    let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
    ClusterError {
        why: format!("{error}{cause}").into(),
    }
}

impl Problems for ThisNode {
    fn problems(&self) -> Vec<ObjectProblem> {
        self.heartbeat.lookout.standing().problems.to_vec()
    }

    fn alarms(&self) -> Vec<Alarm> {
        let mut alarms = self.heartbeat.alarms.list();
        let Standing {
            served, held, reset, ..
        } = self.heartbeat.lookout.standing();
        let serving = served.as_ref().map_or(0, |served| served.view.revision().0);
        if let Some(held) = held {
            let whose = match held.of_reset {
                true => "another history than the one that is served, which may have been wiped or restored",
                false => "a change that was not said to be meant",
            };
            let message = format!(
                "revision {} would remove {}, and is {whose}: revision {serving} goes on being served. If it is meant, POST \
                 /cluster/accept; if not, bring back what is missing",
                held.revision,
                Told(&held.losses)
            );
            alarms.push(alarm("held_back", message, held.since, Some(held.revision.0)));
        }
        if let Some((since, why)) = self.heartbeat.lookout.stale() {
            let (kind, message) = match served {
                Some(_) => (
                    "store_stale",
                    format!("revision {serving} is served, and there may be a later one: {why}"),
                ),
                None => (
                    "store_unreached",
                    format!("there is nothing to serve: {why}, and nothing was kept of an earlier start"),
                ),
            };
            alarms.push(alarm(kind, message, since, None));
        }
        if let Some((at, times)) = reset
            && at.elapsed().unwrap_or_default() < RESET_IS_NEWS
        {
            let message = format!(
                "the store was wiped or restored, {times} times since the start; what it has now is served"
            );
            alarms.push(alarm("store_reset", message, at, Some(serving)));
        }
        alarms.sort_by_key(|alarm| alarm.since);
        alarms
    }

    fn too_much(&self, view: &View, changes: &[Op]) -> Option<Box<str>> {
        self.bounds?.too_much_of(&self.kinds, view, changes)
    }

    fn holds_back(&self) -> bool {
        self.heartbeat.lookout.standing().held.is_some()
    }

    fn accept(&self, word: Word) -> Accepting<'_> {
        Box::pin(async move {
            let Some(held) = self.heartbeat.lookout.standing().held else {
                return Ok(None);
            };
            let about = || format!("meant: removes {}", Told(&held.losses));
            let mut meta = Meta::new(word.author, word.message.unwrap_or_else(about));
            meta.request = word.request;
            let marked = self
                .heartbeat
                .store
                .commit(meta.clone(), |_| {
                    Ok::<_, std::convert::Infallible>((vec![mark(&meta)], ()))
                })
                .await;
            match marked {
                Ok(done) => {
                    let served = self.heartbeat.lookout.serves(done.revision);
                    let in_time = tokio::time::timeout(PATIENCE, served).await.is_ok();
                    info!(revision = %done.revision, in_time, "what was held back was said to be meant");
                    Ok(Some(done.revision.0))
                }
                Err(error) => {
                    warn!(%error, "what was held back cannot be said to be meant");
                    Err(ClusterError {
                        why: error.to_string().into(),
                    })
                }
            }
        })
    }
}

fn alarm(kind: &str, message: String, since: SystemTime, revision: Option<u64>) -> Alarm {
    Alarm {
        kind: kind.into(),
        message: message.into(),
        since,
        revision,
    }
}
