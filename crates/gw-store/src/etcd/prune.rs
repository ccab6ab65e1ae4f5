//! Pruning: commits, their ids and parts, and checkpoints that nobody needs any more.

use super::Shared;
use super::blob;
use super::keys::Keys;
use super::wire::{Compare, TxnRequest, absent, delete, delete_range, is, put, range};
use crate::commit::Revision;
use crate::log::LogError;

/// Commits dropped in one transaction: each needs an operation, and etcd takes 128 of them if it is not told otherwise.
const AT_ONCE: i64 = 100;

impl Shared {
    pub(super) async fn prune(&self, upto: Revision, keep: Vec<Revision>) -> Result<(), LogError> {
        self.say_pruned(upto).await?;
        self.drop_commits(upto).await?;
        let mut from = Revision::ZERO;
        let mut kept: Vec<Revision> = keep.into_iter().filter(|revision| *revision < upto).collect();
        kept.sort_unstable();
        for end in kept.into_iter().chain([upto]) {
            self.run(TxnRequest {
                success: vec![
                    delete_range(self.keys.checkpoint(from), self.keys.checkpoint(end)),
                    delete_range(self.keys.parts_at(from), self.keys.parts_at(end)),
                ],
                ..TxnRequest::default()
            })
            .await?;
            from = end.next();
        }
        Ok(())
    }

    /// Says first what is about to be dropped, so that no reader takes the gap for damage.
    async fn say_pruned(&self, upto: Revision) -> Result<(), LogError> {
        let key = self.keys.pruned();
        loop {
            let pruned = self.pruned().await?;
            if pruned >= upto {
                return Ok(());
            }
            let answer = self
                .run(TxnRequest {
                    compare: vec![self.pruned_is(pruned)],
                    success: vec![put(key.clone(), upto.to_string())],
                    ..TxnRequest::default()
                })
                .await?;
            if answer.succeeded {
                return Ok(());
            }
        }
    }

    /// Holds if nothing after `revision` was dropped.
    pub(super) fn pruned_is(&self, revision: Revision) -> Compare {
        let key = self.keys.pruned();
        match revision {
            Revision::ZERO => absent(key),
            revision => is(key, revision.to_string()),
        }
    }

    /// The last one stays, so that its id is known and a reader at it is told from one in another history.
    async fn drop_commits(&self, upto: Revision) -> Result<(), LogError> {
        let (from, end) = (self.keys.folder("log").0, self.keys.log(upto));
        loop {
            let mut survey = self
                .survey(vec![range(from.clone(), end.clone(), AT_ONCE)])
                .await?;
            let page = survey.next();
            let Some(last) = page.kvs.last().and_then(|kv| Keys::revision(&kv.key)) else {
                return Ok(());
            };
            let ids = page.kvs.iter().filter_map(|kv| blob::decode(&kv.value));
            let mut success = vec![delete_range(from.clone(), self.keys.log(last.next()))];
            success.extend(ids.map(|(id, _)| delete(self.keys.id(id))));
            self.run(TxnRequest {
                success,
                ..TxnRequest::default()
            })
            .await?;
        }
    }
}
