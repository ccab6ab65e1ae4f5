//! The one watch: it tells when the head moves, and whether this node would hear of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout, timeout_at};
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use super::Shared;
use super::channel::{Channel, Meaning};
use super::client::{CallError, chain};
use super::keys::HeadText;
use super::standing::{Known, SILENCE, Trouble};
use super::wire::{
    EventType, RequestUnion, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use crate::log::{BoxError, Freshness, LogError};

/// How often a watch is asked for a sign of life.
const ASK: Duration = Duration::from_secs(1);

/// Bounds: the pause before the log is followed anew.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Follows the head until the log is closed.
///
/// Invariant: nothing is concluded from time that passes. Each watch begins with the value of the head, asked of the
/// quorum, and goes on after the revision of that very answer; whatever was missed before shows in the value.
pub(super) async fn follow(shared: Arc<Shared>) {
    let mut failures: u64 = 0;
    loop {
        let heard = SystemTime::now();
        let mut session = Session {
            shared: &shared,
            heard,
            established: false,
        };
        let end = session.run().await;
        let (established, heard) = (session.established, session.heard);
        if established {
            failures = 0;
        }
        match end {
            End::Closed => return,
            // Nothing is missed: the next watch begins at the head.
            End::Again(why) => {
                debug!(why, "the watch on etcd begins anew");
                shared.standing.send_modify(|standing| {
                    standing.turn_stale(heard, why);
                    // It was heard of until now: only if that takes long there is something to tell.
                    standing.confirmed = Some(Instant::now());
                });
                sleep_until(Instant::now() + PAUSE.0).await;
            }
            End::Failed(error) => {
                failures += 1;
                if failures == 1 {
                    warn!(error = %chain(&error), "etcd cannot be followed, trying again");
                }
                tell(&shared, failures, &error, heard);
                let doubled = PAUSE.0 * 2u32.saturating_pow(u32::try_from(failures.min(16)).unwrap_or(16));
                sleep_until(Instant::now() + doubled.min(PAUSE.1)).await;
            }
        }
    }
}

fn tell(shared: &Shared, failures: u64, error: &LogError, heard: SystemTime) {
    shared.standing.send_modify(|standing| {
        let trouble = Trouble::of(error);
        standing.turn_stale(heard, &trouble.why);
        standing.trouble = Some((failures, trouble));
    });
}

/// Why a watch ended.
enum End {
    Closed,
    Again(&'static str),
    Failed(LogError),
}

impl From<LogError> for End {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Closed => Self::Closed,
            error => Self::Failed(error),
        }
    }
}

/// One watch, from its start to its end.
struct Session<'a> {
    shared: &'a Shared,
    /// When the member last gave a sign of life.
    heard: SystemTime,
    established: bool,
}

