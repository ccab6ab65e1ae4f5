//! The gateway's reports about itself, on stderr; access logs go their own way.

use std::io::{IsTerminal, stderr};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;
use crate::error::StartError;

/// Sends `tracing` events to stderr from now on.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<(), StartError> {
    let refused = |source| StartError::LogFilter {
        filter: filter.into(),
        source,
    };
    // Note: to the filter a misspelt level is the name of a module, of which it would show everything.
    if !filter.contains('=') {
        filter
            .parse::<LevelFilter>()
            .map_err(|error| refused(error.into()))?;
    }
    let filter = EnvFilter::try_new(filter).map_err(|error| refused(error.into()))?;
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
