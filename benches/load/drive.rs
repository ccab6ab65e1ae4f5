//! Requests over many connections from one thread: as fast as they are answered, or when the clock says.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use crate::answer::{Connection, Progress};
use crate::args::{Drive, Until};
use crate::histogram::Histogram;
use crate::ready::{Ready, Ticks};

/// How long the answers still to come are waited for when nothing more is sent.
const DRAIN: Duration = Duration::from_secs(5);

/// The clock's number among the sockets; connections count from 0.
const CLOCK: u64 = u64::MAX;

/// What was measured.
pub(crate) struct Report {
    /// Answers, those of the warm-up too.
    answered: u64,
    /// Requests without the answer expected.
    failed: u64,
    first_failure: Option<String>,
    /// Connections opened anew because the other side had closed one between two requests.
    reopened: u64,
    /// The time in which `times` were taken.
    measured: Duration,
    times: Histogram,
}

/// Sends what the plan says and waits for the answers.
pub(crate) fn run(plan: &Drive) -> io::Result<Report> {
    Run::new(plan)?.finish()
}

struct Run<'p> {
    plan: &'p Drive,
    request: Vec<u8>,
    connections: Vec<Line>,
    idle: Vec<usize>,
    /// When the requests that no connection was free for were due.
    due: VecDeque<Instant>,
    start: Instant,
    sent: u64,
    ready: Ready,
    buffer: Vec<u8>,
    report: Report,
}

struct Line {
    connection: Connection,
    /// When the request now on it was due; `None` if it is idle.
    since: Option<Instant>,
}

impl<'p> Run<'p> {
    fn new(plan: &'p Drive) -> io::Result<Self> {
        let ready = Ready::new()?;
        let mut connections = Vec::new();
        for number in 0..plan.connections {
            let connection = Connection::open(plan.target)?;
            ready.add(&connection, number as u64)?;
            connections.push(Line {
                connection,
                since: None,
            });
        }
        Ok(Self {
            plan,
            request: request(plan),
            idle: (0..connections.len()).rev().collect(),
            connections,
            due: VecDeque::new(),
            start: Instant::now(),
            sent: 0,
            ready,
            buffer: vec![0; 128 * 1024],
            report: Report {
                answered: 0,
                failed: 0,
                first_failure: None,
                reopened: 0,
                measured: Duration::ZERO,
                times: Histogram::new(),
            },
        })
    }

    fn finish(mut self) -> io::Result<Report> {
        let ticks = match self.plan.rate {
            Some(rate) => {
                let ticks = Ticks::every(Duration::from_secs_f64(1.0 / rate))?;
                self.ready.add(&ticks, CLOCK)?;
                Some(ticks)
            }
            None => None,
        };
        let mut numbers = Vec::new();
        let mut now = self.start;
        let mut stopped = None;
        loop {
            if stopped.is_none() && self.is_over(now) {
                stopped = Some(now);
                self.due.clear();
            }
            match stopped {
                None => self.send_due(now)?,
                Some(at) if self.idle.len() == self.connections.len() || now > at + DRAIN => break,
                Some(_) => {}
            }
            numbers.clear();
            numbers.extend(self.ready.wait(Some(Duration::from_millis(50)))?);
            now = Instant::now();
            for number in &numbers {
                match &ticks {
                    Some(ticks) if *number == CLOCK => ticks.take(),
                    _ => self.read(*number as usize)?,
                }
            }
        }
        let stopped = stopped.unwrap_or(now);
        self.report.failed += (self.connections.len() - self.idle.len()) as u64;
        self.report.measured = stopped.saturating_duration_since(self.start + self.plan.warmup);
        Ok(self.report)
    }

    fn is_over(&self, now: Instant) -> bool {
        match self.plan.until {
            Until::Elapsed(time) => now >= self.start + self.plan.warmup + time,
            Until::Requests(count) => self.sent >= count,
        }
    }

    /// Sends what is due on the connections that are free.
    fn send_due(&mut self, now: Instant) -> io::Result<()> {
        if let Some(rate) = self.plan.rate {
            let due = (now.saturating_duration_since(self.start).as_secs_f64() * rate) as u64;
            for number in self.sent + self.due.len() as u64..due {
                self.due
                    .push_back(self.start + Duration::from_secs_f64(number as f64 / rate));
            }
        }
        while let Some(number) = self.idle.pop() {
            let since = match self.plan.rate {
                Some(_) => self.due.pop_front(),
                None if self.is_over(now) => None,
                None => Some(Instant::now()),
            };
            let Some(since) = since else {
                self.idle.push(number);
                return Ok(());
            };
            self.sent += 1;
            let line = &mut self.connections[number];
            line.since = Some(since);
            if let Err(error) = line.connection.send(&self.request) {
                self.fail(number, &error)?;
            }
        }
        Ok(())
    }

