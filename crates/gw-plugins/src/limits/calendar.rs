//! Counts in several calendar windows at once: all of them have room, or nothing is counted.

use crate::limits::period::Period;
use crate::limits::refused;
use crate::limits::table::Kept;
use crate::plugin::BuildError;

/// How many may pass in each calendar window; at least one window is limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits(Box<[(Period, u64)]>);

/// The limits as they are written in settings.
#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct LimitsConfig {
    pub(crate) second: Option<f64>,
    pub(crate) minute: Option<f64>,
    pub(crate) hour: Option<f64>,
    pub(crate) day: Option<f64>,
    pub(crate) month: Option<f64>,
    pub(crate) year: Option<f64>,
}

/// What one caller has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calendar {
    windows: [Window; Period::ALL.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    begin: u64,
    used: u64,
}

/// How long a call may have been under way before it is counted, in seconds. If a window lies further ahead, it is the
/// clock that was set back.
const LATE: u64 = 300;

/// What was used when a call came, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// By period; with the call, if it passes.
    pub(crate) used: [u64; Period::ALL.len()],
    /// Whether it passes.
    pub(crate) passes: bool,
}

impl Limits {
    /// Reads limits, whose place in the settings is `pointer`.
    pub(crate) fn read(config: &LimitsConfig, pointer: &str) -> Result<Self, BuildError> {
        let written = [
            config.second,
            config.minute,
            config.hour,
            config.day,
            config.month,
            config.year,
        ];
        let written = Period::ALL.into_iter().zip(written);
        let set: Vec<(Period, f64)> = written
            .filter_map(|(period, limit)| Some((period, limit?)))
            .collect();
        if set.is_empty() {
            let names = Period::ALL
                .map(|period| format!("'{}'", period.name()))
                .join(", ");
            return Err(refused(
                pointer,
                format!("at least one of these fields must be non-empty: {names}"),
            ));
        }
        for (place, (lower, less)) in set.iter().enumerate() {
            for (upper, more) in set.iter().skip(place + 1) {
                if more < less {
                    let (upper, lower) = (upper.name(), lower.name());
                    return Err(refused(
                        format!("{pointer}/{upper}"),
                        format!(
                            "The limit for {upper}({more:.1}) cannot be lower than the limit for {lower}({less:.1})"
                        ),
                    ));
                }
            }
        }
        // Note: of half a call no half passes; a call passes as long as less than the limit is used.
        let whole = |limit: f64| limit.ceil() as u64;
        Ok(Self(
            set.into_iter()
                .map(|(period, limit)| (period, whole(limit)))
                .collect(),
        ))
    }

    /// The limited periods, from the shortest.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Period, u64)> + '_ {
        self.0.iter().copied()
    }
}

impl Calendar {
    /// Counts `amount` in every limited window, if each has room for it, at `now` in Unix seconds.
    pub(crate) fn take(&mut self, limits: &Limits, amount: u64, now: u64) -> Usage {
        let mut usage = self.usage(limits, now);
        usage.passes = limits
            .iter()
            .all(|(period, limit)| usage.used[period as usize].saturating_add(amount) <= limit);
        if usage.passes {
            self.add(limits, amount, now);
            for (period, _) in limits.iter() {
                usage.used[period as usize] = self.windows[period as usize].used;
            }
        }
        usage
    }

    /// Counts `amount` in every limited window, room or not.
    pub(crate) fn add(&mut self, limits: &Limits, amount: u64, now: u64) {
        for (period, _) in limits.iter() {
            let window = self.window(period, now);
            window.used = window.used.saturating_add(amount);
        }
    }

    /// Takes back what was counted at `now`, as far as its windows last.
    pub(crate) fn take_back(&mut self, limits: &Limits, amount: u64, now: u64) {
        for (period, _) in limits.iter() {
            let window = &mut self.windows[period as usize];
            if window.begin == period.begin(now) {
                window.used = window.used.saturating_sub(amount);
            }
        }
    }

