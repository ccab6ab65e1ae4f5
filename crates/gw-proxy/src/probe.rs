//! Active probes: one task on the control runtime asks targets how they are, and tells their cells.

mod finding;
mod grpc;
mod http;
mod schedule;
mod send;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Instant;

use gw_balancer::TargetIdx;
use gw_core::{Active, KeyPair, ProxyProtocol};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tracing::{debug, error};

use crate::cell::{Cell, Member};
pub(crate) use finding::Found;
use schedule::{EntryId, GroupId, Pace, Schedule, Subject};
use send::Tls;

/// Bound: probes under way at once, over all upstreams.
const MOST: usize = 256;

/// Probes the targets of all cells that ask for it, until it and their lines are dropped.
#[derive(Debug)]
pub(crate) struct Prober {
    mail: mpsc::UnboundedSender<Message>,
    last: AtomicU64,
}

/// A cell's line to the prober. When it is dropped, the cell's targets are probed no more.
#[derive(Debug)]
pub(crate) struct Line {
    id: GroupId,
    mail: mpsc::UnboundedSender<Message>,
    /// Whether the prober knows of the cell.
    known: AtomicBool,
}

/// What a cell asks for.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// What logs call the cell.
    pub(crate) label: Arc<str>,
    pub(crate) active: Arc<Active>,
    pub(crate) terms: Arc<ProbeTerms>,
    pub(crate) targets: Vec<Probed>,
}

/// What connections of probes are opened with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ProbeTerms {
    /// A header that says that nobody else is behind it.
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    /// The certificate that is shown.
    pub(crate) pair: Option<KeyPair>,
}

/// A target to be probed.
#[derive(Debug)]
pub(crate) struct Probed {
    pub(crate) target: TargetIdx,
    pub(crate) member: Arc<Member>,
    pub(crate) healthy: bool,
}

#[derive(Debug)]
enum Message {
    /// Something about the cell's targets is different now.
    Changed(GroupId, Weak<Cell>),
    Gone(GroupId),
}

impl Prober {
    /// Starts one on this runtime.
    pub(crate) fn start(control: &Handle) -> Self {
        let (mail, inbox) = mpsc::unbounded_channel();
        control.spawn(run(inbox));
        Self {
            mail,
            last: AtomicU64::new(0),
        }
    }

    /// A line for a new cell.
    pub(crate) fn line(&self) -> Line {
        Line {
            id: self.last.fetch_add(1, Relaxed),
            mail: self.mail.clone(),
            known: AtomicBool::new(false),
        }
    }
}

impl Line {
    /// Tells that the cell's targets, their health or its wishes may have changed. `wanted` is whether it wants probes.
    pub(crate) fn changed(&self, cell: &Weak<Cell>, wanted: bool) {
        if wanted || self.known.load(Relaxed) {
            self.known.store(wanted, Relaxed);
            // Without a prober, at the end of the process, nobody is probed.
            self.mail.send(Message::Changed(self.id, Weak::clone(cell))).ok();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.known.load(Relaxed) {
            self.mail.send(Message::Gone(self.id)).ok();
        }
    }
}

/// All that one turn of the schedule needs.
#[derive(Debug)]
struct Task {
    cell: Weak<Cell>,
    label: Arc<str>,
    active: Arc<Active>,
    terms: Arc<ProbeTerms>,
    target: TargetIdx,
    member: Arc<Member>,
}

#[derive(Debug)]
struct Rounds {
    schedule: Schedule<Task>,
    probes: JoinSet<Found>,
    /// Those under way.
    running: HashMap<Id, EntryId>,
    handles: HashMap<EntryId, AbortHandle>,
    tls: Arc<Tls>,
}

async fn run(mut inbox: mpsc::UnboundedReceiver<Message>) {
    let mut rounds = Rounds {
        schedule: Schedule::new(MOST, fastrand::u64(..)),
        probes: JoinSet::new(),
        running: HashMap::new(),
        handles: HashMap::new(),
        tls: Arc::default(),
    };
    loop {
        // First what the last probe has changed: the next may not be due any more.
        if let Ok(message) = inbox.try_recv() {
            rounds.hear(message, &mut inbox);
        }
        rounds.begin(Instant::now());
        let due = rounds.schedule.due();
        tokio::select! {
            message = inbox.recv() => match message {
                Some(message) => rounds.hear(message, &mut inbox),
                None => return,
            },
            Some(ended) = rounds.probes.join_next_with_id() => rounds.end(ended),
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
        }
    }
}

impl Rounds {
    /// Begins the probes that are due.
    fn begin(&mut self, now: Instant) {
        while let Some((id, task)) = self.schedule.next(now) {
            let probe = probe(task, Arc::clone(&self.tls));
            let handle = self.probes.spawn(probe);
            self.running.insert(handle.id(), id);
            self.handles.insert(id, handle);
        }
    }

