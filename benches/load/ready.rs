//! Which sockets are ready: a thin layer over epoll, level-triggered, and a ticking clock that wakes it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};

/// A set of sockets, each known by a number.
pub(crate) struct Ready {
    epoll: OwnedFd,
    events: Vec<Event>,
}

/// What a socket is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    /// Only until what could not be written at once is written: reading waits that long.
    Write,
}

impl Ready {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(256),
        })
    }

    /// Watches a socket for reading. It leaves the set when it is closed.
    pub(crate) fn add(&self, socket: impl AsFd, number: u64) -> io::Result<()> {
        epoll::add(&self.epoll, socket, EventData::new_u64(number), EventFlags::IN)?;
        Ok(())
    }

    pub(crate) fn change(&self, socket: impl AsFd, number: u64, interest: Interest) -> io::Result<()> {
        let flags = match interest {
            Interest::Read => EventFlags::IN,
            Interest::Write => EventFlags::OUT,
        };
        epoll::modify(&self.epoll, socket, EventData::new_u64(number), flags)?;
        Ok(())
    }

    /// Waits until some are ready, or for at most so long, and returns their numbers.
    pub(crate) fn wait(&mut self, at_most: Option<Duration>) -> io::Result<impl Iterator<Item = u64>> {
        self.events.clear();
        let at_most = at_most.and_then(|time| Timespec::try_from(time).ok());
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), at_most.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.drain(..).map(|event| event.data.u64()))
    }
}

/// A clock that is ready to be read at each tick; epoll's own timeout knows only milliseconds.
pub(crate) struct Ticks(OwnedFd);

impl Ticks {
    pub(crate) fn every(interval: Duration) -> io::Result<Self> {
        let clock = rustix::time::timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let interval = Timespec::try_from(interval).map_err(io::Error::other)?;
        let times = Itimerspec {
            it_interval: interval,
            it_value: interval,
        };
        rustix::time::timerfd_settime(&clock, TimerfdTimerFlags::empty(), &times)?;
        Ok(Self(clock))
    }

    /// Takes the ticks since the last call, so that the clock is ready again at the next one.
    pub(crate) fn take(&self) {
        // Nothing to take is no failure: the tick was taken before.
        let _taken = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }
}

impl AsFd for Ticks {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
