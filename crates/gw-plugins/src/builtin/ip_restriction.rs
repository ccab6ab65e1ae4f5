//! `ip-restriction`: lets in, or keeps out, clients by their address.

use std::borrow::Cow;

use gw_core::{Cidr, CidrSet};
use http::StatusCode;

use crate::cx::RequestCx;
use crate::env::BuildEnv;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Plugin};
use crate::reply::{Flow, Reply};

pub(crate) struct IpRestriction {
    /// None = everybody.
    allow: Option<CidrSet>,
    deny: CidrSet,
    status: StatusCode,
    message: Option<Box<str>>,
}

#[derive(serde::Deserialize)]
pub(crate) struct Config {
    allow: Option<Vec<Box<str>>>,
    deny: Option<Vec<Box<str>>>,
    whitelist: Option<Vec<Box<str>>>,
    blacklist: Option<Vec<Box<str>>>,
    status: Option<u16>,
    message: Option<Box<str>>,
}

impl Definition for IpRestriction {
    const NAME: &'static str = "ip-restriction";
    const PRIORITY: i32 = 990;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("ip_restriction.json");

    type Config = Config;

    fn build(config: Config, _: &BuildEnv) -> Result<Self, BuildError> {
        let given = |new: Option<Vec<Box<str>>>, new_name, old: Option<Vec<Box<str>>>, old_name| match new {
            Some(list) if !list.is_empty() => (new_name, list),
            _ => (old_name, old.unwrap_or_default()),
        };
        let (allow_name, allow) = given(config.allow, "allow", config.whitelist, "whitelist");
        let (deny_name, deny) = given(config.deny, "deny", config.blacklist, "blacklist");
        let allow = blocks(allow_name, &allow)?;
        let status = config.status.unwrap_or(403);
        Ok(Self {
            allow: (allow != CidrSet::default()).then_some(allow),
            deny: blocks(deny_name, &deny)?,
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN),
            message: config.message,
        })
    }
}

fn blocks(field: &str, list: &[Box<str>]) -> Result<CidrSet, BuildError> {
    let parsed = list.iter().enumerate().map(|(position, text)| {
        text.parse::<Cidr>().map_err(|error| BuildError::Setting {
            pointer: format!("/{field}/{position}").into(),
            message: error.to_string().into(),
        })
    });
    parsed.collect()
}

impl Plugin for IpRestriction {
    type State = ();

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        let client = cx.facts().client;
        let is_allowed = self.allow.as_ref().is_none_or(|allow| allow.contains(client));
        if is_allowed && !self.deny.contains(client) {
            return Flow::Continue;
        }
        let message: Cow<'static, str> = match &self.message {
            Some(message) => message.to_string().into(),
            None => format!("IP address not allowed: {client}").into(),
        };
        Reply::message(self.status, message).into()
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use serde_json::{Value, json};

    use super::IpRestriction;
    use crate::kit::Kit;
    use crate::registry::Registry;

    #[track_caller]
    fn check(config: Value, rows: &[(&str, bool)]) {
        let mut kit = Kit::new::<IpRestriction>(config.clone());
        for (client, passes) in rows {
            kit.client = client.parse().unwrap();
            let ran = kit.access(Request::get("/").body("").unwrap());
            assert_eq!(ran.reply.is_none(), *passes, "{client} under {config}");
        }
    }

    #[test]
    fn who_is_let_in() {
        let (v4, v6) = ("10.1.2.3", "fe80::7");
        check(
            json!({ "allow": ["10.0.0.0/8"] }),
            &[(v4, true), ("11.0.0.1", false), (v6, false)],
        );
        check(
            json!({ "deny": ["10.0.0.0/8"] }),
            &[(v4, false), ("11.0.0.1", true), (v6, true)],
        );
        check(
            json!({ "allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"] }),
            &[(v4, false), ("10.2.0.1", true)],
        );
        check(
            json!({ "allow": ["10.1.2.3"], "deny": ["0.0.0.0/0"] }),
            &[(v4, false), (v6, false)],
        );
        check(json!({ "allow": ["fe80::/10"] }), &[(v6, true), (v4, false)]);
        check(json!({ "deny": ["10.1.2.3"] }), &[("::ffff:10.1.2.3", false)]);
        check(
            json!({ "allow": [], "deny": ["10.1.2.3"] }),
            &[(v4, false), ("10.1.2.4", true)],
        );
        check(json!({ "whitelist": ["10.0.0.0/8"] }), &[(v4, true), (v6, false)]);
        check(json!({ "blacklist": ["10.0.0.0/8"] }), &[(v4, false), (v6, true)]);
    }

    #[test]
    fn refusals_say_whom_they_mean_or_what_they_are_told() {
        let mut kit = Kit::new::<IpRestriction>(json!({ "deny": ["::1"] }));
        kit.client = "::1".parse().unwrap();
        let reply = kit.access(Request::get("/").body("").unwrap()).reply.unwrap();
        assert_eq!(
            (reply.status.as_u16(), reply.text()),
            (403, Some("IP address not allowed: ::1"))
        );
        let mut kit = Kit::new::<IpRestriction>(json!({ "deny": ["::1"], "status": 404, "message": "gone" }));
        kit.client = "::1".parse().unwrap();
        let reply = kit.access(Request::get("/").body("").unwrap()).reply.unwrap();
        assert_eq!((reply.status.as_u16(), reply.text()), (404, Some("gone")));
    }

    #[test]
    fn wrong_settings_are_named() {
        let registry = Registry::new().with::<IpRestriction>();
        for (config, pointer) in [
            (json!({}), "/config"),
            (json!({ "allow": [] }), "/config"),
            (json!({ "allow": ["10.0.0.1", "10.0.0.0/40"] }), "/config/allow/1"),
            (json!({ "deny": ["example.com"] }), "/config/deny/0"),
            (json!({ "deny": ["::1"], "status": 1000 }), "/config/status"),
        ] {
            let mut document = json!({ "name": "ip-restriction", "config": config })
                .as_object()
                .unwrap()
                .clone();
            let refused = registry.complete(&mut document).unwrap_err();
            assert_eq!(
                refused.into_iter().next().unwrap().pointer,
                pointer,
                "{document:?}"
            );
        }
    }

    #[test]
    fn a_client_that_is_let_in_costs_no_allocation() {
        let kit = Kit::new::<IpRestriction>(json!({ "allow": ["127.0.0.0/8"], "deny": ["10.0.0.0/8"] }));
        crate::builtin::auth::allocations(&kit, || Request::get("/").body("").unwrap(), 0);
    }
}
