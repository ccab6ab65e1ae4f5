//! Requests that are under way, and the permit that each of them holds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::env::Lender;
use crate::limits::remote::{Remote, RemoteError};
use crate::limits::scripts::{Argument, Script};
use crate::limits::table::{Kept, Key, Table};

/// How many requests of one key are under way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UnderWay(u64);

/// That a request is one of those under way, until this is dropped.
pub(crate) struct Permit(Place);

enum Place {
    Local(Arc<Table<UnderWay>>, Key),
    Remote(Box<RemotePlace>),
}

struct RemotePlace {
    remote: Remote,
    lender: Arc<dyn Lender>,
    worker: usize,
    key: String,
    member: String,
}

impl Kept for UnderWay {
    const AT_ONCE: bool = true;

    fn is_over(&self, _now: u64) -> bool {
        self.0 == 0
    }

    fn weight(&self) -> u64 {
        self.0
    }
}

impl UnderWay {
    /// Counts a request as under way, unless `most` are; gives how many that makes.
    pub(super) fn enter(table: &Arc<Table<Self>>, key: Key, most: u64) -> Option<(Permit, u64)> {
        let count = table.with(key, 0, |under_way| {
            let has_room = under_way.0 < most;
            under_way.0 += u64::from(has_room);
            has_room.then_some(under_way.0)
        })?;
        Some((Permit(Place::Local(Arc::clone(table), key)), count))
    }
}

/// The same in Redis, where a request that never leaves is forgotten after `key_ttl`.
pub(super) async fn enter_remote(
    remote: &Remote,
    lender: &Arc<dyn Lender>,
    worker: usize,
    key: String,
    most: u64,
    key_ttl: Duration,
) -> Result<Option<(Permit, u64)>, RemoteError> {
    let member = Uuid::new_v4().to_string();
    // Made before Redis is asked: if the request is given up meanwhile, its place is too.
    let permit = Permit(Place::Remote(Box::new(RemotePlace {
        remote: remote.clone(),
        lender: Arc::clone(lender),
        worker,
        key: key.clone(),
        member: member.clone(),
    })));
    let life = u64::try_from(key_ttl.as_millis()).unwrap_or(u64::MAX);
    let arguments = [
        Argument::Number(most),
        Argument::Number(life),
        Argument::Text(&member),
    ];
    let given = remote.run(worker, Script::Enter, &[key], &arguments).await?;
    let count = given.first().copied().and_then(|count| u64::try_from(count).ok());
    Ok(match count {
        Some(count) => Some((permit, count)),
        None => {
            permit.void();
            None
        }
    })
}

impl Permit {
    /// Gives nothing back: nothing was taken.
    fn void(mut self) {
        if let Place::Remote(place) = &mut self.0 {
            place.member.clear();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        match &mut self.0 {
            Place::Local(table, key) => {
                table.with(*key, 0, |under_way| under_way.0 = under_way.0.saturating_sub(1))
            }
            Place::Remote(place) if place.member.is_empty() => {}
            Place::Remote(place) => {
                let (remote, worker) = (place.remote.clone(), place.worker);
                let (key, member) = (std::mem::take(&mut place.key), std::mem::take(&mut place.member));
                place.lender.tasks().spawn(Box::pin(async move {
                    let left = remote
                        .run(worker, Script::Leave, &[key], &[Argument::Text(&member)])
                        .await;
                    drop(left); // Note: that Redis fails is said where it is asked; it forgets the member in time.
                }));
            }
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
