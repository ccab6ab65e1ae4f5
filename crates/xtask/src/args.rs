//! The command line.

use crate::bench::{self, many};
use crate::{fuzz, soak};

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum Request {
    /// Run the suite.
    Test { install: bool },
    /// Measure the gateway beside other proxies.
    BenchProxy(bench::Options),
    /// Measure starts with many routes.
    BenchStart(many::Options),
    /// Measure changes among many routes.
    BenchChange(many::Options),
    /// Measure what changes cost requests.
    BenchChurn(many::Options),
    /// Try the Admin API.
    ApiFuzz(fuzz::Options),
    /// Let everything change for a while.
    Soak(soak::Options),
    /// Print this.
    Help(&'static str),
}

const HELP: &str = "\
The workspace's chores.

Usage: cargo xtask <command>

Commands:
  test         Run everything that must pass: format, lints, benches, tests, documentation
  bench proxy  Measure the gateway beside nginx, and HAProxy where it is installed
  bench start  Measure starts of the gateway with many routes; `bench change` and `bench churn`: changes among them
  api-fuzz     Send the Admin API requests of every shape and hold its answers against its description
  soak         Run the gateway under churn of everything, and watch for losses and growth

`cargo xtask <command> --help` says more of a command.
";

const TEST_HELP: &str = "\
Runs everything that must pass before a change is done, stopping at the first failure:

  fmt      cargo fmt --all --check
  clippy   cargo clippy --workspace --all-targets -- -D warnings
  benches  cargo test --package gw-benches --benches      each bench once, for its assertions
  test     cargo test --workspace                         unit, integration and doc tests; builds the examples
  doc      cargo doc --workspace --no-deps --quiet        with RUSTDOCFLAGS=\"-D warnings\"

What tests start beside our own programs (etcd, redis-server, nginx, dnsmasq, valgrind, strace) is installed first where it is missing,
with apt, as root or by sudo; no daemon is started. Tests run with GW_REQUIRE_SERVERS=1: one that needs a server fails
where it would else end early. The open clients that drive the Admin API come from PyPI, in pinned versions, into a
virtual environment below the target directory; GW_PYTHON tells tests which interpreter has them.

Usage: cargo xtask test [--no-install]

Options:
  --no-install  Install nothing: where a server, a client, rustfmt or clippy is missing, say so and stop
  -h, --help    Print this
";

const FUZZ_HELP: &str = "\
Starts gateways with one entity of every kind and has schemathesis (from PyPI, pinned, in a virtual environment below the
target directory) try every operation of /openapi.json. It finds fault with every 5xx and with every answer whose status,
type, headers or body are not described there; with a gateway that ends, complains in its log, or does not start again on
what it was made to store; and with a run in which most operations only ever refused. Fails if there is any such fault.

Usage: cargo xtask api-fuzz [options]

Options:
  --max-examples <N>  Requests made up for an operation, beside those its schema suggests [default: 10]
  --seed <S>          Which requests: the same ones for the same number [default: 1]
  --no-install        Install nothing: where Python or schemathesis is missing, say so and stop
  -h, --help          Print this
";

const BENCH_HELP: &str = "\
Measures gw-server (profile `dist`) beside nginx, which does the same work or nothing but proxy, and beside HAProxy where
it is installed: 2 workers each, two upstream targets, in interleaved rounds of one run. Only ratios within a run mean
anything. Writes benches/results/proxy.json and proxy.svg (proxy-quick.* with --quick), prints tables and, without --quick,
puts them into benches/README.md and docs/performance.md. TLS, HTTP/2 and gRPC are sent by h2load.

Usage: cargo xtask bench proxy [options]

Options:
  --quick            A look, not a record: two short rounds, under a minute once everything is built
  --rounds <N>       Rounds; each measures every proxy once in every scenario [default: 5]
  --seconds <S>      How long one measurement lasts [default: 3]
  --only <SCENARIO>  small, full, 64k, post, log, tls, handshake, h2, grpc or open; may be repeated [default: all]
  --bin <FILE>       Measure this gw-server instead of building one
  --also <FILE>      Measure a second gw-server, such as one from before a change; may be repeated
  --no-install       Install nothing: where nginx, h2load or openssl is missing, say so and stop
  -h, --help         Print this
";

