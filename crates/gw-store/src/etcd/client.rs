//! Calls to a cluster as one counterpart: the member that answers is kept, the others stand by.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tonic::{Response, Status};
use tracing::{debug, info, warn};

use super::address::{Address, Member};
use super::channel::{Channel, DialError, Meaning};
use super::tls::Tls;
use super::wire::{TxnRequest, TxnResponse};
use crate::commit::CommitId;
use crate::error::OpenError;
use crate::log::{BoxError, LogError};

/// Bound: how long one operation may take, with all its tries.
const OPERATION: Duration = Duration::from_secs(10);

/// Bound: how long one member may take for one try.
const TRY: Duration = Duration::from_secs(4);

/// How long to wait for one member before the next one is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// How long not to ask again when members are there and cannot answer yet.
const PAUSE: Duration = Duration::from_millis(100);

/// Bound: tokens that one operation asks for.
const TOKENS: usize = 3;

pub(super) struct Client {
    address: Address,
    tls: Option<Arc<Tls>>,
    /// A key that whoever uses this reads anyway.
    probe: String,
    current: tokio::sync::Mutex<Option<Channel>>,
    /// Members, the one to try first in front.
    order: Mutex<VecDeque<usize>>,
    opened: AtomicU64,
    closed: AtomicBool,
}

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum CallError {
    /// The user may not do this, or is not who it says.
    Denied(Status),
    /// The cluster will not do it.
    Refused(Status),
    /// Nobody answered in time.
    Unanswered(BoxError),
    Closed,
}

impl Client {
    pub(super) fn new(address: Address, probe: String) -> Result<Self, OpenError> {
        let tls = address.tls.clone().map(Tls::load).transpose()?.map(Arc::new);
        let mut order: VecDeque<usize> = (0..address.members.len()).collect();
        // Not all gateways begin with the same member.
        let drawn = CommitId::random().as_u128() % order.len().max(1) as u128;
        order.rotate_left(usize::try_from(drawn).unwrap_or_default());
        Ok(Self {
            address,
            tls,
            probe,
            current: tokio::sync::Mutex::default(),
            order: Mutex::new(order),
            opened: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        })
    }

    pub(super) fn place(&self) -> Box<str> {
        self.address.to_string().into()
    }

