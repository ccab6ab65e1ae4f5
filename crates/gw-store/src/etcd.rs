//! `EtcdLog`: a log in etcd v3 that any number of gateways share.

mod address;
mod append;
mod blob;
mod channel;
mod client;
mod connection;
mod follow;
mod keys;
mod nodes;
mod parts;
mod prune;
mod standing;
mod tls;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use self::address::Address;
use self::blob::Blob;
use self::client::Client;
use self::keys::{HeadText, Keys, ValueError};
use self::nodes::Nodes;
use self::standing::{Known, Place, Standing};
use self::wire::{
    RangeRequest, RangeResponse, TxnRequest, TxnResponse, absent, get, none_between, one, put, range, ranges,
};
use crate::commit::{CommitId, Revision};
use crate::error::OpenError;
use crate::log::{Announced, AppendError, BoxFuture, CommitLog, Freshness, Head, LogError, Record};

/// Bound: the largest commit, in bytes. Its parts are sent one by one.
const LIMIT: usize = 64 * 1024 * 1024;

/// Bound: records handed out by one `read`; each has at most [`blob::INLINE`] bytes in the answer itself.
const PAGE: i64 = 128;

/// A log in etcd, under a prefix of its own.
///
/// One key, `head`, says which history this is and where it stands; each append is one transaction that compares and
/// replaces it. Commits are ordinary keys, so compacting etcd loses nothing. One task watches `head` and tells when
/// it moves; it says by itself when it would no longer hear of that.
pub struct EtcdLog {
    shared: Arc<Shared>,
    following: AbortHandle,
}

struct Shared {
    client: Client,
    keys: Keys,
    standing: watch::Sender<Standing>,
    nodes: Nodes,
}

impl EtcdLog {
    /// Makes a log of an address, `etcd://[user[:password]@]host[:port],…[/prefix][?option=value&…]`, or `etcds://` for
    /// TLS. It connects by itself, and again whenever the connection is lost: a cluster that does not answer is no error
    /// here. The options are `ca`, `cert`, `key` and `server_name` for TLS, `password_file` and `password_env`.
    ///
    /// # Errors
    /// When the address is not understood, or the files it names cannot be used.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        let address = Address::parse(url)?;
        let keys = Keys::new(&address.prefix);
        let shared = Arc::new(Shared {
            client: Client::new(address, keys.head())?,
            keys,
            standing: watch::Sender::new(Standing::new()),
            nodes: Nodes::default(),
        });
        let following = Handle::current().spawn(follow::follow(Arc::clone(&shared)));
        Ok(Self {
            following: following.abort_handle(),
            shared,
        })
    }
}

impl CommitLog for EtcdLog {
    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>> {
        Box::pin(async { Ok(self.shared.survey(Vec::new()).await?.known.text.head()) })
    }

    fn append(
        &self,
        expect: Head,
        record: Bytes,
        id: CommitId,
    ) -> BoxFuture<'_, Result<Revision, AppendError>> {
        Box::pin(self.shared.append(expect, record, id))
    }

    fn find(&self, id: CommitId) -> BoxFuture<'_, Result<Option<Revision>, LogError>> {
        Box::pin(self.shared.find(id))
    }

    fn read(&self, after: Head) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(self.shared.read(after))
    }

    fn wait_past(&self, after: Head) -> BoxFuture<'_, Result<Revision, LogError>> {
        Box::pin(self.shared.wait_past(after))
    }

    fn checkpoint(&self, at: Revision, state: Bytes) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(self.shared.checkpoint(at, state))
    }

    fn checkpoint_until(&self, until: Revision) -> BoxFuture<'_, Result<Option<Record>, LogError>> {
        Box::pin(self.shared.checkpoint_until(until))
    }

    fn prune(&self, upto: Revision, keep: Vec<Revision>) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(self.shared.prune(upto, keep))
    }

    fn pruned(&self) -> BoxFuture<'_, Result<Revision, LogError>> {
        Box::pin(self.shared.pruned())
    }

    fn freshness(&self) -> Freshness {
        self.shared.standing.borrow().freshness()
    }

    fn announce(&self, node: &str, about: Bytes, lasting: Duration) -> BoxFuture<'_, Result<(), LogError>> {
        let node = node.to_owned();
        Box::pin(async move { self.shared.announce(&node, about, lasting).await })
    }

    fn announced(&self) -> BoxFuture<'_, Result<Vec<Announced>, LogError>> {
        Box::pin(self.shared.announced())
    }

    fn place(&self) -> Box<str> {
        self.shared.client.place()
    }

    fn limit(&self) -> usize {
        LIMIT
    }

    fn close(&self) {
        self.shared.client.close();
        self.following.abort();
        self.shared
            .standing
            .send_modify(|standing| standing.closed = true);
    }
}

