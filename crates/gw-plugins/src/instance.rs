//! A configured plugin, its type forgotten: what a chain is a list of.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::cx::{BodyCx, BodyParts, LogCx, LogParts, RequestCx, RequestParts, ResponseCx, ResponseParts};
use crate::phase::Phases;
use crate::plugin::{BodyNeed, Definition, Needs, Plugin, Waiting, WaitingPlugin};
use crate::reply::Flow;
use crate::stats::Stats;
use crate::steering::OwnUpstream;

/// The state of one instance for one request. A state without size takes no allocation.
pub type Slot = Box<dyn Any + Send>;

/// How a request phase ended, or what it waits for.
pub enum Outcome<'a> {
    /// It is over.
    Done(Flow),
    /// It waits.
    Wait(Waiting<'a>),
}

impl fmt::Debug for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(flow) => f.debug_tuple("Done").field(flow).finish(),
            Self::Wait(_) => f.write_str("Wait"),
        }
    }
}

/// A configured plugin. Cloning shares it.
#[derive(Clone)]
pub struct Instance {
    /// The plugin's name.
    pub name: &'static str,
    /// Higher runs first.
    pub priority: i32,
    /// The phases it has.
    pub phases: Phases,
    /// What it wants to see of the bodies.
    pub needs: Needs,
    /// The upstreams that belong to it alone.
    pub upstreams: Arc<[OwnUpstream]>,
    /// What is counted of the plugin, in all of its instances.
    pub stats: Arc<Stats>,
    step: Arc<dyn Step>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("name", &self.name)
            .field("priority", &self.priority)
            .finish()
    }
}

impl Instance {
    /// The same in another place among the plugins.
    #[must_use]
    pub fn with_priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Whether it is the same configured plugin.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.step, &other.step)
    }

    pub(crate) fn plain<P: Definition>(plugin: P) -> Self {
        Self::new::<P, Plain>(plugin)
    }

    pub(crate) fn waiting<P: Definition + WaitingPlugin>(plugin: P) -> Self {
        if plugin.waits() {
            Self::new::<P, Waits>(plugin)
        } else {
            Self::new::<P, Plain>(plugin)
        }
    }

    fn new<P: Definition, S: Style<P>>(plugin: P) -> Self {
        Self {
            name: P::NAME,
            priority: P::PRIORITY,
            phases: P::PHASES,
            needs: plugin.needs(),
            upstreams: plugin.upstreams().into(),
            stats: Arc::default(),
            step: Arc::new(Typed::<P, S>(plugin, PhantomData)),
        }
    }

    /// Fresh state for a request.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.step.slot()
    }

    /// Runs the phase. `slot` is this instance's, from [`Instance::slot`].
    pub fn rewrite<'a>(&'a self, parts: RequestParts<'a>, slot: &'a mut Slot) -> Outcome<'a> {
        self.step.rewrite(parts, slot)
    }

    /// Runs the phase.
    pub fn access<'a>(&'a self, parts: RequestParts<'a>, slot: &'a mut Slot) -> Outcome<'a> {
        self.step.access(parts, slot)
    }

    /// What it wants of this response's body.
    pub fn response_body(&self, parts: ResponseParts<'_>, slot: &mut Slot) -> BodyNeed {
        self.step.response_body(parts, slot)
    }

    /// Runs the phase.
    pub fn header_filter(&self, parts: ResponseParts<'_>, slot: &mut Slot) {
        self.step.header_filter(parts, slot);
    }

    /// Runs the phase.
    pub fn body_filter(&self, parts: BodyParts<'_>, slot: &mut Slot) {
        self.step.body_filter(parts, slot);
    }

    /// Runs the phase.
    pub fn log(&self, parts: LogParts<'_>, slot: &mut Slot) {
        self.step.log(parts, slot);
    }
}

/// The one virtual call a plugin costs in a phase.
trait Step: Send + Sync {
    fn slot(&self) -> Slot;
    fn rewrite<'a>(&'a self, parts: RequestParts<'a>, slot: &'a mut Slot) -> Outcome<'a>;
    fn access<'a>(&'a self, parts: RequestParts<'a>, slot: &'a mut Slot) -> Outcome<'a>;
    fn response_body(&self, parts: ResponseParts<'_>, slot: &mut Slot) -> BodyNeed;
    fn header_filter(&self, parts: ResponseParts<'_>, slot: &mut Slot);
    fn body_filter(&self, parts: BodyParts<'_>, slot: &mut Slot);
    fn log(&self, parts: LogParts<'_>, slot: &mut Slot);
}

/// A plugin of a known type, and how it is asked.
struct Typed<P, S>(P, PhantomData<fn() -> S>);

/// How a plugin is asked in the phases that may wait.
trait Style<P: Plugin>: 'static {
    fn rewrite<'a>(plugin: &'a P, cx: RequestCx<'a, P::State>) -> Outcome<'a>;
    fn access<'a>(plugin: &'a P, cx: RequestCx<'a, P::State>) -> Outcome<'a>;
}

/// By plain calls.
enum Plain {}

/// By futures.
enum Waits {}

impl<P: Plugin> Style<P> for Plain {
    fn rewrite<'a>(plugin: &'a P, mut cx: RequestCx<'a, P::State>) -> Outcome<'a> {
        Outcome::Done(plugin.rewrite(&mut cx))
    }

    fn access<'a>(plugin: &'a P, mut cx: RequestCx<'a, P::State>) -> Outcome<'a> {
        Outcome::Done(plugin.access(&mut cx))
    }
}

impl<P: WaitingPlugin> Style<P> for Waits {
    fn rewrite<'a>(plugin: &'a P, cx: RequestCx<'a, P::State>) -> Outcome<'a> {
        Outcome::Wait(plugin.rewrite_waiting(cx))
    }

    fn access<'a>(plugin: &'a P, cx: RequestCx<'a, P::State>) -> Outcome<'a> {
        Outcome::Wait(plugin.access_waiting(cx))
    }
}

impl<P: Plugin, S: Style<P>> Step for Typed<P, S> {
    fn slot(&self) -> Slot {
        Box::new(P::State::default())
    }

    fn rewrite<'a>(&'a self, parts: RequestParts<'a>, slot: &'a mut Slot) -> Outcome<'a> {
        S::rewrite(
            &self.0,
            RequestCx {
                parts,
                state: state::<P>(slot),
            },
        )
    }

    fn access<'a>(&'a self, parts: RequestParts<'a>, slot: &'a mut Slot) -> Outcome<'a> {
        S::access(
            &self.0,
            RequestCx {
                parts,
                state: state::<P>(slot),
            },
        )
    }

    fn response_body(&self, parts: ResponseParts<'_>, slot: &mut Slot) -> BodyNeed {
        self.0.response_body(&mut ResponseCx {
            parts,
            state: state::<P>(slot),
        })
    }

    fn header_filter(&self, parts: ResponseParts<'_>, slot: &mut Slot) {
        self.0.header_filter(&mut ResponseCx {
            parts,
            state: state::<P>(slot),
        });
    }

    fn body_filter(&self, parts: BodyParts<'_>, slot: &mut Slot) {
        self.0.body_filter(&mut BodyCx {
            parts,
            state: state::<P>(slot),
        });
    }

    fn log(&self, parts: LogParts<'_>, slot: &mut Slot) {
        self.0.log(&mut LogCx {
            parts,
            state: state::<P>(slot),
        });
    }
}

fn state<P: Plugin>(slot: &mut Slot) -> &mut P::State {
    slot.downcast_mut()
        .expect("an instance is given the slot that it made")
}
