//! What a process has: memory, descriptors, threads; and whether that grows.

use std::fs;
use std::time::Duration;

/// What it has at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    /// In MiB.
    pub(crate) resident: f64,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
}

/// All of a soak.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<(Duration, Sample)>);

/// Bound: what counts as growth of memory between the second and the last quarter, in MiB and as a part.
const GROWTH: (f64, f64) = (6.0, 0.15);

/// Bound: descriptors more than before, once all clients are gone and no connection is kept any more.
const LEFT: usize = 4;

pub(crate) fn take(pid: u32) -> Result<Sample, String> {
    let gone = |error: std::io::Error| format!("the gateway cannot be looked at: {error}");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(gone)?;
    let number = |name: &str| -> Option<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Ok(Sample {
        resident: number("VmRSS:").unwrap_or_default() / 1024.0,
        descriptors: fs::read_dir(format!("/proc/{pid}/fd")).map_err(gone)?.count(),
        threads: number("Threads:").unwrap_or_default() as usize,
    })
}

impl Samples {
    pub(crate) fn push(&mut self, at: Duration, sample: Sample) {
        self.0.push((at, sample));
    }

    pub(crate) fn all(&self) -> &[(Duration, Sample)] {
        &self.0
    }

    /// The median of each in the first to the fourth quarter, 0 to 3.
    pub(crate) fn quarter(&self, part: usize) -> Sample {
        let length = self.0.len();
        let of = self
            .0
            .get(length * part / 4..length * (part + 1) / 4)
            .unwrap_or_default();
        let median = |value: fn(&Sample) -> f64| {
            let mut values: Vec<f64> = of.iter().map(|(_, sample)| value(sample)).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        Sample {
            resident: median(|sample| sample.resident),
            descriptors: median(|sample| sample.descriptors as f64) as usize,
            threads: median(|sample| sample.threads as f64) as usize,
        }
    }

    /// What has grown.
    pub(crate) fn faults(&self, idle: Sample, rest: Sample) -> Vec<String> {
        let (early, late) = (self.quarter(1), self.quarter(3));
        let mut faults = Vec::new();
        if late.resident > early.resident + GROWTH.0.max(early.resident * GROWTH.1) {
            faults.push(format!(
                "memory grew from {:.1} to {:.1} MiB",
                early.resident, late.resident
            ));
        }
        if late.descriptors > early.descriptors + early.descriptors / 2 + 20 {
            faults.push(format!(
                "descriptors grew from {} to {}",
                early.descriptors, late.descriptors
            ));
        }
        if rest.descriptors > idle.descriptors + LEFT {
            faults.push(format!(
                "{} descriptors were left, {} at first",
                rest.descriptors, idle.descriptors
            ));
        }
        if late.threads > idle.threads + 8 {
            faults.push(format!("threads grew from {} to {}", idle.threads, late.threads));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(resident: impl Fn(f64) -> f64, descriptors: impl Fn(usize) -> usize) -> Samples {
        let mut samples = Samples::default();
        for second in 0..100_u32 {
            let sample = Sample {
                resident: resident(f64::from(second)),
                descriptors: descriptors(second as usize),
                threads: 5,
            };
            samples.push(Duration::from_secs(second.into()), sample);
        }
        samples
    }

    #[test]
    fn only_what_grows_is_found_fault_with() {
        let idle = Sample {
            resident: 10.0,
            descriptors: 20,
            threads: 5,
        };
        let flat = samples(|second| 40.0 + second % 3.0, |_| 200);
        assert_eq!(flat.faults(idle, idle), Vec::<String>::new());
        let memory = samples(|second| 40.0 + second / 2.0, |_| 200);
        assert_eq!(memory.faults(idle, idle).len(), 1);
        let descriptors = samples(|_| 40.0, |second| 100 + 10 * second);
        assert_eq!(descriptors.faults(idle, idle).len(), 1);
        let left = Sample {
            descriptors: 90,
            ..idle
        };
        assert_eq!(flat.faults(idle, left).len(), 1);
    }

    #[test]
    fn a_process_has_memory_descriptors_and_threads() {
        let own = take(std::process::id()).unwrap();
        assert!(
            own.resident > 1.0 && own.descriptors > 2 && own.threads > 0,
            "{own:?}"
        );
    }
}
