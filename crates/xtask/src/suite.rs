//! The steps of `test`: one cargo command each, run one after the other.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// One cargo command.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) args: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
    /// Whether it runs tests, which need to know where servers and packages are.
    tests: bool,
}

/// A test that needs a server fails without it, instead of ending early.
const REQUIRE_SERVERS: (&str, &str) = ("GW_REQUIRE_SERVERS", "1");

/// The variable that tells tests which Python has the packages they need.
const PYTHON: &str = "GW_PYTHON";

/// Everything that must pass. The documentation is built quietly, so that the tests' results close the output.
pub(crate) const TEST: [Step; 5] = [
    Step {
        name: "fmt",
        args: &["fmt", "--all", "--check"],
        env: &[],
        tests: false,
    },
    Step {
        name: "clippy",
        args: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        env: &[],
        tests: false,
    },
    Step {
        name: "benches",
        args: &["test", "--package", "gw-benches", "--benches"],
        env: &[REQUIRE_SERVERS],
        tests: true,
    },
    Step {
        name: "test",
        args: &["test", "--workspace"],
        env: &[REQUIRE_SERVERS],
        tests: true,
    },
    Step {
        name: "doc",
        args: &["doc", "--workspace", "--no-deps", "--quiet"],
        env: &[("RUSTDOCFLAGS", "-D warnings")],
        tests: false,
    },
];

/// The step that ended the run.
#[derive(Debug)]
pub(crate) struct Failure {
    command: String,
    name: &'static str,
    took: Duration,
    end: io::Result<ExitStatus>,
}

/// Runs the steps in order, up to the first that fails; says how long each took. Tests run Python scripts with this
/// interpreter.
pub(crate) fn run(steps: &[Step], python: &Path) -> Result<Duration, Failure> {
    let start = Instant::now();
    for (position, step) in steps.iter().enumerate() {
        eprintln!(
            "xtask: [{}/{}] {}: {}",
            position + 1,
            steps.len(),
            step.name,
            step.command_line(python)
        );
        let took = step.run(python)?;
        eprintln!(
            "xtask: [{}/{}] {} passed in {}",
            position + 1,
            steps.len(),
            step.name,
            seconds(took)
        );
    }
    Ok(start.elapsed())
}

impl Step {
    fn run(&self, python: &Path) -> Result<Duration, Failure> {
        let start = Instant::now();
        let end = cargo()
            .args(self.args)
            .envs(self.env.iter().copied())
            .envs(self.tests.then_some((PYTHON, python)))
            .current_dir(workspace_root())
            .status();
        let took = start.elapsed();
        match end {
            Ok(status) if status.success() => Ok(took),
            end => Err(Failure {
                command: self.command_line(python),
                name: self.name,
                took,
                end,
            }),
        }
    }

    /// The command as one would type it.
    fn command_line(&self, python: &Path) -> String {
        let python = python.to_string_lossy();
        let env = self.env.iter().copied();
        let env = env.chain(self.tests.then_some((PYTHON, &*python)));
        let env = env.map(|(name, value)| match value.contains(' ') {
            true => format!("{name}=\"{value}\" "),
            false => format!("{name}={value} "),
        });
        format!("{}cargo {}", env.collect::<String>(), self.args.join(" "))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FAILED: {} after {}, ", self.name, seconds(self.took))?;
        match &self.end {
            Ok(status) => write!(f, "{status}")?,
            Err(error) => write!(f, "cargo did not start: {error}")?,
        }
        write!(f, "; alone: {}", self.command)
    }
}

pub(crate) fn seconds(took: Duration) -> String {
    match took.as_secs() {
        whole @ 60.. => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{:.1} s", took.as_secs_f64()),
    }
}

/// The cargo that runs this program, so that all steps use one toolchain.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Cargo tells a program it runs where its package lies: two below the workspace.
pub(crate) fn workspace_root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let root = package.as_deref().and_then(Path::parent).and_then(Path::parent);
    root.map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Step = Step {
        name: "good",
        args: &["--version"],
        env: &[],
        tests: false,
    };
    const BAD: Step = Step {
        name: "bad",
        args: &["no-such-command"],
        env: &[("A", "b c")],
        tests: true,
    };

    #[test]
    fn a_run_ends_at_the_first_failure_and_says_how_to_repeat_it() {
        let python = Path::new("/v/bin/python");
        assert!(run(&[GOOD], python).is_ok());
        let failure = run(&[GOOD, BAD, GOOD], python).unwrap_err().to_string();
        assert!(failure.starts_with("FAILED: bad after "), "{failure}");
        assert!(
            failure.ends_with("; alone: A=\"b c\" GW_PYTHON=/v/bin/python cargo no-such-command"),
            "{failure}"
        );
    }

    #[test]
    fn durations_are_short_to_read() {
        assert_eq!(seconds(Duration::from_millis(3_140)), "3.1 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }

    #[test]
    fn the_root_holds_the_workspace() {
        let manifest = std::fs::read_to_string(workspace_root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }
}
