//! `ua-restriction`: lets in, or keeps out, clients by their `User-Agent`.

use http::StatusCode;

use super::user_agents::{Patterns, user_agents};
use crate::cx::RequestCx;
use crate::env::BuildEnv;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Plugin};
use crate::reply::{Flow, Reply};

pub(crate) struct UaRestriction {
    list: List,
    pass_missing: bool,
    message: Box<str>,
}

enum List {
    Allow(Patterns),
    Deny(Patterns),
}

#[derive(serde::Deserialize)]
pub(crate) struct Config {
    allowlist: Option<Vec<Box<str>>>,
    denylist: Option<Vec<Box<str>>>,
    bypass_missing: bool,
    message: Box<str>,
}

impl Definition for UaRestriction {
    const NAME: &'static str = "ua-restriction";
    const PRIORITY: i32 = 2490;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("ua_restriction.json");

    type Config = Config;

    fn build(config: Config, _: &BuildEnv) -> Result<Self, BuildError> {
        let list = match config.allowlist {
            Some(list) => List::Allow(Patterns::compile("allowlist", &list)?),
            None => List::Deny(Patterns::compile(
                "denylist",
                &config.denylist.unwrap_or_default(),
            )?),
        };
        Ok(Self {
            list,
            pass_missing: config.bypass_missing,
            message: config.message,
        })
    }
}

impl Plugin for UaRestriction {
    type State = ();

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        let mut agents = user_agents(cx).peekable();
        // Of several, each must pass: one that is kept out is not let in by another beside it.
        let passes = match (agents.peek(), &self.list) {
            (None, _) => self.pass_missing,
            (Some(_), List::Allow(list)) => agents.all(|agent| list.match_any(agent)),
            (Some(_), List::Deny(list)) => !agents.any(|agent| list.match_any(agent)),
        };
        match passes {
            true => Flow::Continue,
            false => Reply::message(StatusCode::FORBIDDEN, self.message.to_string()).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use serde_json::{Value, json};

    use super::UaRestriction;
    use crate::kit::Kit;
    use crate::registry::Registry;

    fn request(agents: &[&str]) -> Request<&'static str> {
        let mut request = Request::get("/");
        for agent in agents {
            request = request.header("user-agent", *agent);
        }
        request.body("").unwrap()
    }

    #[track_caller]
    fn check(config: Value, rows: &[(&[&str], bool)]) {
        let kit = Kit::new::<UaRestriction>(config.clone());
        for (agents, passes) in rows {
            let ran = kit.access(request(agents));
            assert_eq!(ran.reply.is_none(), *passes, "{agents:?} under {config}");
        }
    }

    #[test]
    fn who_is_let_in() {
        let allow = json!({ "allowlist": ["my-bot1", "(Baiduspider)/(\\d+)\\.(\\d+)"] });
        check(
            allow,
            &[
                (&["my-bot1"], true),
                (&[" a my-bot1/2 "], true),
                (&["Baiduspider/1.0"], true),
                (&["Baiduspider"], false),
                (&["my-bot1", "other"], false),
                (&[], false),
            ],
        );
        let deny = json!({ "denylist": ["^curl/", "(?i)scanner"], "bypass_missing": true });
        check(
            deny,
            &[
                (&["curl/8.0"], false),
                (&["libcurl/8.0"], true),
                (&["  curl/8.0"], false),
                (&["A SCANNER"], false),
                (&["fine", "curl/8.0"], false),
                (&[""], true),
                (&[], true),
            ],
        );
    }

    #[test]
    fn refusals_carry_the_message() {
        for (config, message) in [
            (json!({ "denylist": ["x"] }), "Not allowed"),
            (json!({ "denylist": ["x"], "message": "go away" }), "go away"),
        ] {
            let reply = Kit::new::<UaRestriction>(config)
                .access(request(&["x"]))
                .reply
                .unwrap();
            assert_eq!((reply.status.as_u16(), reply.text()), (403, Some(message)));
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        let registry = Registry::new().with::<UaRestriction>();
        for (config, pointer) in [
            (json!({}), "/config"),
            (json!({ "allowlist": ["a"], "denylist": ["b"] }), "/config"),
            (json!({ "allowlist": [] }), "/config/allowlist"),
            (json!({ "denylist": ["a", "("] }), "/config/denylist/1"),
            (json!({ "denylist": ["a"], "message": "" }), "/config/message"),
        ] {
            let mut document = json!({ "name": "ua-restriction", "config": config })
                .as_object()
                .unwrap()
                .clone();
            let refused = registry.complete(&mut document).unwrap_err();
            assert!(
                refused.iter().any(|violation| violation.pointer == pointer),
                "{document:?}: {refused}"
            );
        }
    }

    #[test]
    fn a_client_that_is_let_in_costs_no_allocation() {
        let kit = Kit::new::<UaRestriction>(json!({ "denylist": ["^curl/", "(?i)scanner"] }));
        crate::builtin::auth::allocations(&kit, || request(&["Mozilla/5.0"]), 0);
    }
}