const MANY_HELP: &str = "\
Measures gw-server (profile `release`) with many routes in its store, 100 to a service, and prints a table.

  start   From starting it to its first proxied answer: time, time on processors, memory; round by round
  change  From asking for another path of a route to the answer, which comes when that is served and stored: right after
          filling the store and after a start, on the disk and, where there is /dev/shm, without waiting for a disk
  churn   Slices of time at rest, with 50 questions a second to the Admin API and with 50 changes a second, by turns, under
          4,000 requests a second; fails if a request fails, p99 with changes is above 1.2 of that at rest, changes cannot
          keep pace or memory grows

Usage: cargo xtask bench start|change|churn [options]

Options:
  --routes <N>   Routes in the store [default: 100000; churn: 5000]
  --rounds <N>   Starts, or slices of churn [default: 7; churn: 12]
  --changes <N>  Changes of `change`, in each place [default: 300]
  --seconds <S>  How long a slice of `churn` is [default: 10]
  --bin <FILE>   Measure this gw-server instead of building one
  --also <FILE>  Measure a second gw-server, such as one from before a change; may be repeated
  -h, --help     Print this
";

const SOAK_HELP: &str = "\
Starts gw-server (profile `release`) and lets everything change at once: connections of HTTP/1.1, HTTP/2, TLS and WebSocket that
come, are cut and crawl; routes, targets, plugins and certificates through the Admin API; upstreams that die and come back, one
of three at a time. Samples memory, descriptors and threads each second, and fails if a request is lost that should not be, or
if any of them grows. Writes docs/soak.svg and prints tables.

Usage: cargo xtask soak [options]

Options:
  --minutes <M>  How long [default: 10]
  --bin <FILE>   Soak this gw-server instead of building one
  -h, --help     Print this
";

/// Reads the arguments after the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Request, String> {
    let args: Vec<String> = args.into_iter().collect();
    let is_help = |arg: &String| arg == "-h" || arg == "--help";
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["help"] => Ok(Request::Help(HELP)),
        ["test", ..] if args.iter().any(is_help) => Ok(Request::Help(TEST_HELP)),
        ["test", options @ ..] => match options.iter().find(|option| **option != "--no-install") {
            Some(option) => Err(format!(
                "`test` takes no `{option}`; see `cargo xtask test --help`"
            )),
            None => Ok(Request::Test {
                install: options.is_empty(),
            }),
        },
        ["api-fuzz", ..] if args.iter().any(is_help) => Ok(Request::Help(FUZZ_HELP)),
        ["api-fuzz", options @ ..] => fuzz(options)
            .map(Request::ApiFuzz)
            .map_err(|wrong| format!("{wrong}; see `cargo xtask api-fuzz --help`")),
        ["soak", ..] if args.iter().any(is_help) => Ok(Request::Help(SOAK_HELP)),
        ["soak", options @ ..] => soak(options)
            .map(Request::Soak)
            .map_err(|wrong| format!("{wrong}; see `cargo xtask soak --help`")),
        ["bench", "start" | "change" | "churn", ..] if args.iter().any(is_help) => Ok(Request::Help(MANY_HELP)),
        ["bench", which @ ("start" | "change" | "churn"), options @ ..] => many(options, which)
            .map(match *which {
                "start" => Request::BenchStart,
                "change" => Request::BenchChange,
                _ => Request::BenchChurn,
            })
            .map_err(|wrong| format!("{wrong}; see `cargo xtask bench {which} --help`")),
        ["bench", ..] if args.iter().any(is_help) => Ok(Request::Help(BENCH_HELP)),
        ["bench", "proxy", options @ ..] => bench(options)
            .map(Request::BenchProxy)
            .map_err(|wrong| format!("{wrong}; see `cargo xtask bench --help`")),
        ["bench", ..] => {
            Err("`bench` takes `proxy`, `start`, `change` or `churn`; criterion's benches run with `cargo bench -p gw-benches`".to_owned())
        }
        [command, ..] if *command == "-h" || *command == "--help" => Ok(Request::Help(HELP)),
        [command, ..] => Err(format!("no command `{command}`; see `cargo xtask --help`")),
    }
}

