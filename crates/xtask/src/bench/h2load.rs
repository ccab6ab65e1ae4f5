//! `h2load` of nghttp2: TLS, HTTP/2 and calls of gRPC, by a load generator that is not ours.

use std::io::Write as _;
use std::process::Command;

use super::load::Report;
use crate::programs;

/// When it stops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Until {
    Seconds(f64),
    Requests(u32),
}

/// A message of gRPC: not compressed, five bytes long.
const MESSAGE: &[u8] = b"\0\0\0\0\x05hello";

/// Runs it with its arguments for what is sent and where.
pub(crate) fn run(
    requests: &[String],
    connections: u32,
    streams: u32,
    until: &Until,
) -> Result<Report, String> {
    let h2load = programs::find("h2load").ok_or("h2load is not installed")?;
    let mut command = Command::new(h2load);
    command
        .args([
            "-t",
            "1",
            "-c",
            &connections.to_string(),
            "-m",
            &streams.to_string(),
        ])
        .args(["--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519"]);
    match until {
        // It counts in whole seconds.
        Until::Seconds(seconds) => command.args(["-D", &seconds.ceil().max(1.0).to_string()]),
        Until::Requests(count) => command.args(["-n", &count.to_string()]),
    };
    let mut message = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    if requests.iter().any(|word| word.ends_with("application/grpc")) {
        message.write_all(MESSAGE).map_err(|error| error.to_string())?;
        command.arg("-d").arg(message.path());
    }
    let output = command
        .args(requests)
        .output()
        .map_err(|error| format!("cannot start h2load: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("h2load ended with {}: {said}", output.status));
    }
    parse(&said)
}

/// Times of single requests are not in what it says.
fn parse(said: &str) -> Result<Report, String> {
    let report = || -> Option<(f64, f64, f64, f64)> {
        let requests = said.lines().find_map(|line| line.strip_prefix("requests: "))?;
        let count = |name: &str| -> Option<f64> {
            let part = requests.split(", ").find_map(|part| part.strip_suffix(name))?;
            part.trim().parse().ok()
        };
        let finished = said.lines().find_map(|line| line.strip_prefix("finished in "))?;
        let rate = finished
            .split(", ")
            .find_map(|part| part.strip_suffix(" req/s"))?;
        let bad = count("failed")? + count("errored")? + count("timeout")?;
        Some((count("done")?, count("succeeded")?, bad, rate.parse().ok()?))
    };
    let (done, succeeded, bad, per_second) =
        report().ok_or_else(|| format!("what h2load says is not understood: {said}"))?;
    if bad > 0.0 || succeeded < done || done <= 0.0 {
        return Err(format!("requests failed: {said}"));
    }
    Ok(Report {
        answered: done,
        per_second,
        p50: f64::NAN,
        p99: f64::NAN,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
finished in 2.00s, 61234.50 req/s, 3.45MB/s
requests: 122469 total, 122725 started, 122469 done, 122469 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 122469 2xx, 0 3xx, 0 4xx, 0 5xx
";

    #[test]
    fn what_it_says_is_read() {
        let report = parse(SAID).unwrap();
        assert_eq!((report.answered, report.per_second), (122_469.0, 61_234.5));
    }

    #[test]
    fn a_failure_is_one() {
        for said in [
            SAID.replace("0 failed", "3 failed"),
            SAID.replace("0 timeout", "1 timeout"),
            SAID.replace("122469 succeeded", "122000 succeeded"),
            SAID.replace("requests:", "answers:"),
            String::new(),
        ] {
            assert!(parse(&said).is_err(), "{said}");
        }
    }
}
