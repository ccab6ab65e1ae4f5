//! Calendar windows in UTC: the second, minute, hour, day, month and year that a moment lies in.

/// A calendar window's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Period {
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Year,
}

/// Seconds of a day.
const DAY: u64 = 86_400;

impl Period {
    pub(crate) const ALL: [Self; 6] = [
        Self::Second,
        Self::Minute,
        Self::Hour,
        Self::Day,
        Self::Month,
        Self::Year,
    ];

    /// Its name in settings.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// When the window that `now` lies in begins, in Unix seconds.
    pub(crate) fn begin(self, now: u64) -> u64 {
        match self {
            Self::Second => now,
            Self::Minute => now - now % 60,
            Self::Hour => now - now % 3600,
            Self::Day => now - now % DAY,
            Self::Month => {
                let (year, month) = year_and_month(now / DAY);
                days_before(year, month) * DAY
            }
            Self::Year => days_before(year_and_month(now / DAY).0, 1) * DAY,
        }
    }

    /// When the window that begins at `begin` ends.
    pub(crate) fn end(self, begin: u64) -> u64 {
        match self {
            Self::Second => begin.saturating_add(1),
            Self::Minute => begin.saturating_add(60),
            Self::Hour => begin.saturating_add(3600),
            Self::Day => begin.saturating_add(DAY),
            Self::Month => match year_and_month(begin / DAY) {
                (year, 12) => days_before(year + 1, 1) * DAY,
                (year, month) => days_before(year, month + 1) * DAY,
            },
            Self::Year => days_before(year_and_month(begin / DAY).0 + 1, 1) * DAY,
        }
    }
}

/// The year and month (1 to 12) of a day, counted from 1970-01-01. Bound: no clock is past the year 200 000 000.
fn year_and_month(day: u64) -> (u64, u64) {
    // Years that begin in March have the leap day at their end; 719 468 days lie between 0000-03-01 and 1970-01-01.
    let day = day.min(73_048_000_000) + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let year = era * 400 + year_of_era;
    match month_from_march {
        0..=9 => (year, month_from_march + 3),
        _ => (year + 1, month_from_march - 9),
    }
}

/// How many days lie between 1970-01-01 and the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    let (year, month_from_march) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let year_of_era = year % 400;
    let day_of_year = (153 * month_from_march + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (year / 400 * 146_097 + day_of_era).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_the_calendars() {
        // 2024-02-29T23:59:59Z, 2023-12-31T12:34:56Z, 1970-01-01T00:00:00Z, 2100-02-28T00:00:01Z.
        let rows: [(u64, [(u64, u64); 6]); 4] = [
            (
                1_709_251_199,
                [
                    (1_709_251_199, 1_709_251_200),
                    (1_709_251_140, 1_709_251_200),
                    (1_709_247_600, 1_709_251_200),
                    (1_709_164_800, 1_709_251_200),
                    (1_706_745_600, 1_709_251_200),
                    (1_704_067_200, 1_735_689_600),
                ],
            ),
            (
                1_704_026_096,
                [
                    (1_704_026_096, 1_704_026_097),
                    (1_704_026_040, 1_704_026_100),
                    (1_704_024_000, 1_704_027_600),
                    (1_703_980_800, 1_704_067_200),
                    (1_701_388_800, 1_704_067_200),
                    (1_672_531_200, 1_704_067_200),
                ],
            ),
            (
                0,
                [
                    (0, 1),
                    (0, 60),
                    (0, 3600),
                    (0, 86_400),
                    (0, 2_678_400),
                    (0, 31_536_000),
                ],
            ),
            (
                4_107_456_001,
                [
                    (4_107_456_001, 4_107_456_002),
                    (4_107_456_000, 4_107_456_060),
                    (4_107_456_000, 4_107_459_600),
                    (4_107_456_000, 4_107_542_400),
                    (4_105_123_200, 4_107_542_400),
                    (4_102_444_800, 4_133_980_800),
                ],
            ),
        ];
        for (now, windows) in rows {
            for (period, (begin, end)) in Period::ALL.into_iter().zip(windows) {
                assert_eq!(period.begin(now), begin, "{period:?} of {now}");
                assert_eq!(period.end(begin), end, "{period:?} of {now}");
            }
        }
    }

    #[test]
    fn windows_follow_one_another_without_gap() {
        let mut begin = 0;
        for _ in 0..12 * 600 {
            let end = Period::Month.end(begin);
            assert_eq!(
                (Period::Month.begin(end - 1), Period::Month.begin(end)),
                (begin, end)
            );
            begin = end;
        }
        assert_eq!(Period::Year.begin(begin), begin, "600 years have whole months");
        for period in Period::ALL {
            let begin = period.begin(u64::MAX);
            assert!(period.end(begin) >= begin, "no clock makes it panic");
        }
    }
}
