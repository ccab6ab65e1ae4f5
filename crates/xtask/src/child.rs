//! A child process with its output and its own children; gone when this is dropped.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::usage::{self, Tree};

/// How long a process that was asked to end may take.
const GRACE: Duration = Duration::from_secs(5);

/// Lines shown in the message, should it fail.
const SHOWN: usize = 20;

/// Bound: lines kept of one that talks a lot.
const KEPT: usize = 20_000;

/// How a process that may only take so long has ended.
#[derive(Debug)]
pub(crate) enum End {
    /// By itself.
    Exited(ExitStatus),
    /// It took too long, and is gone.
    Late,
}

/// A running program.
#[derive(Debug)]
pub(crate) struct Child {
    process: Process,
    lines: Receiver<String>,
    kept: VecDeque<String>,
}

impl Child {
    /// Starts it. Its standard input is a pipe that ends with this value.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self, String> {
        let shown = command.get_program().to_string_lossy().into_owned();
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {shown}: {error}"))?;
        let (sender, lines) = channel();
        if let Some(output) = process.stdout.take() {
            read_lines(output, sender.clone());
        }
        if let Some(output) = process.stderr.take() {
            read_lines(output, sender);
        }
        Ok(Self {
            process,
            lines,
            kept: VecDeque::new(),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// It and all processes below it.
    pub(crate) fn tree(&self) -> Tree {
        usage::tree(self.id())
    }

    /// Tries again and again, at once after each line it writes, until something comes of it.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        every: Duration,
        mut attempt: impl FnMut(&VecDeque<String>) -> Option<T>,
    ) -> Result<T, String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(found) = attempt(&self.kept) {
                return Ok(found);
            }
            match self.lines.recv_timeout(every) {
                Ok(line) => self.keep(line),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("waited 20 s for {what}{}", self.said()));
                }
                // It has closed its output; what it said may still be what was waited for.
                Err(RecvTimeoutError::Disconnected) => {
                    return attempt(&self.kept)
                        .ok_or_else(|| format!("it ended while {what} was waited for{}", self.said()));
                }
            }
        }
    }

    /// Asks it to end, waits until it and all below it have, and says how it did.
    pub(crate) fn end(&mut self, signal: Signal) -> io::Result<ExitStatus> {
        let tree = self.tree();
        self.signal(signal);
        drop(self.process.stdin.take());
        let deadline = Instant::now() + GRACE;
        // The output ends when the last process that holds it has ended.
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.keep(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    for pid in tree.processes() {
                        kill(*pid, Signal::KILL);
                    }
                    break;
                }
            }
        }
        self.process.wait()
    }

    /// Hands on each line as it comes, until it ends or has taken too long.
    pub(crate) fn watch(&mut self, patience: Duration, mut each: impl FnMut(&str)) -> io::Result<End> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    each(&line);
                    self.keep(line);
                }
                Err(RecvTimeoutError::Disconnected) => return self.process.wait().map(End::Exited),
                Err(RecvTimeoutError::Timeout) => {
                    self.end(Signal::TERM)?;
                    return Ok(End::Late);
                }
            }
        }
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> io::Result<bool> {
        Ok(self.process.try_wait()?.is_none())
    }

    /// What it has said and was looked at, in order.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &str> {
        self.kept.iter().map(String::as_str)
    }

    /// What it said last, for a message.
    pub(crate) fn said(&self) -> String {
        let last = self.kept.len().saturating_sub(SHOWN);
        let last: Vec<&str> = self.kept().skip(last).collect();
        match last.len() {
            0 => "; it said nothing".to_owned(),
            _ => format!("; it said:\n{}", last.join("\n")),
        }
    }

    fn signal(&self, signal: Signal) {
        kill(self.id(), signal);
    }

    fn keep(&mut self, line: String) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            // Nobody is left to be told.
            let _ended = self.end(Signal::TERM);
        }
    }
}

/// Not yet waited for, so the id is the process's own, if only as a zombie.
fn kill(id: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(id.cast_signed()) {
        // It may have ended a moment ago.
        let _sent = kill_process(pid, signal);
    }
}

fn read_lines(output: impl Read + Send + 'static, sender: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Child::spawn(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn what_it_says_is_waited_for() {
        let mut child = shell("echo one; echo two >&2; cat");
        let both = child.until("two lines", Duration::from_secs(1), |lines| {
            (lines.len() == 2).then(|| lines.iter().cloned().collect::<Vec<_>>())
        });
        let mut both = both.unwrap();
        both.sort();
        assert_eq!(both, ["one", "two"]);
        assert_eq!(child.end(Signal::TERM).unwrap().code(), None);
    }

    #[test]
    fn one_that_ends_first_says_why() {
        let mut child = shell("echo no such port >&2; exit 3");
        let late = child.until("it to listen", Duration::from_secs(1), |_| None::<()>);
        let reason = late.unwrap_err();
        assert_eq!(
            reason,
            "it ended while it to listen was waited for; it said:\nno such port"
        );
    }

    #[test]
    fn one_that_is_watched_ends_or_is_ended() {
        let mut lines = Vec::new();
        let mut child = shell("echo one; echo two; exit 4");
        let end = child.watch(GRACE, |line| lines.push(line.to_owned())).unwrap();
        assert!(
            matches!(end, End::Exited(status) if status.code() == Some(4)),
            "{end:?}"
        );
        assert_eq!(lines, ["one", "two"]);
        assert!(!child.is_running().unwrap());
        let mut child = shell("exec sleep 1000");
        assert!(child.is_running().unwrap());
        let end = child.watch(Duration::ZERO, |_| ()).unwrap();
        assert!(matches!(end, End::Late), "{end:?}");
        assert!(!child.is_running().unwrap());
    }

    #[test]
    fn its_own_children_go_with_it() {
        let mut child = shell("sleep 1000 & echo $!; trap 'kill $!; exit' TERM; wait");
        let below: u32 = child
            .until("the id", Duration::from_secs(1), |lines| {
                lines.front()?.parse().ok()
            })
            .unwrap();
        assert!(
            child.tree().processes().contains(&below),
            "{below} is not in the tree"
        );
        drop(child);
        assert!(!std::path::Path::new(&format!("/proc/{below}/exe")).exists());
    }
}
