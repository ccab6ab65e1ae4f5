//! Packages from PyPI that tests and the fuzzer use: pinned in a file, in a virtual environment below the target directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs::{self, PYTHON};
use crate::{build, suite};

/// Packages that are installed together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packages {
    /// Of the directory that holds them.
    name: &'static str,
    /// Each with its version, and so all that they need; in the workspace.
    file: &'static str,
    /// The oldest Python that all of them run on.
    oldest: (u32, u32),
}

/// What drives the Admin API in tests.
pub(crate) const CLIENTS: Packages = Packages {
    name: "clients",
    file: "crates/gw-admin/tests/clients/requirements.txt",
    oldest: (3, 10),
};

/// What `api-fuzz` runs.
pub(crate) const FUZZER: Packages = Packages {
    name: "fuzzer",
    file: "crates/xtask/src/fuzz/requirements.txt",
    oldest: (3, 11),
};

/// The last thing written into an environment: for which Python and which packages it is.
const STAMP: &str = "complete-for.txt";

/// The interpreter that has the packages. They are installed where they are missing, if that is wished; that they are
/// there is seen without a network.
pub(crate) fn require(packages: Packages, install: bool) -> Result<PathBuf, String> {
    programs::require(&[PYTHON], install)?;
    let python = programs::found(&PYTHON).ok_or("python3 is nowhere in PATH")?;
    let version = version(&python, packages)?;
    let file = suite::workspace_root().join(packages.file);
    let pinned = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let environment = Environment {
        directory: build::target_directory()?.join("python").join(packages.name),
        stamp: format!("{version}\n\n{pinned}"),
    };
    let _lock = environment.lock()?;
    if environment.is_complete() {
        return Ok(environment.interpreter());
    }
    if !install {
        return Err(format!(
            "{} is not installed into {} for {}, and --no-install was given; run this once without",
            packages.file,
            environment.directory.display(),
            python.display()
        ));
    }
    eprintln!(
        "xtask: installing {} into {}",
        packages.file,
        environment.directory.display()
    );
    environment.fill(&python, packages.file)?;
    Ok(environment.interpreter())
}

/// What the interpreter says of itself, if it is not too old.
fn version(python: &Path, packages: Packages) -> Result<String, String> {
    let code = "import sys; print(*sys.version_info[:2], sys.executable, sys.version.replace(chr(10), ' '))";
    let output = Command::new(python)
        .args(["-c", code])
        .output()
        .map_err(|error| format!("cannot run {}: {error}", python.display()))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut numbers = said.split(' ').map_while(|word| word.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        return Err(format!("{} does not say which Python it is", python.display()));
    };
    let oldest = packages.oldest;
    if (major, minor) < oldest {
        return Err(format!(
            "{} is Python {major}.{minor}, and {} needs {}.{}; put a newer python3 into PATH",
            python.display(),
            packages.file,
            oldest.0,
            oldest.1
        ));
    }
    Ok(said)
}

/// A virtual environment, there or not.
struct Environment {
    directory: PathBuf,
    stamp: String,
}

impl Environment {
    fn interpreter(&self) -> PathBuf {
        self.directory.join("bin/python")
    }

    /// Two runs at once must not fill one directory. Held until the file is dropped.
    fn lock(&self) -> Result<File, String> {
        let file = self.directory.with_extension("lock");
        let parent = self.directory.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent)
            .and_then(|()| File::create(&file))
            .and_then(|lock| lock.lock().map(|()| lock))
            .map_err(|error| format!("cannot lock {}: {error}", file.display()))
    }

    fn is_complete(&self) -> bool {
        fs::read_to_string(self.directory.join(STAMP)).is_ok_and(|stamp| stamp == self.stamp)
    }

    /// Makes it anew.
    fn fill(&self, python: &Path, pinned: &str) -> Result<(), String> {
        let cannot = |error| format!("cannot write to {}: {error}", self.directory.display());
        if self.directory.exists() {
            fs::remove_dir_all(&self.directory).map_err(cannot)?;
        }
        run(Command::new(python).args(["-m", "venv"]).arg(&self.directory))?;
        run(Command::new(self.interpreter())
            .args(["-m", "pip", "install", "--quiet", "--no-input"])
            .args(["--disable-pip-version-check", "--requirement", pinned])
            // From there the list has a short name: in variables, a blank would begin another.
            .current_dir(suite::workspace_root())
            // A package that comes as sources is built with the pinned tools as well: pip has had two names for that.
            .env("PIP_CONSTRAINT", pinned)
            .env("PIP_BUILD_CONSTRAINT", pinned))?;
        fs::write(self.directory.join(STAMP), &self.stamp).map_err(cannot)
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}; see what it said above")),
        Err(error) => Err(format!("cannot run {command:?}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_complete_for_one_python_and_one_list_of_packages() {
        let dir = tempfile::tempdir().unwrap();
        let environment = |stamp: &str| Environment {
            directory: dir.path().join("packages"),
            stamp: stamp.to_owned(),
        };
        fs::create_dir(dir.path().join("packages")).unwrap();
        assert!(!environment("3.11\n\na==1").is_complete());
        fs::write(dir.path().join("packages").join(STAMP), "3.11\n\na==1").unwrap();
        assert!(environment("3.11\n\na==1").is_complete());
        assert!(!environment("3.11\n\na==2").is_complete());
        assert!(!environment("3.12\n\na==1").is_complete());
    }

    #[test]
    fn one_run_at_a_time_fills_it() {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment {
            directory: dir.path().join("python/packages"),
            stamp: String::new(),
        };
        let held = environment.lock().unwrap();
        let other = File::open(dir.path().join("python/packages.lock")).unwrap();
        assert!(other.try_lock().is_err());
        drop(held);
        // Not tried: a process that another test is starting holds our files until it is that other program.
        other.lock().unwrap();
    }

    #[test]
    fn every_package_is_pinned() {
        for packages in [CLIENTS, FUZZER] {
            let file = suite::workspace_root().join(packages.file);
            let text = fs::read_to_string(&file).unwrap();
            let lines: Vec<&str> = text
                .lines()
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .collect();
            assert!(!lines.is_empty(), "{} is empty", packages.file);
            for line in lines {
                assert!(line.contains("=="), "{}: {line}", packages.file);
            }
        }
    }
}