impl Session<'_> {
    async fn run(&mut self) -> End {
        match self.watch().await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn watch(&mut self) -> Result<End, End> {
        let survey = self.shared.survey(Vec::new()).await?;
        let channel = self.channel().await?;
        let (asking, mut answers) = self.start(&channel, survey.at + 1).await?;
        debug!(head = %survey.known.text.revision, "the watch on etcd has begun");
        let mut ticks = interval(ASK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent_at = Instant::now() + SILENCE;
        loop {
            tokio::select! {
                answer = timeout_at(silent_at, answers.message()) => match answer {
                    Ok(Ok(Some(answer))) => {
                        silent_at = Instant::now() + SILENCE;
                        self.heard = SystemTime::now();
                        if let Some(end) = self.take(&channel, &answer).await? {
                            return Ok(end);
                        }
                    }
                    Ok(Ok(None)) => return Ok(self.lost(&channel, "etcd ended the watch".into()).await),
                    Ok(Err(status)) => return Ok(self.refused(&channel, status).await),
                    Err(_) => {
                        let why = format!("etcd has been silent for {} s", SILENCE.as_secs());
                        return Ok(self.lost(&channel, why.into()).await);
                    }
                },
                _ = ticks.tick() => {
                    let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
                    // Full when the member takes nothing: that shows as silence.
                    let _asked = asking.try_send(WatchRequest { request_union: Some(request) });
                }
            }
        }
    }

    async fn channel(&self) -> Result<Channel, End> {
        let channel = self.shared.client.channel().await;
        channel.map_err(|error| error.at(self.shared.client.place()).into())
    }

    async fn start(
        &self,
        channel: &Channel,
        from: i64,
    ) -> Result<(mpsc::Sender<WatchRequest>, Streaming<WatchResponse>), End> {
        let (asking, requests) = mpsc::channel(4);
        let create = WatchCreateRequest {
            key: self.shared.keys.head().into(),
            start_revision: from,
            progress_notify: true,
            fragment: true,
        };
        let request = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        // The channel is empty and its other end is here.
        let _sent = asking.try_send(request);
        let mut watch = channel.watch();
        let opening = watch.watch(channel.request(ReceiverStream::new(requests)));
        match timeout(SILENCE, opening).await {
            Ok(Ok(answers)) => Ok((asking, answers.into_inner())),
            Ok(Err(status)) => Err(self.refused(channel, status).await),
            Err(_) => Err(self.lost(channel, "etcd does not begin the watch".into()).await),
        }
    }

    /// Takes one answer; `canceled` first, since such an answer is no news of the head.
    async fn take(&mut self, channel: &Channel, answer: &WatchResponse) -> Result<Option<End>, End> {
        if answer.canceled {
            if answer.compact_revision > 0 {
                return Ok(Some(End::Again("etcd was compacted past where the watch stood")));
            }
            let reason = &answer.cancel_reason;
            let status = if reason.contains("permission denied") {
                Status::permission_denied(reason)
            } else if reason.contains("auth token") || reason.contains("auth store is old") {
                Status::unauthenticated(reason)
            } else {
                Status::unavailable(reason)
            };
            return Err(self.refused(channel, status).await);
        }
        if !self.established {
            self.established = true;
            info!("etcd is being followed");
        }
        let epoch = self.shared.standing.borrow().epoch;
        let header = answer.header.unwrap_or_default();
        for event in &answer.events {
            let Some(kv) = event
                .kv
                .as_ref()
                .filter(|_| event.r#type == i32::from(EventType::Put))
            else {
                return Ok(Some(End::Again("the head was deleted")));
            };
            let text = HeadText::parse(&self.shared.keys.head(), &kv.value)
                .map_err(|error| End::Failed(self.shared.damaged(error)))?;
            let known = Known {
                text,
                cluster: header.cluster_id,
                written: kv.mod_revision,
            };
            if self.goes_back(&known) {
                return Ok(Some(End::Again("the head went back")));
            }
            self.shared
                .standing
                .send_if_modified(|standing| standing.learn(epoch, known, kv.mod_revision));
        }
        self.shared.standing.send_if_modified(|standing| {
            standing.trouble = None;
            std::mem::replace(&mut standing.freshness, Freshness::Current) != Freshness::Current
        });
        Ok(None)
    }

    /// Tells whether a head just written is no successor of the one known: only the quorum can say what became of it.
    fn goes_back(&self, known: &Known) -> bool {
        let standing = self.shared.standing.borrow();
        standing.head.is_some_and(|head| {
            known.written > head.written
                && (known.text.incarnation != head.text.incarnation
                    || known.text.revision <= head.text.revision)
        })
    }

    async fn refused(&self, channel: &Channel, status: Status) -> End {
        match self.shared.client.meaning(&status) {
            Meaning::Token => match self.shared.client.renew(channel).await {
                Ok(()) => End::Again("the token had expired"),
                Err(error) => error.at(self.shared.client.place()).into(),
            },
            Meaning::Denied => CallError::Denied(status).at(self.shared.client.place()).into(),
            Meaning::Refused => CallError::Refused(status).at(self.shared.client.place()).into(),
            Meaning::Elsewhere => self.lost(channel, status.into()).await,
        }
    }

    /// The member is given up; others are asked next.
    async fn lost(&self, channel: &Channel, source: BoxError) -> End {
        // At once: giving the member up may have to wait for somebody who is just trying others.
        self.shared
            .standing
            .send_modify(|standing| standing.turn_stale(self.heard, &source.to_string()));
        self.shared.client.leave(channel).await;
        CallError::Unanswered(source)
            .at(self.shared.client.place())
            .into()
    }
}
