//! What this process may use: memory, as its container or the machine allows it, and descriptors.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit, setrlimit};
use tracing::debug;

/// What this process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Bytes of memory, of the container if there is one; none where the system does not say.
    pub(crate) memory: Option<u64>,
    /// Open descriptors; none if as many as it likes.
    pub(crate) descriptors: Option<u64>,
}

impl Machine {
    /// Asks the system; raises the limit of descriptors to the highest it may be raised to.
    pub(crate) fn look() -> Self {
        let mut limits = getrlimit(Resource::Nofile);
        if limits.current != limits.maximum {
            limits.current = limits.maximum;
            if let Err(error) = setrlimit(Resource::Nofile, limits) {
                debug!(%error, "the limit of descriptors stays as it is");
            }
        }
        Self {
            memory: memory(Path::new("/")),
            descriptors: getrlimit(Resource::Nofile).current,
        }
    }
}

/// The least of what the machine has and its control groups allow, read from below this directory.
fn memory(root: &Path) -> Option<u64> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok();
    let machine = machine.as_deref().and_then(total);
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mounted = root.join("sys/fs/cgroup");
    let limits = groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (
            fields.next().unwrap_or_default(),
            fields.next().unwrap_or_default(),
        );
        match controllers {
            "" => limits(&mounted, group, "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                limits(&mounted.join("memory"), group, "memory.limit_in_bytes")
            }
            _ => Vec::new(),
        }
    });
    limits.chain(machine).min()
}

/// What a group and those it is in allow. In a container its own group is often mounted at the top.
fn limits(mounted: &Path, group: &str, file: &str) -> Vec<u64> {
    let below = group.trim_start_matches('/');
    let places = Path::new(below).ancestors().map(|place| mounted.join(place));
    let read = |place: PathBuf| fs::read_to_string(place.join(file)).ok()?.trim().parse().ok();
    places.filter_map(read).collect()
}

/// `MemTotal:  24571556 kB`
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn the_tightest_limit_counts() {
        let meminfo = ("proc/meminfo", "MemTotal:        1024 kB\nMemFree: 1 kB\n");
        for (files, expected) in [
            (&[][..], None),
            (&[meminfo], Some(1 << 20)),
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "0::/a.slice/b.service\n"),
                    ("sys/fs/cgroup/a.slice/memory.max", "5000\n"),
                    ("sys/fs/cgroup/a.slice/b.service/memory.max", "max\n"),
                ],
                Some(5000),
            ),
            (
                // In a container: its group is mounted at the top, whatever its name outside.
                &[
                    meminfo,
                    ("proc/self/cgroup", "0::/../../outside\n"),
                    ("sys/fs/cgroup/memory.max", "6000\n"),
                ],
                Some(6000),
            ),
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "5:cpu,memory:/x\n4:pids:/x\n"),
                    ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "7000\n"),
                    (
                        "sys/fs/cgroup/memory/memory.limit_in_bytes",
                        "9223372036854771712\n",
                    ),
                ],
                Some(7000),
            ),
        ] {
            assert_eq!(memory(root(files).path()), expected, "{files:?}");
        }
    }

    #[test]
    fn this_machine_says_what_it_has() {
        let machine = Machine::look();
        assert!(machine.memory.is_some_and(|bytes| bytes > 1 << 20), "{machine:?}");
        let limits = getrlimit(Resource::Nofile);
        assert_eq!(limits.current, limits.maximum);
    }
}
