//! The flags about where the configuration is kept, and what a gateway does when that is out of reach or empty.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

/// Where the configuration is kept.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// Where the configuration is kept: `redb:FILE`, `file:DIRECTORY`, `memory:` until the process ends, or, for several
    /// gateways, `etcd://HOST[:PORT],…/PREFIX` (`etcds://` with TLS). With etcd, what was served last is kept in --data-dir, and
    /// the gateway starts from that when etcd does not answer [default: file: and --data-dir].
    #[arg(
        long,
        env = "GW_STORE",
        value_name = "URL",
        hide_env_values = true,
        conflicts_with = "config",
        global = true
    )]
    pub(crate) store: Option<String>,

    /// Whether `/status/ready` says yes while what is served may be out of date, because the store does not answer.
    #[arg(
        long,
        env = "GW_READY_WHEN_STALE",
        value_name = "on|off",
        default_value = "on",
        global = true
    )]
    pub(crate) ready_when_stale: Switch,

    /// Share of the routes, per cent, that one change may remove without having been meant to; nor may it remove all objects
    /// of any kind. What would is held back until it is said to be meant. Up to nine objects may always be removed. `off`:
    /// whatever is stored is served.
    #[arg(
        long,
        env = "GW_MASS_DELETION",
        value_name = "PERCENT",
        default_value = "50",
        global = true
    )]
    pub(crate) mass_deletion: MassDeletion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

/// How much one change may remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MassDeletion {
    Off,
    /// Per cent of the routes.
    Above(u8),
}

impl FromStr for MassDeletion {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected `off` or a number from 1 to 99";
        match text {
            "off" => Ok(Self::Off),
            text => match text.parse() {
                Ok(share @ 1..=99) => Ok(Self::Above(share)),
                _ => Err(EXPECTED),
            },
        }
    }
}

impl fmt::Display for MassDeletion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Above(share) => share.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_part() {
        for (text, expected) in [
            ("off", Some(MassDeletion::Off)),
            ("1", Some(MassDeletion::Above(1))),
            ("99", Some(MassDeletion::Above(99))),
            ("0", None),
            ("100", None),
            ("-1", None),
            ("50%", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }
}
