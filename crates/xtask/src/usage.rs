//! What processes have used, from `/proc`: time on a processor and memory.

use std::fs;
use std::ops::Sub;
use std::path::PathBuf;

/// A process and all below it.
#[derive(Clone, Debug)]
pub(crate) struct Tree(Vec<u32>);

/// Time on a processor, in microseconds. The kernel counts user and system time in ticks of 10 ms, but their sum in
/// nanoseconds: it is taken from there, where it can be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cpu {
    pub(crate) total: f64,
    user_ticks: f64,
    system_ticks: f64,
}

/// Memory, in MiB, over all processes of a tree.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident now, what several processes share counted in parts.
    pub(crate) proportional: f64,
    /// The most that was ever resident; what processes share is counted for each.
    pub(crate) peak: f64,
}

/// The process and what descends from it.
pub(crate) fn tree(root: u32) -> Tree {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| Some((pid, Stat::read(pid)?.parent)))
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    Tree(found)
}

impl Tree {
    pub(crate) fn processes(&self) -> &[u32] {
        &self.0
    }

    pub(crate) fn cpu(&self) -> Cpu {
        let each = self.0.iter().map(|pid| cpu(*pid));
        each.fold(Cpu::default(), |sum, cpu| Cpu {
            total: sum.total + cpu.total,
            user_ticks: sum.user_ticks + cpu.user_ticks,
            system_ticks: sum.system_ticks + cpu.system_ticks,
        })
    }

    pub(crate) fn memory(&self) -> Memory {
        let sum = |file: &str, name: &str| -> f64 {
            let each = self.0.iter().filter_map(|pid| {
                let text = fs::read_to_string(PathBuf::from(format!("/proc/{pid}/{file}"))).ok()?;
                kibibytes(&text, name)
            });
            each.sum::<f64>() / 1024.0
        };
        Memory {
            proportional: sum("smaps_rollup", "Pss:"),
            peak: sum("status", "VmHWM:"),
        }
    }
}

impl Cpu {
    /// The part of the time that was not spent in the kernel, from 0 to 1.
    pub(crate) fn user_share(self) -> f64 {
        self.user_ticks / (self.user_ticks + self.system_ticks).max(f64::MIN_POSITIVE)
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            total: self.total - before.total,
            user_ticks: self.user_ticks - before.user_ticks,
            system_ticks: self.system_ticks - before.system_ticks,
        }
    }
}

fn cpu(pid: u32) -> Cpu {
    let Some(stat) = Stat::read(pid) else {
        return Cpu::default();
    };
    let (user, system) = (stat.user as f64, stat.system as f64);
    let tick = 1e6 / rustix::param::clock_ticks_per_second() as f64;
    Cpu {
        total: scheduled(pid).unwrap_or((user + system) * tick),
        user_ticks: user,
        system_ticks: system,
    }
}

/// Microseconds that the threads of a process were on a processor.
fn scheduled(pid: u32) -> Option<f64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let each = threads.map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let nanos: f64 = text.split(' ').next()?.parse().ok()?;
        Some(nanos / 1000.0)
    });
    each.sum::<Option<f64>>().filter(|sum| *sum > 0.0)
}

struct Stat {
    parent: u32,
    user: u64,
    system: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the name in brackets, which may have blanks and brackets.
        let (_, rest) = text.rsplit_once(") ")?;
        let field = |number: usize| rest.split(' ').nth(number - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(field(4)?).ok()?,
            user: field(14)?,
            system: field(15)?,
        })
    }
}

fn kibibytes(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Instant;

    use super::*;
    use crate::child::Child;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = Stat::parse("7 (a (b) c) S 3 7 7 0 -1 4194560 130 0 0 0 55 66 0 0 20 0 1 0 1\n").unwrap();
        assert_eq!((stat.parent, stat.user, stat.system), (3, 55, 66));
    }

    #[test]
    fn use_grows_with_what_is_done() {
        // Not this process, whose threads and children come and go with the other tests.
        let busy = Child::spawn(Command::new("sh").args(["-c", "while :; do :; done"])).unwrap();
        let tree = busy.tree();
        let before = tree.cpu();
        let started = Instant::now();
        let mut used = Cpu::default();
        while used.total <= 1_000.0 {
            assert!(started.elapsed().as_secs() < 10, "{used:?}");
            used = tree.cpu() - before;
        }
        let memory = tree.memory();
        assert!(memory.peak > 0.1 && memory.proportional > 0.01, "{memory:?}");
        assert!(memory.peak < 4096.0, "{memory:?}");
    }

    #[test]
    fn memory_is_read_by_name() {
        let text = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t  1 kB\n";
        assert_eq!(kibibytes(text, "VmHWM:"), Some(2048.0));
        assert_eq!(kibibytes(text, "Pss:"), None);
    }
}
