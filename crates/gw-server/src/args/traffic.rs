//! The flags about what is kept of requests, so that it can be said what a change would do to them.

use std::str::FromStr;

use gw_proxy::TrafficSettings;
use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};

/// What is kept of requests, in memory.
#[derive(Debug, clap::Args)]
pub(crate) struct TrafficArgs {
    /// Of so many requests of late it is kept in memory how they were routed, so that `?dry_run=1` and `diff` can say what a
    /// change would do to them; 0 keeps none. Where there are more than a hundred a second on a thread, a share of them.
    #[arg(
        long,
        env = "GW_TRAFFIC_SAMPLES",
        value_name = "N",
        default_value = "10000",
        value_parser = clap::value_parser!(u32).range(..=1_000_000),
        global = true
    )]
    traffic_samples: u32,

    /// Headers whose values are kept of them, separated by commas: those that routes depend on. No credentials
    /// [default: none].
    #[arg(
        long,
        env = "GW_TRAFFIC_HEADERS",
        value_name = "NAME,…",
        value_delimiter = ',',
        global = true
    )]
    traffic_headers: Vec<Kept>,
}

/// The name of a header whose values may be kept.
#[derive(Clone, Debug)]
struct Kept(HeaderName);

impl FromStr for Kept {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name: HeaderName = text.trim().parse().map_err(|_| "expected the name of a header")?;
        if [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(&name) {
            return Err("this header holds credentials, which are not kept");
        }
        Ok(Self(name))
    }
}

impl TrafficArgs {
    pub(crate) fn settings(&self) -> TrafficSettings {
        TrafficSettings {
            samples: usize::try_from(self.traffic_samples).unwrap_or(usize::MAX),
            headers: self.traffic_headers.iter().map(|kept| kept.0.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_kept() {
        assert_eq!("X-Tenant".parse::<Kept>().unwrap().0, "x-tenant");
        for name in ["Authorization", " cookie", "proxy-authorization", "", "a b"] {
            assert!(name.parse::<Kept>().is_err(), "{name}");
        }
    }
}
