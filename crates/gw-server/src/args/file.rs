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