fn fuzz(words: &[&str]) -> Result<fuzz::Options, String> {
    let mut options = fuzz::Options::default();
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` lacks its value"));
        match word {
            "--max-examples" => options.max_examples = number(word, value()?, 1.0, 100_000.0)? as u32,
            "--seed" => {
                let text = value()?;
                let seed = text.parse().ok();
                options.seed =
                    seed.ok_or_else(|| format!("`--seed {text}`: expected a whole number from 0"))?;
            }
            "--no-install" => options.install = false,
            _ => return Err(format!("`api-fuzz` takes no `{word}`")),
        }
    }
    Ok(options)
}

fn soak(words: &[&str]) -> Result<soak::Options, String> {
    let mut options = soak::Options::default();
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` lacks its value"));
        match word {
            "--minutes" => options.minutes = number(word, value()?, 0.1, 10_000.0)?,
            "--bin" => options.bin = Some(value()?.into()),
            _ => return Err(format!("`soak` takes no `{word}`")),
        }
    }
    Ok(options)
}

fn bench(words: &[&str]) -> Result<bench::Options, String> {
    let mut options = bench::Options::default();
    let (mut rounds, mut seconds) = (None, None);
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` lacks its value"));
        match word {
            "--quick" => options.quick = true,
            "--no-install" => options.install = false,
            "--rounds" => rounds = Some(number(word, value()?, 1.0, 1000.0)? as usize),
            "--seconds" => seconds = Some(number(word, value()?, 0.2, 600.0)?),
            "--only" => options.only.push(value()?.parse()?),
            "--bin" => options.bin = Some(value()?.into()),
            "--also" => options.also.push(value()?.into()),
            _ => return Err(format!("`bench proxy` takes no `{word}`")),
        }
    }
    let (default_rounds, default_seconds) = if options.quick { (2, 0.7) } else { (5, 3.0) };
    options.rounds = rounds.unwrap_or(default_rounds);
    options.seconds = seconds.unwrap_or(default_seconds);
    Ok(options)
}

fn many(words: &[&str], which: &str) -> Result<many::Options, String> {
    let is_churn = which == "churn";
    let mut options = many::Options {
        routes: if is_churn { 5000 } else { 100_000 },
        rounds: if is_churn { 12 } else { 7 },
        changes: 300,
        seconds: 10.0,
        bin: None,
        also: Vec::new(),
    };
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` lacks its value"));
        match word {
            "--routes" => options.routes = number(word, value()?, 200.0, 10_000_000.0)? as usize,
            "--rounds" => options.rounds = number(word, value()?, 1.0, 1000.0)? as usize,
            "--changes" => options.changes = number(word, value()?, 1.0, 1_000_000.0)? as usize,
            "--seconds" => options.seconds = number(word, value()?, 0.2, 600.0)?,
            "--bin" => options.bin = Some(value()?.into()),
            "--also" => options.also.push(value()?.into()),
            _ => return Err(format!("`bench {which}` takes no `{word}`")),
        }
    }
    Ok(options)
}

