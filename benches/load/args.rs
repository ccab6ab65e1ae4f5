//! The command line: `gw-load origin`, or `gw-load drive` and what to send.

use std::net::SocketAddr;
use std::time::Duration;

/// What is asked for.
pub(crate) enum Request {
    /// Answer on this many ports until standard input ends.
    Origin { ports: usize },
    /// Send requests and report.
    Drive(Drive),
    /// Send one request on each of many connections, and keep them until standard input ends.
    Hold(Hold),
}

/// What to ask for on each connection that is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hold {
    pub(crate) target: SocketAddr,
    pub(crate) path: String,
    pub(crate) expect: u64,
    pub(crate) connections: usize,
}

/// What to send, how, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Drive {
    pub(crate) target: SocketAddr,
    pub(crate) path: String,
    /// A header field, `name:value`.
    pub(crate) header: Option<String>,
    /// Bytes of a POST's body; without it the requests are GETs.
    pub(crate) post: Option<usize>,
    /// Bytes that the body of each answer must have.
    pub(crate) expect: u64,
    pub(crate) connections: usize,
    /// Requests a second, sent when they are due whether or not earlier ones were answered; without it each
    /// connection sends its next request when the last one is answered.
    pub(crate) rate: Option<f64>,
    /// How long requests are sent before their times count.
    pub(crate) warmup: Duration,
    pub(crate) until: Until,
}

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Until {
    Elapsed(Duration),
    Requests(u64),
}

pub(crate) const USAGE: &str = "\
gw-load origin [--ports N]
gw-load drive --target ADDR --path PATH [--header NAME:VALUE] [--post BYTES] --expect BYTES [--connections N]
              [--rate PER_SECOND] [--warmup SECONDS] (--seconds SECONDS | --requests N)
gw-load hold --target ADDR --path PATH --expect BYTES [--connections N]";

/// Reads the arguments after the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Request, String> {
    let mut args = args.into_iter();
    let command = args.next().unwrap_or_default();
    let mut options = Vec::new();
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("`{name}` lacks its value"))?;
        options.push((name, value));
    }
    let mut options = Options(options);
    let request = match command.as_str() {
        "origin" => Request::Origin {
            ports: options.take("--ports")?.unwrap_or(2),
        },
        "drive" => Request::Drive(drive(&mut options)?),
        "hold" => Request::Hold(Hold {
            target: options.required("--target")?,
            path: options.required("--path")?,
            expect: options.required("--expect")?,
            connections: options.take("--connections")?.unwrap_or(1000),
        }),
        _ => return Err(format!("no command `{command}`")),
    };
    match options.0.first() {
        Some((name, _)) => Err(format!("`{command}` takes no `{name}`")),
        None => Ok(request),
    }
}

fn drive(options: &mut Options) -> Result<Drive, String> {
    let until = match (options.seconds("--seconds")?, options.take("--requests")?) {
        (Some(time), None) => Until::Elapsed(time),
        (None, Some(count)) => Until::Requests(count),
        _ => return Err("give one of `--seconds` and `--requests`".to_owned()),
    };
    Ok(Drive {
        target: options.required("--target")?,
        path: options.required("--path")?,
        header: options.take("--header")?,
        post: options.take("--post")?,
        expect: options.required("--expect")?,
        connections: options.take("--connections")?.unwrap_or(64),
        rate: options.take("--rate")?,
        warmup: options.seconds("--warmup")?.unwrap_or_default(),
        until,
    })
}

struct Options(Vec<(String, String)>);

impl Options {
    fn take<T: std::str::FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(position) = self.0.iter().position(|(given, _)| given == name) else {
            return Ok(None);
        };
        let (_, text) = self.0.swap_remove(position);
        let read = text.parse();
        read.map(Some)
            .map_err(|_| format!("`{name} {text}` is not understood"))
    }

    fn required<T: std::str::FromStr>(&mut self, name: &str) -> Result<T, String> {
        self.take(name)?.ok_or_else(|| format!("`{name}` is missing"))
    }

    fn seconds(&mut self, name: &str) -> Result<Option<Duration>, String> {
        let seconds = self.take::<f64>(name)?;
        let read = seconds.map(Duration::try_from_secs_f64).transpose();
        read.map_err(|_| format!("`{name}`: expected a number of seconds"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_drive_is_read() {
        let line = "drive --target 127.0.0.1:80 --path /a --expect 3 --seconds 1.5 --rate 800 --post 7";
        let Ok(Request::Drive(drive)) = read(line) else {
            panic!("{line}")
        };
        assert_eq!(
            (drive.path.as_str(), drive.expect, drive.connections),
            ("/a", 3, 64)
        );
        assert_eq!((drive.rate, drive.post), (Some(800.0), Some(7)));
        assert_eq!(drive.until, Until::Elapsed(Duration::from_millis(1500)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, named) in [
            ("", "no command"),
            ("drive --path /", "`--seconds` and `--requests`"),
            ("drive --path / --requests 1", "`--target`"),
            ("hold --target 127.0.0.1:80 --path /", "`--expect`"),
            ("origin --ports many", "`--ports many`"),
            ("origin --port 3", "takes no `--port`"),
            ("origin --ports", "lacks its value"),
        ] {
            assert!(read(line).is_err_and(|error| error.contains(named)), "{line}");
        }
    }
}
