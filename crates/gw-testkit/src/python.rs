//! A Python interpreter with packages, for clients that others wrote.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::process::Process;

/// How long a script may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Finds the Python in which these modules can be imported: the one that the variable `GW_PYTHON` names, else `python3`.
///
/// `None` if there is none; that is said in one line on standard error, and the test should end:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let Some(python) = gw_testkit::python(&["json", "http.client"]).await else { return };
/// # drop(python);
/// # }
/// ```
///
/// # Panics
///
/// If there is none and the variable `GW_REQUIRE_SERVERS` is `1`.
pub async fn python(modules: &[&str]) -> Option<Python> {
    let program = std::env::var_os("GW_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let python = Python { program };
    let import = format!("import {}", modules.join(", "));
    if let Ok((status, _)) = python.end_of(["-c", &*import]).await
        && status.success()
    {
        return Some(python);
    }
    let required = std::env::var("GW_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
    let line = missing(&python.program, modules, required);
    // Not `eprintln!`, which the test harness keeps to itself as long as the test passes.
    let _told = writeln!(std::io::stderr(), "{line}");
    None
}

/// An interpreter.
#[derive(Debug)]
pub struct Python {
    program: PathBuf,
}

impl Python {
    /// Runs a script to its end and returns all it wrote, to standard output and standard error.
    ///
    /// # Panics
    ///
    /// If it fails or takes more than a minute; the message has what it wrote.
    pub async fn run(
        &self,
        script: impl AsRef<Path>,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Vec<String> {
        let script = script.as_ref();
        let mut words = vec![script.as_os_str().to_owned()];
        words.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        let (status, log) = self
            .end_of(words)
            .await
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", self.program.display()));
        assert!(
            status.success(),
            "{} ended with {status}; it said:\n{}",
            script.display(),
            log.join("\n")
        );
        log
    }

    async fn end_of(
        &self,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> std::io::Result<(ExitStatus, Vec<String>)> {
        let mut command = Command::new(&self.program);
        command
            // What it says before it hangs is not to stay in a buffer, nor compiled scripts beside their sources.
            .args(["-u", "-B"])
            .args(args)
            // What it talks to is on this machine.
            .env("NO_PROXY", "*");
        let process = Process::spawn(command)?;
        let status = tokio::time::timeout(PATIENCE, process.wait()).await;
        let log = process.log().lines();
        match status {
            Ok(status) => Ok((status, log)),
            Err(_) => panic!(
                "waited {} s for a script to end; it said:\n{}",
                PATIENCE.as_secs(),
                log.join("\n")
            ),
        }
    }
}

/// The line that is said before a test ends early.
///
/// # Panics
///
/// If it may not.
fn missing(program: &Path, modules: &[&str], required: bool) -> String {
    let (program, modules) = (program.display(), modules.join(", "));
    assert!(
        !required,
        "{program} does not import {modules}, and GW_REQUIRE_SERVERS=1 forbids going without; \
         `cargo xtask test` installs them, or GW_PYTHON names an interpreter that has them"
    );
    format!(
        "{program} does not import {modules}: this test ends early; `cargo xtask test` installs what tests need"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_packages_end_the_test_or_fail_it() {
        let missing = |required| missing(Path::new("/v/python"), &["kong", "kongclient"], required);
        let line = missing(false);
        assert!(
            line.starts_with("/v/python does not import kong, kongclient: this test ends early"),
            "{line}"
        );
        let panic = std::panic::catch_unwind(|| missing(true)).unwrap_err();
        let said = panic.downcast_ref::<String>().unwrap();
        assert!(
            said.starts_with("/v/python does not import kong, kongclient, and GW_REQUIRE_SERVERS=1"),
            "{said}"
        );
        assert!(said.contains("GW_PYTHON names an interpreter"), "{said}");
    }
}