    /// What is used; `passes` as long as each limited window has any room.
    pub(crate) fn usage(&mut self, limits: &Limits, now: u64) -> Usage {
        let mut usage = Usage {
            used: [0; Period::ALL.len()],
            passes: true,
        };
        for (period, limit) in limits.iter() {
            let used = self.window(period, now).used;
            usage.used[period as usize] = used;
            usage.passes &= used < limit;
        }
        usage
    }

    /// Raises what is used in the window that begins at `begin`, if that is the one that is counted in.
    pub(crate) fn raise(&mut self, period: Period, begin: u64, used: u64) {
        let window = &mut self.windows[period as usize];
        if window.begin == begin {
            window.used = window.used.max(used);
        }
    }

    /// The window that `now` lies in; or the later one, if one has begun while the call was under way.
    fn window(&mut self, period: Period, now: u64) -> &mut Window {
        let window = &mut self.windows[period as usize];
        let begin = period.begin(now);
        let latest = period.end(begin).max(begin.saturating_add(LATE));
        if window.begin < begin || window.begin > latest {
            *window = Window { begin, used: 0 };
        }
        window
    }
}

impl Kept for Calendar {
    fn is_over(&self, now: u64) -> bool {
        let mut windows = Period::ALL.into_iter().zip(&self.windows);
        windows.all(|(period, window)| window.used == 0 || period.end(window.begin) <= now / 1000)
    }

    fn weight(&self) -> u64 {
        self.windows.iter().map(|window| window.used).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn limits(settings: serde_json::Value) -> Result<Limits, BuildError> {
        Limits::read(&serde_json::from_value(settings).unwrap(), "")
    }

    #[test]
    fn limits_are_set_and_do_not_fall() {
        assert_eq!(
            limits(json!({ "minute": 1.5, "year": 20 })).unwrap(),
            Limits(Box::new([(Period::Minute, 2), (Period::Year, 20)]))
        );
        for (settings, pointer, message) in [
            (
                json!({}),
                "",
                "at least one of these fields must be non-empty: 'second', 'minute', 'hour', 'day', 'month', 'year'",
            ),
            (
                json!({ "second": 5, "minute": 10, "day": 9 }),
                "/day",
                "The limit for day(9.0) cannot be lower than the limit for minute(10.0)",
            ),
        ] {
            let Err(BuildError::Setting {
                pointer: at,
                message: said,
            }) = limits(settings)
            else {
                panic!("refused")
            };
            assert_eq!((&*at, &*said), (pointer, message));
        }
    }

    #[test]
    fn all_windows_have_room_or_nothing_is_counted() {
        let limits = limits(json!({ "second": 2, "minute": 3 })).unwrap();
        let mut calendar = Calendar::default();
        let mut used = |now| {
            let usage = calendar.take(&limits, 1, now);
            (usage.passes, usage.used[0], usage.used[1])
        };
        assert_eq!(used(60), (true, 1, 1));
        assert_eq!(used(60), (true, 2, 2));
        assert_eq!(used(60), (false, 2, 2));
        assert_eq!(used(61), (true, 1, 3));
        assert_eq!(
            used(61),
            (false, 1, 3),
            "the minute is used up, and the second is not counted"
        );
        assert_eq!(used(120), (true, 1, 1));
        assert_eq!(
            used(119),
            (true, 2, 2),
            "a call that began before the window counts in it"
        );
        assert_eq!(used(60), (false, 2, 2), "also one that was under way for long");
        assert_eq!(used(121), (true, 1, 3));
        assert_eq!(used(121), (false, 1, 3));
        let mut ahead = Calendar::default();
        assert!(ahead.take(&limits, 2, 1_000_000).passes);
        assert!(ahead.take(&limits, 2, 60).passes, "the clock was set back");
    }

    #[test]
    fn what_is_taken_back_is_free_again() {
        let limits = limits(json!({ "minute": 3 })).unwrap();
        let mut calendar = Calendar::default();
        assert!(calendar.take(&limits, 3, 60).passes);
        calendar.take_back(&limits, 2, 60);
        assert_eq!(calendar.usage(&limits, 61).used[1], 1);
        calendar.take_back(&limits, 1, 59);
        assert_eq!(calendar.usage(&limits, 61).used[1], 1, "of another window");
        assert!(!calendar.is_over(119_999));
        assert!(calendar.is_over(120_000));
    }
}
