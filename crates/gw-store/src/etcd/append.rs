//! Appending: one transaction that compares the head and replaces it.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tracing::debug;

use super::blob::{self, Blob, INLINE, Parts};
use super::channel::Channel;
use super::client::CallError;
use super::keys::HeadText;
use super::standing::Known;
use super::wire::{TxnRequest, TxnResponse, absent, get, is, one, put, ranges};
use super::{Shared, Survey};
use crate::commit::{CommitId, Revision};
use crate::log::{AppendError, Head, LogError};

impl Shared {
    pub(super) async fn append(
        &self,
        expect: Head,
        record: Bytes,
        id: CommitId,
    ) -> Result<Revision, AppendError> {
        let made = expect.revision.next();
        let text = self.expected(expect, id).await?;
        let blob = if record.len() <= INLINE {
            Blob::Here(record)
        } else {
            // Under a name of this call's own: a first try under the same id may have been carried out, with parts.
            let parts = Parts::of(&record, CommitId::random().as_u128());
            self.store(made, parts, &record)
                .await
                .map_err(AppendError::Rejected)?;
            Blob::Parts(parts)
        };
        let outcome = self.append_value(text, id, blob::encode(id, &blob)).await;
        if let (Blob::Parts(parts), Err(error)) = (&blob, &outcome)
            && !matches!(error, AppendError::Unknown(_))
        {
            // Nothing leads to them.
            self.discard(made, *parts).await;
        }
        outcome
    }

    /// The head's text that the append replaces. What was heard last is good enough: the transaction compares it.
    async fn expected(&self, expect: Head, id: CommitId) -> Result<HeadText, AppendError> {
        let heard = self.standing.borrow().head;
        if let Some(known) = heard
            && is_at(&known, expect)
        {
            return Ok(known.text);
        }
        let wanted = vec![one(self.keys.id(id)), one(self.keys.log(expect.revision))];
        let mut survey = self.survey(wanted).await.map_err(AppendError::Rejected)?;
        let (found, here) = (survey.next(), survey.next());
        if let Some(revision) = self.number(&found).map_err(AppendError::Rejected)? {
            return Err(AppendError::Duplicate { revision });
        }
        let here = here.kvs.first().and_then(|kv| blob::decode(&kv.value));
        self.check(expect, &survey, here.map(|(id, _)| id))
            .map_err(AppendError::Rejected)?;
        self.at_head(&survey, expect)
    }

    fn at_head(&self, survey: &Survey, expect: Head) -> Result<HeadText, AppendError> {
        if is_at(&survey.known, expect) {
            Ok(survey.known.text)
        } else {
            Err(AppendError::Conflict {
                head: survey.known.text.revision,
            })
        }
    }

    async fn append_value(
        &self,
        from: HeadText,
        id: CommitId,
        value: Bytes,
    ) -> Result<Revision, AppendError> {
        let to = from.next(id);
        let (head, own) = (self.keys.head(), self.keys.id(id));
        let txn = TxnRequest {
            compare: vec![is(head.clone(), from.to_string()), absent(own.clone())],
            success: vec![
                put(head.clone(), to.to_string()),
                put(self.keys.log(to.revision), value.clone()),
                put(own.clone(), to.revision.to_string()),
            ],
            failure: vec![
                get(one(head)),
                get(one(own)),
                get(one(self.keys.log(to.revision))),
            ],
        };
        let epoch = self.standing.borrow().epoch;
        if self.standing.borrow().closed {
            return Err(AppendError::Rejected(LogError::Closed));
        }
        // Sent again when the answer is lost: by its id the commit is made once at most.
        let tries = AtomicUsize::new(0);
        let calling = |channel: Channel| {
            tries.fetch_add(1, Ordering::Relaxed);
            let request = channel.request(txn.clone());
            async move { channel.kv().txn(request).await }
        };
        let answer = match self.client.call(calling).await {
            Ok(answer) => answer,
            Err(error) => {
                let tries = tries.into_inner();
                // Only what the first member said of the first try tells that nothing was written.
                let is_known = tries == 0 || (tries == 1 && !matches!(error, CallError::Unanswered(_)));
                let error = error.at(self.client.place());
                return Err(match is_known {
                    true => AppendError::Rejected(error),
                    false => AppendError::Unknown(error),
                });
            }
        };
        let header = answer.header.unwrap_or_default();
        if answer.succeeded {
            let known = Known {
                text: to,
                cluster: header.cluster_id,
                written: header.revision,
            };
            self.standing
                .send_if_modified(|standing| standing.learn(epoch, known, header.revision));
            return Ok(to.revision);
        }
        self.overtaken(answer, from, value, tries.into_inner() > 1).await
    }

    /// Tells why the transaction found another head or the id. `again` if it had been sent before.
    async fn overtaken(
        &self,
        answer: TxnResponse,
        from: HeadText,
        value: Bytes,
        again: bool,
    ) -> Result<Revision, AppendError> {
        let mut given = ranges(answer);
        let _head = given.next();
        let (found, record) = (given.next().unwrap_or_default(), given.next().unwrap_or_default());
        if let Some(revision) = self.number(&found).map_err(AppendError::Rejected)? {
            let is_own = again
                && revision == from.revision.next()
                && record.kvs.first().is_some_and(|kv| kv.value == value);
            if !is_own {
                return Err(AppendError::Duplicate { revision });
            }
            debug!(%revision, "the first try of an append had been carried out");
        } else {
            // What the head is now decides, and everybody who waits shall know it.
            let wanted = vec![one(self.keys.log(from.revision))];
            let mut survey = self.survey(wanted).await.map_err(AppendError::Rejected)?;
            let here = survey.next().kvs.first().and_then(|kv| blob::decode(&kv.value));
            self.check(from.head(), &survey, here.map(|(id, _)| id))
                .map_err(AppendError::Rejected)?;
            return match self.at_head(&survey, from.head()) {
                // It was deleted and put back in between; the caller's next try will find it.
                Ok(text) => Err(AppendError::Conflict { head: text.revision }),
                Err(error) => Err(error),
            };
        }
        // So that whoever waits hears of it, and the caller sees what it did.
        self.survey(Vec::new()).await.map_err(AppendError::Unknown)?;
        Ok(from.revision.next())
    }
}

fn is_at(known: &Known, expect: Head) -> bool {
    let head = known.text.head();
    head.incarnation == expect.incarnation
        && head.revision == expect.revision
        && expect.last.is_none_or(|last| head.last == Some(last))
}