impl Drop for EtcdLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for EtcdLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdLog")
            .field("place", &self.place())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Runs a transaction and tells its failure as a log does.
    async fn run(&self, txn: TxnRequest) -> Result<TxnResponse, LogError> {
        if self.standing.borrow().closed {
            return Err(LogError::Closed);
        }
        self.client
            .txn(txn)
            .await
            .map_err(|error| error.at(self.client.place()))
    }

    /// Asks the quorum for the head and for more, all at one of etcd's revisions; begins a history if there is none.
    async fn survey(&self, more: Vec<RangeRequest>) -> Result<Survey, LogError> {
        loop {
            let before = self.standing.borrow().before();
            let own = [one(self.keys.head()), one(self.keys.pruned())];
            let answer = self
                .run(TxnRequest {
                    success: own.into_iter().chain(more.clone()).map(get).collect(),
                    ..TxnRequest::default()
                })
                .await?;
            let header = answer.header.unwrap_or_default();
            let mut given = ranges(answer).collect::<Vec<_>>().into_iter();
            let (head, pruned) = (given.next().unwrap_or_default(), given.next().unwrap_or_default());
            let Some(kv) = head.kvs.first() else {
                self.begin().await?;
                continue;
            };
            let known = Known {
                text: HeadText::parse(&self.keys.head(), &kv.value).map_err(|error| self.damaged(error))?,
                cluster: header.cluster_id,
                written: kv.mod_revision,
            };
            self.standing
                .send_if_modified(|standing| standing.observe(before, known, header.revision));
            return Ok(Survey {
                known,
                at: header.revision,
                pruned: self.number(&pruned)?.unwrap_or_default(),
                given,
            });
        }
    }

    /// Begins a history, unless another gateway just did. What is left of an earlier one is not touched.
    async fn begin(&self) -> Result<(), LogError> {
        let head = self.keys.head();
        let folders = ["log", "ids", "checkpoint"].map(|name| self.keys.folder(name));
        let mut compare = vec![absent(head.clone())];
        compare.extend(folders.map(|(from, end)| none_between(from, end)));
        let answer = self
            .run(TxnRequest {
                compare,
                success: vec![put(head.clone(), HeadText::first().to_string())],
                failure: vec![get(one(head.clone()))],
            })
            .await?;
        let is_there = answer.succeeded || ranges(answer).any(|range| !range.kvs.is_empty());
        if is_there {
            Ok(())
        } else {
            Err(self.damaged(ValueError::HeadMissing { key: head }))
        }
    }

    async fn find(&self, id: CommitId) -> Result<Option<Revision>, LogError> {
        let mut survey = self.survey(vec![one(self.keys.id(id))]).await?;
        self.number(&survey.next())
    }

    async fn pruned(&self) -> Result<Revision, LogError> {
        Ok(self.survey(Vec::new()).await?.pruned)
    }

    /// The revision that a key has as its value.
    fn number(&self, found: &RangeResponse) -> Result<Option<Revision>, LogError> {
        let Some(kv) = found.kvs.first() else {
            return Ok(None);
        };
        let number = std::str::from_utf8(&kv.value)
            .ok()
            .and_then(|text| text.parse().ok());
        match number {
            Some(number) => Ok(Some(Revision(number))),
            None => Err(self.damaged(ValueError::Unreadable {
                key: kv.key.escape_ascii().to_string(),
                text: kv.value.escape_ascii().to_string(),
            })),
        }
    }

    async fn read(&self, after: Head) -> Result<Vec<Record>, LogError> {
        // From the commit the reader stands at, to see that it is that one.
        let (from, end) = (self.keys.log(after.revision), self.keys.folder("log").1);
        let mut survey = self.survey(vec![range(from, end, PAGE + 1)]).await?;
        let mut commits = Vec::new();
        for kv in survey.next().kvs {
            let value = Keys::revision(&kv.key).zip(blob::decode(&kv.value));
            let (revision, (id, blob)) = value.ok_or_else(|| self.unreadable(&kv))?;
            commits.push((revision, id, blob));
        }
        let first = commits
            .first()
            .filter(|(revision, ..)| *revision == after.revision);
        self.check(after, &survey, first.map(|(_, id, _)| *id))?;
        if after.revision < survey.pruned {
            return Err(LogError::Compacted { upto: survey.pruned });
        }
        let head = survey.known.text.revision;
        let mut records = Vec::with_capacity(commits.len());
        let mut next = after.revision.next();
        for (revision, _, blob) in commits {
            if revision < next || revision > head {
                continue;
            }
            if revision > next {
                break;
            }
            let bytes = match blob {
                Blob::Here(bytes) => bytes,
                Blob::Parts(parts) if records.is_empty() => {
                    self.fetch(&self.keys.log(revision), revision, parts).await?
                }
                // It is the first of the next page.
                Blob::Parts(_) => break,
            };
            records.push(Record { revision, bytes });
            next = next.next();
        }
        if records.is_empty() && head > after.revision {
            return Err(self.damaged(ValueError::Gap { revision: next }));
        }
        Ok(records)
    }

    /// Refuses a position that is not in the history surveyed. `here` is the commit at its revision, if that is there;
    /// of what was dropped it is taken on trust.
    fn check(&self, position: Head, survey: &Survey, here: Option<CommitId>) -> Result<(), LogError> {
        let head = survey.known.text.head();
        let is_here = match position.last {
            _ if position.incarnation != head.incarnation || position.revision > head.revision => false,
            None => true,
            Some(last) if position.revision == head.revision => Some(last) == head.last,
            Some(last) if position.revision == Revision::ZERO => last == CommitId::NONE,
            Some(last) => here.map_or(position.revision <= survey.pruned, |id| id == last),
        };
        if is_here {
            Ok(())
        } else {
            Err(LogError::Reset { head })
        }
    }

    async fn wait_past(&self, after: Head) -> Result<Revision, LogError> {
        let mut standing = self.standing.subscribe();
        // What was the matter before this call was told to the one before.
        let mut told = standing
            .borrow()
            .trouble
            .as_ref()
            .map_or(0, |(failure, _)| *failure);
        loop {
            {
                let now = standing.borrow_and_update();
                if now.closed {
                    return Err(LogError::Closed);
                }
                if let Some(known) = &now.head {
                    match now.place(known, after) {
                        Place::AtHead => {}
                        Place::Past => return Ok(known.text.revision),
                        Place::PastMaybe => break,
                        Place::Elsewhere => {
                            return Err(LogError::Reset {
                                head: known.text.head(),
                            });
                        }
                    }
                }
                match &now.trouble {
                    Some((failure, trouble)) if *failure > told => {
                        return Err(trouble.at(self.client.place()));
                    }
                    trouble => told = trouble.as_ref().map_or(0, |(failure, _)| *failure),
                }
            }
            if standing.changed().await.is_err() {
                return Err(LogError::Closed);
            }
        }
        let mut survey = self.survey(vec![one(self.keys.log(after.revision))]).await?;
        let here = survey.next().kvs.first().and_then(|kv| blob::decode(&kv.value));
        self.check(after, &survey, here.map(|(id, _)| id))?;
        Ok(survey.known.text.revision)
    }

    fn damaged(&self, source: ValueError) -> LogError {
        LogError::Damaged {
            place: self.client.place(),
            source: source.into(),
        }
    }

    fn unreadable(&self, kv: &wire::KeyValue) -> LogError {
        self.damaged(ValueError::Unreadable {
            key: kv.key.escape_ascii().to_string(),
            text: "bytes of another format".to_owned(),
        })
    }
}

/// What the quorum told at one of etcd's revisions.
#[derive(Debug)]
struct Survey {
    known: Known,
    /// etcd's revision.
    at: i64,
    pruned: Revision,
    given: std::vec::IntoIter<RangeResponse>,
}

impl Survey {
    /// The next of the ranges asked for.
    fn next(&mut self) -> RangeResponse {
        self.given.next().unwrap_or_default()
    }
}
