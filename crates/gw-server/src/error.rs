//! Why the gateway does not start.

use std::io;
use std::path::PathBuf;

use gw_proxy::BindError;

use crate::access::AccessError;
use crate::args::kong::KongVariableError;
use crate::data_dir::DataDirError;
use crate::file::FileError;
use crate::upgrade::TakeoverError;

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Somebody else has the address, or it is not ours to take.
    #[error("cannot listen on {address} for {what}; free the address or choose another with {flag}")]
    Listen {
        /// The address.
        address: String,
        /// What for.
        what: &'static str,
        /// The flag that says otherwise.
        flag: &'static str,
        /// Why not.
        source: BindError,
    },
    /// The service manager has opened a socket for nobody.
    #[error(
        "the service manager hands over the socket `{name}` at {address}, which no flag asks for; listen at this address, or have \
         the socket unit say FileDescriptorName=proxy, admin or status"
    )]
    Unclaimed {
        /// What it is called.
        name: Box<str>,
        /// Where it listens.
        address: String,
    },
    /// What the service manager hands over cannot be used.
    #[error("what the service manager hands over in LISTEN_FDS is no socket that listens")]
    Activation(#[source] io::Error),
    /// The Admin API would be open to others, or what protects it cannot be used.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// No old process lets this one take over.
    #[error(transparent)]
    Takeover(#[from] TakeoverError),
    /// The store in the data directory cannot be used.
    #[error("cannot open the store in {}", data_dir.display())]
    Store {
        /// The directory.
        data_dir: PathBuf,
        /// Why.
        source: gw_store::OpenError,
    },
    /// The store of `--store` cannot be used.
    #[error("--store")]
    ElsewhereStore {
        /// Why.
        source: gw_store::OpenError,
    },
    /// The data directory cannot be used.
    #[error("--data-dir: {0}")]
    DataDir(#[from] DataDirError),
    /// A store in memory cannot be made.
    #[error("cannot keep a configuration in memory")]
    Memory {
        /// Why.
        source: gw_store::OpenError,
    },
    /// The file of `--config` cannot be served.
    #[error("--config: {0}")]
    File(#[from] FileError),
    /// The file of `--keyring` cannot be read.
    #[error("--keyring {}", path.display())]
    KeyringFile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file of `--keyring` is no keyring.
    #[error("--keyring {}", path.display())]
    Keyring {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: gw_core::KeyringError,
    },
    /// `--require-sealing`, and nothing to seal with.
    #[error("--require-sealing: there is no keyring; give one with --keyring or GW_KEYRING_KEYS")]
    NoKeyring,
    /// A variable of Kong's makes no sense.
    #[error(transparent)]
    Kong(#[from] KongVariableError),
    /// `--plugins` names a plugin that does not exist.
    #[error("--plugins")]
    Plugins(#[from] gw_plugins::UnknownPlugin),
    /// A schema of the program itself is broken.
    #[error("a built-in schema does not compile, which is a bug of this program")]
    Schema(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A `--to` is no destination.
    #[error("--to: {violations}")]
    Destination {
        /// What is wrong.
        violations: String,
    },
    /// The access log's file cannot be written.
    #[error("cannot write the access log to {to}; choose another place with --access-log")]
    AccessLog {
        /// The file.
        to: String,
        /// The system's reason.
        source: io::Error,
    },
    /// `--client-ca` names a file without certificates.
    #[error("--client-ca {}: {why}; expected certificates in PEM form", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// `--log` is no filter.
    #[error("--log {filter}: expected error, warn, info, debug, trace or a `tracing` filter")]
    LogFilter {
        /// What was given.
        filter: Box<str>,
        /// Why it is none.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A thread, a runtime or a signal handler cannot be made.
    #[error("the system refuses {what}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}
