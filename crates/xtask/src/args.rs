//! The command line.

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Run the suite.
    Test { install: bool },
    /// Print this.
    Help(&'static str),
}

const HELP: &str = "\
The workspace's chores.

Usage: cargo xtask <command>

Commands:
  test    Run everything that must pass: format, lints, benches, tests, documentation

`cargo xtask <command> --help` says more of a command.
";

const TEST_HELP: &str = "\
Runs everything that must pass before a change is done, stopping at the first failure:

  fmt      cargo fmt --all --check
  clippy   cargo clippy --workspace --all-targets -- -D warnings
  benches  cargo test --package gw-benches --benches      each bench once, for its assertions
  test     cargo test --workspace                         unit, integration and doc tests; builds the examples
  doc      cargo doc --workspace --no-deps --quiet        with RUSTDOCFLAGS=\"-D warnings\"

Tests run with GW_REQUIRE_SERVERS=1: one that needs a server fails where it would else end early.

Usage: cargo xtask test [--no-install]

Options:
  --no-install  Install nothing: where rustfmt or clippy is missing, say so and stop
  -h, --help    Print this
";

/// Reads the arguments after the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Request, String> {
    let args: Vec<String> = args.into_iter().collect();
    let is_help = |arg: &String| arg == "-h" || arg == "--help";
    let Some((command, options)) = args.split_first() else {
        return Ok(Request::Help(HELP));
    };
    match command.as_str() {
        "test" if options.iter().any(is_help) => Ok(Request::Help(TEST_HELP)),
        "test" => {
            let unknown = options.iter().find(|option| *option != "--no-install");
            match unknown {
                Some(option) => Err(format!(
                    "`test` takes no `{option}`; see `cargo xtask test --help`"
                )),
                None => Ok(Request::Test {
                    install: options.is_empty(),
                }),
            }
        }
        "help" => Ok(Request::Help(HELP)),
        _ if is_help(command) => Ok(Request::Help(HELP)),
        _ => Err(format!("no command `{command}`; see `cargo xtask --help`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    fn read(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn commands_and_flags() {
        assert_eq!(read("test"), Ok(Request::Test { install: true }));
        assert_eq!(read("test --no-install"), Ok(Request::Test { install: false }));
        assert_eq!(read("test --no-install -h"), Ok(Request::Help(TEST_HELP)));
        for line in ["", "help", "--help", "-h"] {
            assert_eq!(read(line), Ok(Request::Help(HELP)), "{line}");
        }
    }

    #[test]
    fn what_is_unknown_is_named() {
        assert!(read("tset").is_err_and(|error| error.contains("`tset`")));
        assert!(read("test --noinstall").is_err_and(|error| error.contains("`--noinstall`")));
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
}
