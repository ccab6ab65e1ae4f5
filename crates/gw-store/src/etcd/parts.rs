//! What is too large for one request: it is kept in parts, and told whole or not at all. Checkpoints, which often are.

use bytes::{Bytes, BytesMut};
use tracing::debug;

use super::Shared;
use super::blob::{self, Blob, INLINE, PART, Parts};
use super::keys::{Keys, ValueError};
use super::wire::{RangeRequest, SortOrder, TxnRequest, delete_range, get, one, put, range, ranges};
use crate::commit::{CommitId, Revision};
use crate::log::{LogError, Record};

/// Parts asked for at once.
const AT_ONCE: i64 = 8;

impl Shared {
    /// Writes parts, one request each. Nothing leads to them yet.
    pub(super) async fn store(&self, at: Revision, parts: Parts, bytes: &Bytes) -> Result<(), LogError> {
        for n in 0..parts.count {
            let from = n as usize * PART;
            let part = bytes.slice(from..bytes.len().min(from + PART));
            let key = self.keys.part(at, parts.owner, n);
            self.run(TxnRequest {
                success: vec![put(key, part)],
                ..TxnRequest::default()
            })
            .await?;
        }
        Ok(())
    }

    /// Deletes parts that nothing leads to. If that fails they go with their revision, when it is pruned.
    pub(super) async fn discard(&self, at: Revision, parts: Parts) {
        let discarded = self
            .run(TxnRequest {
                success: vec![self.discarding(at, parts)],
                ..TxnRequest::default()
            })
            .await;
        if let Err(error) = discarded {
            debug!(%error, "parts of what was not written stay until they are pruned");
        }
    }

    fn discarding(&self, at: Revision, parts: Parts) -> super::wire::RequestOp {
        let from = self.keys.parts_of(at, parts.owner);
        delete_range(from.clone(), after(from))
    }

    /// Reads what `key` says is in parts.
    pub(super) async fn fetch(&self, key: &str, at: Revision, parts: Parts) -> Result<Bytes, LogError> {
        let end = after(self.keys.parts_of(at, parts.owner));
        let mut bytes = BytesMut::with_capacity(usize::try_from(parts.length).unwrap_or(0).min(1 << 30));
        let mut n = 0;
        while n < parts.count {
            let from = self.keys.part(at, parts.owner, n);
            let answer = self
                .run(TxnRequest {
                    success: vec![get(range(from, end.clone(), AT_ONCE))],
                    ..TxnRequest::default()
                })
                .await?;
            let page = ranges(answer).next().unwrap_or_default();
            if page.kvs.is_empty() {
                break;
            }
            for kv in page.kvs {
                bytes.extend_from_slice(&kv.value);
                n += 1;
            }
        }
        let bytes = bytes.freeze();
        if parts.fit(&bytes) {
            return Ok(bytes);
        }
        // They may have been pruned meanwhile, and then there is no need for them.
        let pruned = self.pruned().await?;
        if at <= pruned {
            return Err(LogError::Compacted { upto: pruned });
        }
        Err(self.damaged(ValueError::Parts { key: key.to_owned() }))
    }

    pub(super) async fn checkpoint(&self, at: Revision, state: Bytes) -> Result<(), LogError> {
        let key = self.keys.checkpoint(at);
        loop {
            let mut survey = self.survey(vec![one(key.clone())]).await?;
            let old = survey.next().kvs.first().and_then(|kv| blob::decode(&kv.value));
            let old = old.and_then(|(_, blob)| match blob {
                Blob::Parts(parts) => Some(parts),
                Blob::Here(_) => None,
            });
            let parts = (state.len() > INLINE).then(|| Parts::of(&state, CommitId::random().as_u128()));
            let blob = match parts {
                None => Blob::Here(state.clone()),
                // Another gateway wrote the same.
                Some(parts)
                    if old.is_some_and(|old| {
                        (Parts {
                            owner: parts.owner,
                            ..old
                        }) == parts
                    }) =>
                {
                    return Ok(());
                }
                Some(parts) => {
                    if let Err(error) = self.store(at, parts, &state).await {
                        self.discard(at, parts).await;
                        return Err(error);
                    }
                    Blob::Parts(parts)
                }
            };
            let mut success = vec![put(key.clone(), blob::encode(CommitId::NONE, &blob))];
            success.extend(old.map(|old| self.discarding(at, old)));
            // What was pruned while it was written may have been parts of it.
            let answer = self
                .run(TxnRequest {
                    compare: vec![self.pruned_is(survey.pruned)],
                    success,
                    ..TxnRequest::default()
                })
                .await?;
            if answer.succeeded {
                return Ok(());
            }
            if let Some(parts) = parts {
                self.discard(at, parts).await;
            }
        }
    }

    pub(super) async fn checkpoint_until(&self, until: Revision) -> Result<Option<Record>, LogError> {
        loop {
            let newest = RangeRequest {
                sort_order: SortOrder::Descend.into(),
                ..range(
                    self.keys.folder("checkpoint").0,
                    after(self.keys.checkpoint(until)),
                    1,
                )
            };
            let mut survey = self.survey(vec![newest]).await?;
            let Some(kv) = survey.next().kvs.pop() else {
                return Ok(None);
            };
            let read = Keys::revision(&kv.key).zip(blob::decode(&kv.value));
            let (revision, (_, blob)) = read.ok_or_else(|| self.unreadable(&kv))?;
            let bytes = match blob {
                Blob::Here(bytes) => Ok(bytes),
                Blob::Parts(parts) => self.fetch(&self.keys.checkpoint(revision), revision, parts).await,
            };
            match bytes {
                Ok(bytes) => return Ok(Some(Record { revision, bytes })),
                // Replaced or pruned while it was read.
                Err(LogError::Compacted { .. } | LogError::Damaged { .. })
                    if self.has_changed(&kv).await? => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn has_changed(&self, kv: &super::wire::KeyValue) -> Result<bool, LogError> {
        let mut survey = self.survey(vec![one(kv.key.clone())]).await?;
        let now = survey.next().kvs.pop();
        Ok(now.is_none_or(|now| now.mod_revision != kv.mod_revision))
    }
}

/// The first key after those that begin with `key`.
fn after(mut key: String) -> String {
    match key.pop() {
        // Keys here end in `/` or in a digit.
        Some('/') => key.push('0'),
        Some(last) => {
            key.push(last);
            key.push('\0');
        }
        None => {}
    }
    key
}
