//! `Cache-Control`, of requests and of responses, and how long a response is fresh (RFC 9111, RFC 5861).

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderValue};

/// Bound: what a number of seconds larger than this is taken for, as RFC 9111 has it.
const LONGEST: u64 = 1 << 31;

/// What a `Cache-Control` says, as far as a shared cache heeds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) only_if_cached: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) max_age: Option<Duration>,
    pub(super) s_maxage: Option<Duration>,
    pub(super) min_fresh: Option<Duration>,
    /// How stale it may be; without a number, however stale.
    pub(super) max_stale: Option<Duration>,
    pub(super) stale_if_error: Option<Duration>,
}

impl Directives {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            for directive in split(line.as_bytes()) {
                let (name, argument) = match directive.iter().position(|byte| *byte == b'=') {
                    Some(at) => (&directive[..at], Some(&directive[at + 1..])),
                    None => (directive, None),
                };
                directives.take(name.trim_ascii(), argument.map(<[u8]>::trim_ascii));
            }
        }
        directives
    }

    fn take(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        // What cannot be read is taken for the least; of several the least counts.
        let seconds = argument.map_or(Duration::ZERO, seconds);
        let least = |known: Option<Duration>| Some(known.map_or(seconds, |known| known.min(seconds)));
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache = true; // Note: one that names fields is heeded as one that names none.
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("private") {
            self.private = true;
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("max-age") {
            self.max_age = least(self.max_age);
        } else if is("s-maxage") {
            self.s_maxage = least(self.s_maxage);
        } else if is("min-fresh") {
            self.min_fresh = Some(seconds);
        } else if is("max-stale") {
            self.max_stale = Some(match argument {
                Some(_) => seconds,
                None => Duration::from_secs(LONGEST),
            });
        } else if is("stale-if-error") {
            self.stale_if_error = least(self.stale_if_error);
        }
    }

    /// How long a response with these headers is fresh, if it says so.
    pub(super) fn lifetime(&self, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
        if let Some(told) = self.s_maxage.or(self.max_age) {
            return Some(told);
        }
        let expires = headers.get_all(EXPIRES).iter().next_back()?;
        let Some(expires) = date(Some(expires)) else {
            return Some(Duration::ZERO); // `0`, say: it has expired
        };
        let date = date(headers.get(DATE)).unwrap_or(now);
        let most = Duration::from_secs(LONGEST);
        Some(expires.duration_since(date).unwrap_or_default().min(most))
    }

    /// Whether a request that shows who it is from may be answered with what another's brought.
    pub(super) fn is_for_all(&self) -> bool {
        self.public || self.must_revalidate || self.s_maxage.is_some()
    }

    /// Whether a response is not used once it is stale.
    pub(super) fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache || self.s_maxage.is_some()
    }
}

/// How old a response is that was asked for at `now`.
pub(super) fn age(headers: &HeaderMap, now: SystemTime) -> Duration {
    let told = headers
        .get(AGE)
        .map_or(Duration::ZERO, |age| seconds(age.as_bytes()));
    let apparent = date(headers.get(DATE)).map(|date| now.duration_since(date).unwrap_or_default());
    told.max(apparent.unwrap_or_default())
}

pub(super) fn date(value: Option<&HeaderValue>) -> Option<SystemTime> {
    httpdate::parse_http_date(value?.to_str().ok()?).ok()
}

fn seconds(text: &[u8]) -> Duration {
    let text = text.strip_prefix(b"\"").unwrap_or(text);
    let text = text.strip_suffix(b"\"").unwrap_or(text);
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(text).ok().filter(|_| is_number);
    let seconds = number.map_or(0, |number| number.parse().unwrap_or(LONGEST));
    Duration::from_secs(seconds.min(LONGEST))
}

/// The parts of a list; a comma within quotes parts nothing.
fn split(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    line.split(move |byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn read(text: &str) -> Directives {
        Directives::of(&headers(&[("cache-control", text)]))
    }

    const fn secs(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn directives_are_read_whatever_their_case_and_quotes() {
        let known = read(r#"Max-Age=10 , S-MAXAGE="20",no-cache="a, private", x=y,, must-revalidate"#);
        let expected = Directives {
            max_age: secs(10),
            s_maxage: secs(20),
            no_cache: true,
            must_revalidate: true,
            ..Directives::default()
        };
        assert_eq!(known, expected);
        assert_eq!(read("max-stale").max_stale, secs(LONGEST));
        assert_eq!(read("max-stale=5").max_stale, secs(5));
    }

    #[test]
    fn what_cannot_be_read_is_the_least_and_what_is_huge_is_bounded() {
        for (text, age) in [
            ("max-age", 0),
            ("max-age=x", 0),
            ("max-age=-1", 0),
            ("max-age=1.5", 0),
            ("max-age=99999999999999999999999", LONGEST),
            ("max-age=7, max-age=3", 3),
        ] {
            assert_eq!(read(text).max_age, secs(age), "{text}");
        }
    }

    #[test]
    fn freshness_is_told_by_s_maxage_max_age_or_expires() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let date = ("date", "Sun, 06 Nov 1994 08:49:30 GMT");
        let later = ("expires", "Sun, 06 Nov 1994 08:50:00 GMT");
        for (lines, lifetime) in [
            (vec![], None),
            (vec![("cache-control", "max-age=5, s-maxage=9"), later], secs(9)),
            (vec![("cache-control", "max-age=5"), later], secs(5)),
            (vec![later], secs(23)),
            (vec![later, date], secs(30)),
            (vec![("expires", "0")], secs(0)),
            (vec![("expires", "Sun, 06 Nov 1994 08:00:00 GMT")], secs(0)),
        ] {
            let headers = headers(&lines);
            assert_eq!(
                Directives::of(&headers).lifetime(&headers, now),
                lifetime,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn age_is_the_greater_of_what_is_told_and_what_appears() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let date = ("date", "Sun, 06 Nov 1994 08:49:27 GMT");
        for (lines, expected) in [
            (vec![], 0),
            (vec![("age", "3")], 3),
            (vec![date], 10),
            (vec![date, ("age", "30")], 30),
            (vec![("date", "Sun, 06 Nov 1994 09:49:27 GMT")], 0),
            (vec![("age", "old")], 0),
        ] {
            assert_eq!(
                age(&headers(&lines), now),
                Duration::from_secs(expected),
                "{lines:?}"
            );
        }
    }
}