fn number(option: &str, text: &str, least: f64, most: f64) -> Result<f64, String> {
    let read = text.parse::<f64>().ok();
    read.filter(|value| (least..=most).contains(value))
        .ok_or_else(|| format!("`{option} {text}`: expected a number from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Scenario;
    use crate::suite;

    fn read(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    fn read_bench(line: &str) -> bench::Options {
        match read(line) {
            Ok(Request::BenchProxy(options)) => options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn commands_and_flags() {
        assert_eq!(read("test"), Ok(Request::Test { install: true }));
        assert_eq!(read("test --no-install"), Ok(Request::Test { install: false }));
        assert_eq!(read("test --no-install -h"), Ok(Request::Help(TEST_HELP)));
        assert_eq!(read("bench -h"), Ok(Request::Help(BENCH_HELP)));
        assert_eq!(read("bench proxy --quick --help"), Ok(Request::Help(BENCH_HELP)));
        for line in ["", "help", "--help", "-h"] {
            assert_eq!(read(line), Ok(Request::Help(HELP)), "{line}");
        }
    }

    #[test]
    fn a_bench_is_long_unless_it_is_to_be_quick() {
        let options = read_bench("bench proxy");
        assert_eq!((options.rounds, options.seconds, options.install), (5, 3.0, true));
        let options =
            read_bench("bench proxy --rounds 4 --quick --no-install --only post --only open --also a/b");
        assert_eq!(
            (options.rounds, options.seconds, options.install),
            (4, 0.7, false)
        );
        assert_eq!(options.only, [Scenario::Post, Scenario::Open]);
        assert_eq!(options.also, [std::path::PathBuf::from("a/b")]);
    }

    #[test]
    fn a_fuzz_is_bounded_unless_it_is_to_be_long() {
        let defaults = fuzz::Options::default();
        assert_eq!(read("api-fuzz"), Ok(Request::ApiFuzz(defaults.clone())));
        for line in [
            format!("default: {}]", defaults.max_examples),
            format!("default: {}]", defaults.seed),
        ] {
            assert!(FUZZ_HELP.contains(&line), "{line}");
        }
        let options = fuzz::Options {
            max_examples: 100,
            seed: 7,
            install: false,
        };
        let line = "api-fuzz --seed 7 --no-install --max-examples 100";
        assert_eq!(read(line), Ok(Request::ApiFuzz(options)));
        assert_eq!(read("api-fuzz --seed -h"), Ok(Request::Help(FUZZ_HELP)));
    }

    #[test]
    fn a_soak_is_as_long_as_is_said() {
        let defaults = soak::Options::default();
        assert!(SOAK_HELP.contains(&format!("default: {}]", defaults.minutes)));
        assert_eq!(read("soak"), Ok(Request::Soak(defaults)));
        let options = soak::Options {
            minutes: 0.5,
            bin: Some("a/b".into()),
        };
        assert_eq!(read("soak --bin a/b --minutes 0.5"), Ok(Request::Soak(options)));
        assert_eq!(read("soak --minutes -h"), Ok(Request::Help(SOAK_HELP)));
    }

    #[test]
    fn benches_of_many_routes_know_their_defaults() {
        let churn = match read("bench churn --seconds 2") {
            Ok(Request::BenchChurn(options)) => options,
            other => panic!("{other:?}"),
        };
        assert_eq!((churn.routes, churn.rounds, churn.seconds), (5000, 12, 2.0));
        let start = match read("bench start --also a/b") {
            Ok(Request::BenchStart(options)) => options,
            other => panic!("{other:?}"),
        };
        assert_eq!((start.routes, start.rounds, start.also.len()), (100_000, 7, 1));
        for line in [
            format!("default: {}; churn: {}]", start.routes, churn.routes),
            format!("default: {}; churn: {}]", start.rounds, churn.rounds),
            format!("default: {}]", start.changes),
            format!("default: {}]", start.seconds),
        ] {
            assert!(MANY_HELP.contains(&line), "{line}");
        }
        assert_eq!(read("bench change -h"), Ok(Request::Help(MANY_HELP)));
    }

    #[test]
    fn what_is_unknown_is_named() {
        for (line, named) in [
            ("tset", "`tset`"),
            ("test --noinstall", "`--noinstall`"),
            ("bench", "`proxy`"),
            ("bench proxy --fast", "`--fast`"),
            ("bench churn --fast", "`--fast`"),
            ("bench start --routes 7", "expected a number from 200"),
            ("bench proxy --rounds", "`--rounds` lacks its value"),
            ("bench proxy --rounds 0", "`--rounds 0`: expected a number from 1"),
            ("bench proxy --only quic", "`quic`"),
            ("soak --fast", "`--fast`"),
            ("soak --minutes 0", "`--minutes 0`: expected a number from 0.1"),
            ("api-fuzz --fast", "`--fast`"),
            (
                "api-fuzz --max-examples 0",
                "`--max-examples 0`: expected a number from 1",
            ),
            ("api-fuzz --seed x", "`--seed x`: expected a whole number"),
        ] {
            assert!(read(line).is_err_and(|error| error.contains(named)), "{line}");
        }
    }

    #[test]
    fn help_lists_the_steps_in_their_order() {
        let mut rest = TEST_HELP;
        for step in &suite::TEST {
            let line = format!("\n  {:8} cargo {}", step.name, step.args.join(" "));
            let (_, after) = rest
                .split_once(&line)
                .unwrap_or_else(|| panic!("{line} is not where it belongs"));
            rest = after;
        }
    }

    #[test]
    fn help_lists_the_scenarios() {
        let names = Scenario::ALL.map(Scenario::name);
        let (last, first) = names.split_last().unwrap();
        let line = format!("{} or {last};", first.join(", "));
        assert!(BENCH_HELP.contains(&line), "{line}");
    }
}