    /// From now on every call is `Closed`; the connection ends with the calls under way.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // If it is held, somebody is about to look at `closed`.
        if let Ok(mut current) = self.current.try_lock() {
            *current = None;
        }
    }

    /// Runs a transaction. It must come to the same if it is run twice: it is sent again when its answer is lost.
    pub(super) async fn txn(&self, txn: TxnRequest) -> Result<TxnResponse, CallError> {
        let calling = |channel: Channel| {
            let request = channel.request(txn.clone());
            async move { channel.kv().txn(request).await }
        };
        self.call(calling).await
    }

    /// Makes a call, at one member after the other until one answers or the time is over.
    pub(super) async fn call<T, F>(&self, calling: impl Fn(Channel) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + OPERATION;
        let (mut tokens, mut failures) = (0, 0);
        loop {
            let channel = self.channel_by(deadline).await?;
            let limit = deadline.min(Instant::now() + TRY);
            let status = match timeout_at(limit, calling(channel.clone())).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("it did not answer in time"),
            };
            match self.meaning(&status) {
                Meaning::Token if tokens < TOKENS => {
                    tokens += 1;
                    self.renew(&channel).await?;
                }
                Meaning::Token | Meaning::Denied => return Err(CallError::Denied(status)),
                Meaning::Refused => return Err(CallError::Refused(status)),
                Meaning::Elsewhere => {
                    debug!(member = %self.member(channel.member), error = %status, "etcd member did not answer");
                    self.leave(&channel).await;
                    failures += 1;
                    // The first time another member is asked at once; later the cluster is busy with itself.
                    let again = Instant::now() + if failures > 1 { PAUSE } else { Duration::ZERO };
                    if again >= deadline {
                        return Err(CallError::Unanswered(status.into()));
                    }
                    sleep_until(again).await;
                }
            }
        }
    }

    /// The way to the member that answered last, or to the first that answers now.
    pub(super) async fn channel(&self) -> Result<Channel, CallError> {
        self.try_channel().await.map_err(|error| match error {
            TryError::Final(error) => error,
            TryError::Unreachable { source, .. } => CallError::Unanswered(source),
        })
    }

    /// As [`Self::channel`], and until `deadline` if there are members that answer and cannot serve yet. Members that
    /// are away stay so for longer than anybody waits.
    async fn channel_by(&self, deadline: Instant) -> Result<Channel, CallError> {
        loop {
            let source = match timeout_at(deadline, self.try_channel()).await {
                Ok(Ok(channel)) => return Ok(channel),
                Ok(Err(TryError::Final(error))) => return Err(error),
                Ok(Err(TryError::Unreachable { alive, source })) if !alive => {
                    return Err(CallError::Unanswered(source));
                }
                Ok(Err(TryError::Unreachable { source, .. })) => source,
                Err(late) => return Err(CallError::Unanswered(late.into())),
            };
            let again = Instant::now() + PAUSE;
            if again >= deadline {
                return Err(CallError::Unanswered(source));
            }
            sleep_until(again).await;
        }
    }

    async fn try_channel(&self) -> Result<Channel, TryError> {
        let mut current = self.current.lock().await;
        if self.closed.load(Ordering::Acquire) {
            return Err(TryError::Final(CallError::Closed));
        }
        if let Some(channel) = current.as_ref().filter(|channel| !channel.is_closed()) {
            return Ok(channel.clone());
        }
        *current = None;
        let channel = self.dial_all().await?;
        info!(member = %self.member(channel.member), "connected to etcd");
        let mut order = self.order();
        order.retain(|member| *member != channel.member);
        order.push_front(channel.member);
        drop(order);
        *current = Some(channel.clone());
        Ok(channel)
    }

    /// Gives a way up, and tries its member last from now on.
    pub(super) async fn leave(&self, channel: &Channel) {
        let mut current = self.current.lock().await;
        if current
            .as_ref()
            .is_some_and(|current| current.number == channel.number)
        {
            *current = None;
            let mut order = self.order();
            order.retain(|member| *member != channel.member);
            order.push_back(channel.member);
        }
    }

    /// Gets a new token: the old one has expired, or its member was started anew and forgot it.
    pub(super) async fn renew(&self, channel: &Channel) -> Result<(), CallError> {
        let Some(user) = &self.address.user else {
            return Ok(());
        };
        debug!(member = %self.member(channel.member), "etcd's token is renewed");
        match timeout(TRY, channel.log_in(user)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) if self.meaning(&status) != Meaning::Elsewhere => Err(CallError::Denied(status)),
            Ok(Err(_)) | Err(_) => {
                self.leave(channel).await;
                Ok(())
            }
        }
    }

    pub(super) fn meaning(&self, status: &Status) -> Meaning {
        Meaning::of(status, self.address.user.is_some())
    }

    /// Tries members in order, each a little after the one before; the first that answers has it.
    async fn dial_all(&self) -> Result<Channel, TryError> {
        let mut waiting = self.order().clone();
        let mut dialing = JoinSet::new();
        let (mut alive, mut last) = (false, BoxError::from("no member is named"));
        loop {
            if let Some(member) = waiting.pop_front() {
                dialing.spawn(self.dial(member));
            }
            let next = if waiting.is_empty() {
                dialing.join_next().await
            } else {
                match timeout(STAGGER, dialing.join_next()).await {
                    Ok(next) => next,
                    Err(_) => continue,
                }
            };
            match next {
                Some(Ok((_, Ok(channel)))) => return Ok(channel),
                Some(Ok((member, Err(DialError::Denied(status))))) => {
                    warn!(member = %self.member(member), error = %status, "etcd does not let this user in");
                    return Err(TryError::Final(CallError::Denied(status)));
                }
                Some(Ok((
                    member,
                    Err(DialError::Unusable {
                        alive: answered,
                        source,
                    }),
                ))) => {
                    debug!(member = %self.member(member), error = %source, "etcd member cannot be used");
                    alive |= answered;
                    last = format!("{}: {}", self.member(member), chain(&*source)).into();
                }
                Some(Err(error)) => last = error.into(),
                None if waiting.is_empty() => return Err(TryError::Unreachable { alive, source: last }),
                None => {}
            }
        }
    }

    fn dial(
        &self,
        member: usize,
    ) -> impl Future<Output = (usize, Result<Channel, DialError>)> + Send + 'static {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let opening = Channel::open(
            (member, number),
            self.member(member).clone(),
            self.tls.clone(),
            self.address.user.clone(),
            self.probe.clone(),
        );
        async move { (member, opening.await) }
    }

    /// Invariant: members are named by their place in the address.
    fn member(&self, at: usize) -> &Member {
        &self.address.members[at]
    }

    fn order(&self) -> MutexGuard<'_, VecDeque<usize>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallError {
    /// As a log tells it.
    pub(super) fn at(self, place: Box<str>) -> LogError {
        match self {
            Self::Closed => LogError::Closed,
            Self::Denied(status) => LogError::Denied {
                place,
                source: status.into(),
            },
            Self::Refused(status) => LogError::Unavailable {
                place,
                source: status.into(),
            },
            Self::Unanswered(source) => LogError::Unavailable { place, source },
        }
    }
}

/// Why there is no way now.
enum TryError {
    Final(CallError),
    /// `alive` if some member answered.
    Unreachable {
        alive: bool,
        source: BoxError,
    },
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
