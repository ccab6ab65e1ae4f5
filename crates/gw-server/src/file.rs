//! The configuration as a file: how it is read, and what is said of it.

pub(crate) mod follow;
mod writers;

use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use gw_admin::AdminApi;
use gw_admin::declarative::{
    Fault, LoadError, Loaded, Notice, Refusal, Surroundings, UnknownPlugins, Withheld,
};
use tracing::{info, warn};

/// Bound: bytes of a file.
const MAX_FILE: u64 = 32 * 1024 * 1024;

/// Bound: how often a file is read again that changes while it is read.
const TRIES: usize = 10;

/// What reading a file may know of this process: the time, and the environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Environment {
    pub(crate) unknown_plugins: UnknownPlugins,
}

impl Surroundings for Environment {
    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn variable(&self, name: &str) -> Result<String, Withheld> {
        std::env::var(name).map_err(|_| Withheld::Unset)
    }

    fn shell_variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn are_filled_in(&self) -> bool {
        true
    }

    fn unknown_plugins(&self) -> UnknownPlugins {
        self.unknown_plugins
    }
}

/// Why the configuration of a file is not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Something is wrong with what it says.
    #[error("{}", refused(path, refusal))]
    Refused {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong.
        refusal: Box<Refusal>,
    },
    /// It says too little, or cannot be taken in.
    #[error("{}: {source}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Why.
        source: LoadError,
    },
}

impl FileError {
    /// Whether it lies in what the file holds: then it lasts until that changes.
    fn is_about_contents(&self) -> bool {
        match self {
            Self::Read { source, .. } => {
                matches!(
                    source.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge
                )
            }
            Self::Refused { .. } => true,
            Self::Load { source, .. } => !matches!(source, LoadError::Store(_)),
        }
    }
}

/// By what one sees that a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Signature {
    /// Of what a path leads to, through all links.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// The text of a file, or of standard input for `-`.
pub(crate) fn read(path: &Path) -> Result<String, FileError> {
    read_up_to(path, MAX_FILE)
}

/// As [`read`], with another bound in bytes.
pub(crate) fn read_up_to(path: &Path, most: u64) -> Result<String, FileError> {
    let opened: io::Result<Box<dyn io::Read>> = match path.to_str() {
        Some("-") => Ok(Box::new(io::stdin())),
        _ => std::fs::File::open(path).map(|file| Box::new(file) as Box<dyn io::Read>),
    };
    let text = opened.and_then(|mut file| {
        let mut bytes = Vec::new();
        file.by_ref().take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            let why = format!("it has more than {} MiB", most / 1024 / 1024);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        String::from_utf8(bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8"))
    });
    text.map_err(|source| FileError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The text of a file that did not change while it was read, and by what one sees that it changes later.
pub(crate) fn read_at_rest(path: &Path) -> Result<(String, Signature), FileError> {
    let look = || {
        Signature::of(path).map_err(|source| FileError::Read {
            path: path.to_owned(),
            source,
        })
    };
    let mut before = look()?;
    for _ in 0..TRIES {
        let text = read(path)?;
        let after = look()?;
        if before == after {
            return Ok((text, after));
        }
        before = after;
    }
    Err(FileError::Read {
        path: path.to_owned(),
        source: io::Error::other("it changes all the time"),
    })
}

/// Makes a text the configuration that is served, and tells of it.
pub(crate) async fn load(
    api: &AdminApi,
    path: &Path,
    text: String,
    environment: Environment,
    something: bool,
) -> Result<(), FileError> {
    let loaded = api.load_text(text, environment, something).await;
    let loaded = loaded.map_err(|error| match error {
        LoadError::Refused(refusal) => FileError::Refused {
            path: path.to_owned(),
            refusal,
        },
        source => FileError::Load {
            path: path.to_owned(),
            source,
        },
    })?;
    tell(path, &loaded);
    Ok(())
}

/// What was loaded, and what was read otherwise than its writer may think.
pub(crate) fn tell(path: &Path, loaded: &Loaded) {
    for notice in &loaded.notices {
        warn!("{}", Told(path, notice));
    }
    // Of each plugin once: it may stand in many places.
    let mut names: Vec<&str> = Vec::new();
    for ignored in &loaded.ignored {
        if !names.contains(&ignored.name.as_str()) {
            names.push(&ignored.name);
            let times = loaded
                .ignored
                .iter()
                .filter(|other| other.name == ignored.name)
                .count();
            let line = ignored.position.map(|at| at.line);
            warn!(
                file = %path.display(), plugin = ignored.name, line, times,
                "left out, the rest runs without it: {}; {}", ignored.what, ignored.remedy
            );
            if seems_to_guard(&ignored.name) {
                warn!(plugin = ignored.name, "what it guarded is open to everybody");
            }
        }
    }
    let summary = &loaded.summary;
    info!(
        file = %path.display(),
        revision = loaded.revision,
        entities = loaded.entities,
        created = summary.created,
        updated = summary.updated,
        deleted = summary.deleted,
        "the configuration of the file is served"
    );
}

/// Whether a plugin is one that keeps people out, as far as its name tells.
fn seems_to_guard(name: &str) -> bool {
    const WORDS: [&str; 11] = [
        "auth",
        "jwt",
        "oidc",
        "openid",
        "opa",
        "acl",
        "rbac",
        "saml",
        "token",
        "restriction",
        "guard",
    ];
    WORDS.iter().any(|word| name.contains(word))
}

/// Everything that is wrong with a file, a line each.
pub(crate) fn refused(path: &Path, refusal: &Refusal) -> String {
    let faults = faults(path, refusal);
    let (first, more) = match faults.len() {
        1 => ("something is", ""),
        _ => ("several things are", "\n"),
    };
    let separator = if more.is_empty() { " " } else { more };
    format!(
        "{first} wrong with the configuration:{separator}{}",
        faults.join("\n")
    )
}

/// What is wrong with a file, as editors and people find it: `kong.yml:4:3: services[0].hots: unknown field`.
pub(crate) fn faults(path: &Path, refusal: &Refusal) -> Vec<String> {
    if let Some(error) = refusal.syntax() {
        let (at, message) = (error.position, &error.message);
        return vec![format!("{}:{}:{}: {message}", path.display(), at.line, at.column)];
    }
    refusal
        .faults()
        .iter()
        .map(|fault| Told(path, fault).to_string())
        .collect()
}

/// Something in a file, with its place.
pub(crate) struct Told<'a, T>(pub(crate) &'a Path, pub(crate) &'a T);

impl fmt::Display for Told<'_, Fault> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(path, fault) = self;
        write!(f, "{}", path.display())?;
        if let Some(at) = fault.position {
            write!(f, ":{}:{}", at.line, at.column)?;
        }
        f.write_str(": ")?;
        if !fault.path.is_empty() {
            write!(f, "{}: ", fault.path)?;
        }
        f.write_str(&fault.violation.message)?;
        match &fault.violation.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Told<'_, Notice> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(path, notice) = self;
        write!(f, "{}", path.display())?;
        if let Some(at) = notice.position {
            write!(f, ":{}:{}", at.line, at.column)?;
        }
        write!(f, ": {}", notice.message)
    }
}