    fn read(&mut self, number: usize) -> io::Result<()> {
        let line = &mut self.connections[number];
        match line.connection.read(&mut self.buffer, self.plan.expect) {
            Ok(Progress::More) => Ok(()),
            Ok(done) => {
                let now = Instant::now();
                self.report.answered += 1;
                if let Some(since) = line.since.take() {
                    if since >= self.start + self.plan.warmup {
                        self.report.times.add(now.saturating_duration_since(since));
                    }
                    self.idle.push(number);
                }
                if done == Progress::DoneLast {
                    self.report.reopened += 1;
                    self.open(number)?;
                }
                Ok(())
            }
            Err(_) if line.since.is_none() => {
                self.report.reopened += 1;
                self.open(number)
            }
            Err(error) => self.fail(number, &error),
        }
    }

    fn fail(&mut self, number: usize, error: &io::Error) -> io::Result<()> {
        self.report.failed += 1;
        self.report.first_failure.get_or_insert_with(|| error.to_string());
        self.connections[number].since = None;
        self.idle.push(number);
        self.open(number)
    }

    fn open(&mut self, number: usize) -> io::Result<()> {
        let connection = Connection::open(self.plan.target)?;
        self.ready.add(&connection, number as u64)?;
        self.connections[number].connection = connection;
        Ok(())
    }
}

fn request(plan: &Drive) -> Vec<u8> {
    let head = match plan.post {
        None => format!("GET {} HTTP/1.1\r\nHost: bench.test\r\n", plan.path),
        Some(length) => format!(
            "POST {} HTTP/1.1\r\nHost: bench.test\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n",
            plan.path
        ),
    };
    let field = plan.header.as_ref().map(|field| format!("{field}\r\n"));
    let head =
        head + "User-Agent: gw-load\r\nAccept: */*\r\n" + field.as_deref().unwrap_or_default() + "\r\n";
    let mut request = head.into_bytes();
    request.resize(request.len() + plan.post.unwrap_or(0), b'x');
    request
}

impl fmt::Display for Report {
    /// One JSON object on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.measured.as_secs_f64();
        let micros = |time: Duration| time.as_nanos() as f64 / 1000.0;
        let object = serde_json::json!({
            "answered": self.answered,
            "failed": self.failed,
            "first_failure": self.first_failure,
            "reopened": self.reopened,
            "seconds": seconds,
            "per_second": self.times.total() as f64 / seconds.max(f64::MIN_POSITIVE),
            "p50_us": micros(self.times.percentile(0.5)),
            "p90_us": micros(self.times.percentile(0.9)),
            "p99_us": micros(self.times.percentile(0.99)),
            "max_us": micros(self.times.longest()),
        });
        object.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin;

    fn driven(change: impl FnOnce(&mut Drive)) -> Report {
        let target = origin::start(1).unwrap()[0];
        let mut plan = Drive {
            target,
            path: "/".to_owned(),
            header: None,
            post: None,
            expect: origin::SHORT.len() as u64,
            connections: 7,
            rate: None,
            warmup: Duration::ZERO,
            until: Until::Requests(300),
        };
        change(&mut plan);
        run(&plan).unwrap()
    }

    #[test]
    fn each_request_is_answered_and_counted() {
        let kinds: [fn(&mut Drive); 3] = [
            |_| {},
            |plan| (plan.path, plan.expect) = ("/64k".to_owned(), 64 * 1024),
            |plan| plan.post = Some(4096),
        ];
        for kind in kinds {
            let report = driven(kind);
            assert_eq!((report.failed, report.reopened), (0, 0), "{report}");
            // What was on its way when the count was reached is answered too.
            assert!((300..307).contains(&report.answered), "{report}");
            assert_eq!(report.times.total(), report.answered);
        }
    }

    #[test]
    fn a_field_that_is_asked_for_is_sent() {
        let report = driven(|plan| {
            (plan.path, plan.header) = ("/echo".to_owned(), Some("apikey:k".to_owned()));
            plan.expect = request(plan).len() as u64;
        });
        assert_eq!(report.failed, 0, "{report}");
    }

    #[test]
    fn by_the_clock_requests_go_out_at_the_rate_asked_for() {
        let report = driven(|plan| plan.rate = Some(1000.0));
        assert_eq!(report.failed, 0, "{report}");
        // The last of 300 is due after 299 ms, and is not sent before.
        assert!((300..307).contains(&report.answered), "{report}");
        assert!(report.measured >= Duration::from_millis(299), "{report}");
    }

    #[test]
    fn a_wrong_answer_is_a_failure_that_says_why() {
        let report = driven(|plan| plan.expect = 1);
        assert_eq!((report.answered, report.times.total()), (0, 0));
        assert!(report.failed >= 300, "{report}");
        let why = report.first_failure.unwrap_or_default();
        assert!(why.contains("another length"), "{why}");
    }

    #[test]
    fn the_warm_up_is_answered_but_not_timed() {
        let report = driven(|plan| {
            plan.warmup = Duration::from_millis(100);
            plan.until = Until::Elapsed(Duration::from_millis(100));
        });
        assert!(report.times.total() < report.answered, "{report}");
        assert!(report.measured >= Duration::from_millis(100), "{report}");
    }
}
