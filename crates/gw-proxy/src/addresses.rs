//! The addresses that any cell has: when the last cell lets one go, no connection to it is used again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::address::Address;
use crate::lock;
use crate::worker::Worker;

/// The addresses in use, counted by cell.
#[derive(Debug)]
pub(crate) struct Addresses {
    known: Mutex<HashMap<Address, Entry>>,
    /// Whose pools may have connections to them.
    workers: Box<[Arc<Worker>]>,
}

#[derive(Debug)]
struct Entry {
    /// Bound: as often as there are cells with it.
    users: usize,
    tenure: Tenure,
}

/// The time during which an address is in use without a break. Connections made in it are good until it ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tenure(Arc<AtomicBool>);

impl Tenure {
    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl Addresses {
    pub(crate) fn new(workers: Box<[Arc<Worker>]>) -> Self {
        Self {
            known: Mutex::default(),
            workers,
        }
    }

    /// One more cell has this address.
    pub(crate) fn enter(&self, address: &Address) -> Tenure {
        let mut known = lock(&self.known);
        let entry = known.entry(address.clone()).or_insert_with(|| Entry {
            users: 0,
            tenure: Tenure::default(),
        });
        entry.users += 1;
        entry.tenure.clone()
    }

    /// One cell less has this address. If it was the last, idle connections to it are closed, and busy ones when they
    /// are done.
    pub(crate) fn leave(&self, address: &Address) {
        let mut known = lock(&self.known);
        let Some(entry) = known.get_mut(address) else {
            return;
        };
        entry.users -= 1;
        if entry.users > 0 {
            return;
        }
        // Before the pools are gone through: what comes back afterwards sees it, as both hold the pool's lock.
        entry.tenure.0.store(true, Relaxed);
        known.remove(address);
        drop(known);
        for worker in &self.workers {
            lock(&worker.pool).retire(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_left_when_its_last_cell_leaves_it() {
        let addresses = Addresses::new(Box::default());
        let here = &Address::Ip("10.0.0.1:80".parse().unwrap());
        let (one, two) = (addresses.enter(here), addresses.enter(here));
        addresses.leave(here);
        assert!(!one.is_over() && !two.is_over());
        addresses.leave(here);
        assert!(one.is_over() && two.is_over());
        addresses.leave(here);
        let again = addresses.enter(here);
        assert!(
            !again.is_over() && one.is_over(),
            "what was made before is not good again"
        );
    }
}
