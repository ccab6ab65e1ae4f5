//! The gateway's reports about itself, on stderr; access logs go their own way.

use std::fmt;
use std::io::{IsTerminal, stderr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gw_admin::ports::LogLevel;
use tokio::time::{Instant, sleep_until};
use tracing::level_filters::LevelFilter;
use tracing::{error, info};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload::Error;

use crate::args::LogFormat;
use crate::error::StartError;

/// What is reported, which can be changed while the program runs. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Reporting {
    state: Arc<Mutex<State>>,
    filter: Arc<dyn Fn(EnvFilter) -> Result<(), Error> + Send + Sync>,
}

#[derive(Debug)]
struct State {
    now: String,
    /// What it goes back to.
    lasting: String,
    /// Counts changes: one that was overtaken does not end.
    changes: u64,
}

impl fmt::Debug for Reporting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporting")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Sends `tracing` events to stderr from now on.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<Reporting, StartError> {
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
    let parsed = EnvFilter::try_new(filter).map_err(|error| refused(error.into()))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(stderr);
    Ok(match format {
        LogFormat::Json => {
            let subscriber = subscriber.json().with_filter_reloading();
            let handle = subscriber.reload_handle();
            subscriber.init();
            Reporting::new(filter, move |filter| handle.reload(filter))
        }
        LogFormat::Text => {
            let subscriber = subscriber.with_target(false).with_ansi(stderr().is_terminal());
            let subscriber = subscriber.with_filter_reloading();
            let handle = subscriber.reload_handle();
            subscriber.init();
            Reporting::new(filter, move |filter| handle.reload(filter))
        }
    })
}

impl Reporting {
    fn new(filter: &str, reload: impl Fn(EnvFilter) -> Result<(), Error> + Send + Sync + 'static) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                now: filter.to_owned(),
                lasting: filter.to_owned(),
                changes: 0,
            })),
            filter: Arc::new(reload),
        }
    }

    /// The level, or the filter, in force.
    pub(crate) fn level(&self) -> String {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .now
            .clone()
    }

    /// Puts a level in force, for as long or for good. To be called on a runtime.
    pub(crate) fn set_level(&self, level: LogLevel, lasting: Option<Duration>) {
        let name = match level {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        };
        info!(level = name, ?lasting, "the log level changes");
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.changes += 1;
        self.put(&mut state, name);
        let Some(lasting) = lasting else {
            name.clone_into(&mut state.lasting);
            return;
        };
        let (reporting, change) = (self.clone(), state.changes);
        // Bound: what no clock reaches is never.
        let Some(end) = Instant::now().checked_add(lasting) else {
            return;
        };
        tokio::spawn(async move {
            sleep_until(end).await;
            let mut state = reporting.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.changes == change {
                let before = state.lasting.clone();
                reporting.put(&mut state, &before);
            }
        });
    }

    fn put(&self, state: &mut State, filter: &str) {
        match (self.filter)(EnvFilter::new(filter)) {
            Ok(()) => filter.clone_into(&mut state.now),
            Err(error) => error!(%error, filter, "the log level could not be changed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_level_lasts_as_long_as_was_said() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reloads = Arc::clone(&seen);
        let reporting = Reporting::new("info,gw_proxy=debug", move |filter| {
            reloads.lock().unwrap().push(filter.to_string());
            Ok(())
        });
        let start = Instant::now();
        let at = async |seconds: f32| {
            sleep_until(start + Duration::from_secs_f32(seconds)).await;
            reporting.level()
        };
        reporting.set_level(LogLevel::Debug, Some(Duration::from_secs(10)));
        assert_eq!(at(9.9).await, "debug");
        assert_eq!(at(10.1).await, "info,gw_proxy=debug");
        // The later of two changes counts, whichever would end first.
        reporting.set_level(LogLevel::Trace, Some(Duration::from_secs(1)));
        reporting.set_level(LogLevel::Warn, Some(Duration::from_secs(10)));
        assert_eq!(at(12.0).await, "warn");
        // One for good is what others go back to.
        reporting.set_level(LogLevel::Error, None);
        assert_eq!(at(100.0).await, "error");
        reporting.set_level(LogLevel::Trace, Some(Duration::from_secs(1)));
        assert_eq!(at(102.0).await, "error");
        reporting.set_level(LogLevel::Info, Some(Duration::MAX));
        assert_eq!(at(1000.0).await, "info");
        let seen = seen.lock().unwrap().join(" ");
        assert_eq!(
            seen,
            "debug gw_proxy=debug,info trace warn error trace error info"
        );
    }
}
