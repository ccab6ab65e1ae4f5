//! The gateway's reports about itself, on stderr; access logs go their own way.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;
use crate::error::StartError;

/// Sends `tracing` events to stderr from now on.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<(), StartError> {
    let filter = EnvFilter::try_new(filter).map_err(|source| StartError::LogFilter {
        filter: filter.into(),
        source,
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    match format {
        LogFormat::Json => subscriber.json().init(),
        LogFormat::Text => subscriber
            .with_target(false)
            .with_ansi(stderr().is_terminal())
            .init(),
    }
    Ok(())
}
