//! The text of one access log line.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Record;

/// The text of the current second: made once, used by its lines.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: u64,
    text: [u8; 19],
}

pub(super) fn write(out: &mut Vec<u8>, clock: &mut Clock, record: &Record<'_>) {
    out.extend_from_slice(b"{\"time\":\"");
    clock.write(out, record.time);
    out.push(b'"');
    text(out, "request_id", record.request_id);
    if let Some(parent) = record.parent {
        text(out, "parent_id", parent);
    }
    address(out, record);
    match record.sni {
        Some(name) => {
            text(out, "protocol", "tls_passthrough");
            text(out, "sni", name);
        }
        None => {
            text(out, "method", record.method);
            text(out, "path", record.target);
            bytes(out, "host", record.host);
        }
    }
    if let Some((verdict, subject)) = record.client_verify {
        bytes(out, "client_verify", verdict);
        if !subject.is_empty() {
            text(out, "client_dn", subject);
        }
    }
    number(out, "status", record.status.into());
    number(out, "bytes_in", record.bytes_in);
    number(out, "bytes_out", record.bytes_out);
    millis(out, "total_ms", record.total);
    if let Some(upstream) = record.upstream {
        millis(out, "upstream_ms", upstream);
    }
    millis(
        out,
        "proxy_ms",
        record.total.saturating_sub(record.upstream.unwrap_or_default()),
    );
    for (name, value) in [
        ("route", record.route),
        ("service", record.service),
        ("consumer", record.consumer),
    ] {
        if let Some(value) = value {
            text(out, name, value);
        }
    }
    number(out, "revision", record.revision);
    tries(out, record);
    if let Some(failure) = record.failure {
        text(out, "failure", failure);
    }
    if record.aborted {
        out.extend_from_slice(b",\"aborted\":true");
    }
    out.extend_from_slice(b"}\n");
}

fn tries(out: &mut Vec<u8>, record: &Record<'_>) {
    if record.tries.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"tries\":[");
    for (place, attempt) in record.tries.iter().enumerate() {
        out.extend_from_slice(if place == 0 {
            b"{\"target\":"
        } else {
            b",{\"target\":"
        });
        quoted(out, attempt.target.label.as_bytes());
        text(out, "outcome", attempt.outcome.name());
        if let Some(status) = attempt.outcome.status() {
            number(out, "status", status.into());
        }
        millis(out, "ms", attempt.elapsed);
        out.push(b'}');
    }
    out.push(b']');
}

fn address(out: &mut Vec<u8>, record: &Record<'_>) {
    out.extend_from_slice(b",\"client\":\"");
    // Writing to memory does not fail.
    if write!(
        out,
        "{}",
        std::net::SocketAddr::new(record.client, record.client_port)
    )
    .is_ok()
    {
        out.push(b'"');
    }
}

fn name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn text(out: &mut Vec<u8>, field: &str, value: &str) {
    name(out, field);
    quoted(out, value.as_bytes());
}

fn bytes(out: &mut Vec<u8>, field: &str, value: &[u8]) {
    name(out, field);
    quoted(out, value);
}

