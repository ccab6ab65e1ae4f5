//! A limit on every wait, so that a test that hangs fails instead.

use std::fmt::{self, Display};
use std::time::Duration;

/// How long anything in this crate waits.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Waits for `future`, at most [`DEADLINE`].
///
/// # Panics
///
/// If the time is over; the message names `what`.
pub async fn within<T>(what: impl Display, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {} s for {what}", DEADLINE.as_secs()),
    }
}

/// Shows what a function writes, at the time it is shown.
pub(crate) struct ShownBy<F>(pub(crate) F);

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> Display for ShownBy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)(f)
    }
}
