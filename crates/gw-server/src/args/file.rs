//! The flags about the file that holds the whole configuration, and the commands that work with such files.

use std::path::PathBuf;

use clap::ValueEnum;
use gw_admin::declarative::UnknownPlugins;

/// The file that holds the whole configuration.
#[derive(Debug, clap::Args)]
pub(crate) struct FileArgs {
    /// File that holds the whole configuration, in Kong's declarative format: there is no store then, and the Admin API
    /// reads. It is followed when it changes [default: none].
    #[arg(long, env = "GW_CONFIG", value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,

    /// What becomes of plugins in such a file that are not here: `fail` refuses the file, `ignore` leaves them out and runs
    /// the rest.
    #[arg(
        long,
        env = "GW_UNKNOWN_PLUGINS",
        value_name = "WHAT",
        default_value = "fail",
        global = true
    )]
    pub(crate) unknown_plugins: Unknown,
}

/// What becomes of plugins that are not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unknown {
    Fail,
    Ignore,
}

impl From<Unknown> for UnknownPlugins {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::Fail => Self::Refused,
            Unknown::Ignore => Self::Ignored,
        }
    }
}

/// A file that a gateway that runs is compared with.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Compared {
    /// The file; `-` is standard input.
    pub(crate) file: PathBuf,

    /// Takes the file for all that there is to be, even if it says that it is about a part: what has the tags of
    /// `_info.select_tags`, or a `_workspace` of decK's.
    #[arg(long)]
    pub(crate) replace_everything: bool,
}

/// What a gateway that runs is compared with: a file, or two of its own revisions with each other.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Difference {
    /// The file; `-` is standard input. In its place --from and --to name revisions.
    #[arg(required_unless_present_any = ["from", "to"], conflicts_with_all = ["from", "to"])]
    file: Option<PathBuf>,

    /// Takes the file for all that there is to be, even if it says that it is about a part: what has the tags of
    /// `_info.select_tags`, or a `_workspace` of decK's.
    #[arg(long)]
    replace_everything: bool,

    /// The earlier revision: a number, a tag, or `head` [default: the one before --to].
    #[arg(long, value_name = "REVISION")]
    pub(crate) from: Option<String>,

    /// The later one [default: head].
    #[arg(long, value_name = "REVISION")]
    pub(crate) to: Option<String>,
}

impl Difference {
    /// The file, if it is one.
    pub(crate) fn file(&self) -> Option<Compared> {
        Some(Compared {
            file: self.file.clone()?,
            replace_everything: self.replace_everything,
        })
    }
}

/// A gateway that runs, for commands that ask it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RemoteArgs {
    /// Its Admin API: `http://HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`. With --admin-token if it wants one.
    #[arg(
        long,
        env = "GW_ADMIN_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8001"
    )]
    pub(crate) admin_url: String,

    /// File with certificates of authorities, in PEM form, to trust in place of the system's [default: none].
    #[arg(long, env = "GW_ADMIN_CA", value_name = "FILE")]
    pub(crate) admin_ca: Option<PathBuf>,
}