fn number(out: &mut Vec<u8>, field: &str, value: u64) {
    name(out, field);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Milliseconds with three decimals.
fn millis(out: &mut Vec<u8>, field: &str, value: Duration) {
    name(out, field);
    let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
    out.extend_from_slice(itoa::Buffer::new().format(micros / 1000).as_bytes());
    out.push(b'.');
    digits(out, micros % 1000, 3);
}

fn digits(out: &mut Vec<u8>, value: u64, width: u32) {
    for place in (0..width).rev() {
        out.push(b'0' + (value / 10_u64.pow(place) % 10) as u8);
    }
}

/// A JSON text. What is not UTF-8 becomes the replacement character.
fn quoted(out: &mut Vec<u8>, value: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for chunk in value.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                0..0x20 | 0x7f => {
                    out.extend_from_slice(b"\\u00");
                    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
                }
                _ => out.push(byte),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

impl Clock {
    /// `2024-05-06T07:08:09.123Z`.
    fn write(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if since.as_secs() != self.second || self.text[0] == 0 {
            self.second = since.as_secs();
            self.text = second(self.second);
        }
        out.extend_from_slice(&self.text);
        out.push(b'.');
        digits(out, since.subsec_millis().into(), 3);
        out.push(b'Z');
    }
}

fn second(unix: u64) -> [u8; 19] {
    let (days, rest) = (unix / 86_400, unix % 86_400);
    let (year, month, day) = civil(days);
    let mut text = Vec::with_capacity(19);
    let fields = [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (rest / 3600, 2, b':'),
        (rest / 60 % 60, 2, b':'),
        (rest % 60, 2, b'Z'),
    ];
    for (value, width, separator) in fields {
        digits(&mut text, value, width);
        text.push(separator);
    }
    text.truncate(19);
    text.try_into().unwrap_or([b'0'; 19])
}

/// Days since 1970 to year, month, day: Howard Hinnant's `civil_from_days`, for days after the epoch.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::attempt::{Try, TryOutcome};
    use crate::cell::Member;

    fn written(record: &Record<'_>) -> Value {
        let mut out = Vec::new();
        write(&mut out, &mut Clock::default(), record);
        assert_eq!(out.pop(), Some(b'\n'));
        serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out)))
    }

    fn attempt(outcome: TryOutcome, micros: u64) -> Try {
        let address = "127.0.0.1:9001".parse().unwrap();
        let target = Member::plain(address, "127.0.0.1:9001");
        Try {
            target: Arc::new(target),
            outcome,
            elapsed: Duration::from_micros(micros),
        }
    }

    #[test]
    fn a_line_has_everything_an_operator_looks_for() {
        let tries = [
            attempt(TryOutcome::ConnectFailed, 90),
            attempt(TryOutcome::Answered(200), 12_345),
        ];
        let record = Record {
            time: UNIX_EPOCH + Duration::from_millis(1_709_209_445_067),
            request_id: "8f3c",
            parent: None,
            client: "::1".parse().unwrap(),
            client_port: 5000,
            method: "GET",
            target: "/a?b",
            sni: None,
            client_verify: None,
            host: b"example.com",
            status: 200,
            bytes_in: 1,
            bytes_out: 2,
            total: Duration::from_micros(13_001),
            upstream: Some(Duration::from_micros(12_500)),
            route: Some("r"),
            service: Some("s"),
            consumer: Some("c"),
            revision: 7,
            tries: &tries,
            failure: Some("no_peer"),
            aborted: true,
        };
        let expected = json!({
            "time": "2024-02-29T12:24:05.067Z", "request_id": "8f3c", "client": "[::1]:5000", "method": "GET",
            "path": "/a?b", "host": "example.com", "status": 200, "bytes_in": 1, "bytes_out": 2,
            "total_ms": 13.001, "upstream_ms": 12.5, "proxy_ms": 0.501, "route": "r", "service": "s",
            "consumer": "c", "revision": 7, "failure": "no_peer", "aborted": true,
            "tries": [
                { "target": "127.0.0.1:9001", "outcome": "connect_failed", "ms": 0.09 },
                { "target": "127.0.0.1:9001", "outcome": "answered", "status": 200, "ms": 12.345 },
            ],
        });
        assert_eq!(written(&record), expected);
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let line = written(&Record::default());
        for absent in [
            "upstream_ms",
            "route",
            "service",
            "consumer",
            "tries",
            "failure",
            "aborted",
        ] {
            assert!(line.get(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn nothing_a_client_sends_breaks_the_line() {
        let host = b"a\"\\\n\x01\x7f\xff\xc3\xa9";
        let line = written(&Record {
            target: "/\"\u{7}\\",
            host,
            ..Record::default()
        });
        assert_eq!(line["path"], "/\"\u{7}\\");
        assert_eq!(line["host"], "a\"\\\n\u{1}\u{7f}\u{fffd}\u{e9}");
    }

    #[test]
    fn dates_are_civil() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (4_107_542_399, "2100-02-28T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(std::str::from_utf8(&second(unix)).unwrap(), text);
        }
    }
}
