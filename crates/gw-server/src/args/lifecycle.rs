//! The flags about starting, stopping and being replaced.

use std::time::Duration;

use super::admin::AdminListen;
use super::seconds;

/// How it comes to an end, and who may ask how it is.
#[derive(Debug, clap::Args)]
pub(crate) struct LifecycleArgs {
    /// Address of the Status API, for load balancers: `GET /status` and `GET /status/ready`. An address, `unix:/PATH` or `off`.
    #[arg(
        long,
        env = "GW_STATUS_LISTEN",
        value_name = "ADDR",
        default_value = "off",
        global = true
    )]
    pub(crate) status_listen: AdminListen,

    /// Seconds for which clients are still served after SIGTERM or Ctrl-C while `/status/ready` says no, so that load balancers
    /// notice; answers ask clients to close their connections.
    #[arg(
        long,
        env = "GW_DRAIN_DELAY",
        value_name = "SECONDS",
        default_value = "0",
        value_parser = seconds,
        global = true
    )]
    pub(crate) drain_delay: Duration,

    /// Seconds that requests in flight get to finish after that; a second signal ends at once.
    #[arg(
        long,
        env = "GW_SHUTDOWN_GRACE",
        value_name = "SECONDS",
        default_value = "30",
        value_parser = seconds,
        global = true
    )]
    pub(crate) shutdown_grace: Duration,

    /// Seconds that connections may stay with a process that another has taken over from, after SIGUSR2.
    #[arg(
        long,
        env = "GW_UPGRADE_GRACE",
        value_name = "SECONDS",
        default_value = "300",
        value_parser = seconds,
        global = true
    )]
    pub(crate) upgrade_grace: Duration,
}
