//! Counts that are kept here and exchanged with Redis every now and then: no request waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::remote::{Keys, life};
use crate::env::Lender;
use crate::limits::calendar::{Calendar, Limits};
use crate::limits::period::Period;
use crate::limits::remote::Remote;
use crate::limits::scripts::{Argument, Script};
use crate::limits::table::{Key, Table};

/// Bound: windows with calls that Redis has not heard of. Beyond, calls of further callers are counted here only.
const MOST: usize = 100_000;

/// How many windows are exchanged at one go.
const BATCH: usize = 500;

/// The exchange of one instance.
pub(super) struct Synced {
    remote: Remote,
    every: Duration,
    lender: Arc<dyn Lender>,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    by_key: HashMap<String, Unsent>,
    /// Whether an exchange is under way or soon will be.
    is_awaited: bool,
}

/// Calls in one window that Redis has not heard of.
#[derive(Debug)]
struct Unsent {
    calls: u64,
    period: Period,
    at: u64,
    key: Key,
}

impl Synced {
    pub(super) fn new(remote: Remote, every: Duration, lender: Arc<dyn Lender>) -> Self {
        Self {
            remote,
            every,
            lender,
            pending: Mutex::default(),
        }
    }

    /// Notes a call that has been counted in the table, for the next exchange.
    pub(super) fn count(
        self: &Arc<Self>,
        table: &Arc<Table<Calendar>>,
        key: Key,
        limits: &Limits,
        keys: Keys,
        at: u64,
    ) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for ((period, _), name) in limits.iter().zip(keys.0) {
            if let Some(unsent) = pending.by_key.get_mut(&name) {
                unsent.calls += 1;
            } else if pending.by_key.len() < MOST {
                let unsent = Unsent {
                    calls: 1,
                    period,
                    at,
                    key,
                };
                pending.by_key.insert(name, unsent);
            }
        }
        if !std::mem::replace(&mut pending.is_awaited, true) {
            drop(pending);
            let (this, table) = (Arc::clone(self), Arc::clone(table));
            let wait = self.lender.tasks().sleep(self.every);
            self.lender.tasks().spawn(Box::pin(async move {
                wait.await;
                this.exchange(&table).await;
            }));
        }
    }

    /// Tells Redis of the calls, and takes over its sums, in which other nodes' calls are. What Redis does not hear of is
    /// counted here only.
    async fn exchange(&self, table: &Table<Calendar>) {
        let unsent: Vec<(String, Unsent)> = {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.is_awaited = false;
            pending.by_key.drain().collect()
        };
        for batch in unsent.chunks(BATCH) {
            let keys: Vec<String> = batch.iter().map(|(name, _)| name.clone()).collect();
            let told = |(_, unsent): &(String, Unsent)| {
                [
                    Argument::Number(unsent.calls),
                    Argument::Number(life(unsent.period, unsent.at)),
                ]
            };
            let arguments: Vec<Argument<'_>> = batch.iter().flat_map(told).collect();
            // Note: that Redis fails is said where it is asked.
            let Ok(sums) = self.remote.run(0, Script::Add, &keys, &arguments).await else {
                return;
            };
            for ((name, unsent), sum) in batch.iter().zip(sums) {
                let since = self.since(name);
                table.with(unsent.key, unsent.at * 1000, |calendar| {
                    calendar.raise(
                        unsent.period,
                        unsent.period.begin(unsent.at),
                        sum.unsigned_abs() + since,
                    );
                });
            }
        }
    }

    /// Calls that were counted while Redis was told of earlier ones.
    fn since(&self, name: &str) -> u64 {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.by_key.get(name).map_or(0, |unsent| unsent.calls)
    }
}