    /// Takes in what has been told, as far as it has come: of one cell only the last counts.
    fn hear(&mut self, first: Message, inbox: &mut mpsc::UnboundedReceiver<Message>) {
        let mut latest = BTreeMap::new();
        let rest = std::iter::from_fn(|| inbox.try_recv().ok());
        for message in std::iter::once(first).chain(rest) {
            let (id, cell) = match message {
                Message::Changed(id, cell) => (id, Some(cell)),
                Message::Gone(id) => (id, None),
            };
            latest.insert(id, cell);
        }
        for (id, cell) in latest {
            let wanted = cell
                .as_ref()
                .and_then(Weak::upgrade)
                .and_then(|cell| cell.wanted());
            let gone = match (cell, wanted) {
                (Some(cell), Some(wanted)) => self.set(id, &cell, wanted),
                _ => self.schedule.remove(id),
            };
            for handle in gone.iter().filter_map(|id| self.handles.remove(id)) {
                handle.abort();
            }
        }
    }

    fn set(&mut self, id: GroupId, cell: &Weak<Cell>, wanted: Wanted) -> Vec<EntryId> {
        let Wanted {
            label,
            active,
            terms,
            targets,
        } = wanted;
        let pace = Pace {
            healthy: active.healthy_interval,
            unhealthy: active.unhealthy_interval,
            concurrency: active.concurrency,
        };
        let subjects = targets.into_iter().map(|probed| Subject {
            name: probed.member.label.clone(),
            healthy: probed.healthy,
            what: Task {
                cell: Weak::clone(cell),
                label: Arc::clone(&label),
                active: Arc::clone(&active),
                terms: Arc::clone(&terms),
                target: probed.target,
                member: probed.member,
            },
        });
        self.schedule.set(id, pace, subjects, Instant::now())
    }

    /// A probe has ended: its cell is told what it has found.
    fn end(&mut self, ended: Result<(Id, Found), JoinError>) {
        let (task, found) = match ended {
            Ok((task, found)) => (task, Some(found)),
            Err(error) => {
                if error.is_panic() {
                    error!(%error, "a probe panicked: a bug of the gateway");
                }
                (error.id(), None)
            }
        };
        let Some(id) = self.running.remove(&task) else {
            return;
        };
        self.handles.remove(&id);
        if let Some(found) = found
            && let Some(task) = self.schedule.what(id)
            && let Some(cell) = task.cell.upgrade()
        {
            cell.probed(task.target, &task.member, &found);
        }
        self.schedule.done(id, Instant::now());
    }
}

fn probe(task: &Task, tls: Arc<Tls>) -> impl Future<Output = Found> + Send + use<> {
    let (label, active, terms, member) = (
        Arc::clone(&task.label),
        Arc::clone(&task.active),
        Arc::clone(&task.terms),
        Arc::clone(&task.member),
    );
    async move {
        let host = member.host(active.probe.kind.is_tls());
        let found = send::send((&active, &terms), &member.address, host, &tls).await;
        let Found { finding, cause } = &found;
        debug!(upstream = %label, target = %member.label, ?finding, cause, "probed a target");
        found
    }
}
