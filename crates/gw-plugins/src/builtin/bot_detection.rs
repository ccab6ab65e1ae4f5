//! `bot-detection`: keeps out robots by their `User-Agent`.

mod robots;

use std::sync::Arc;

use http::StatusCode;

use self::robots::Robots;
use super::user_agents::{Patterns, user_agents};
use crate::cx::RequestCx;
use crate::env::BuildEnv;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Plugin};
use crate::reply::{Flow, Reply};

pub(crate) struct BotDetection {
    allow: Patterns,
    deny: Patterns,
    /// The same for all instances: it is large.
    robots: Arc<Robots>,
}

#[derive(serde::Deserialize)]
pub(crate) struct Config {
    allow: Option<Vec<Box<str>>>,
    deny: Option<Vec<Box<str>>>,
    whitelist: Option<Vec<Box<str>>>,
    blacklist: Option<Vec<Box<str>>>,
}

impl Definition for BotDetection {
    const NAME: &'static str = "bot-detection";
    const PRIORITY: i32 = 2500;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("bot_detection.json");
    // It runs before anybody is known.
    const CONSUMER_SCOPE: bool = false;

    type Config = Config;

    fn build(config: Config, env: &BuildEnv) -> Result<Self, BuildError> {
        let given = |new: Option<Vec<Box<str>>>, new_name, old: Option<Vec<Box<str>>>, old_name| match new {
            Some(list) if !list.is_empty() => Patterns::compile(new_name, &list),
            _ => Patterns::compile(old_name, &old.unwrap_or_default()),
        };
        Ok(Self {
            allow: given(config.allow, "allow", config.whitelist, "whitelist")?,
            deny: given(config.deny, "deny", config.blacklist, "blacklist")?,
            robots: env.shared().get(),
        })
    }
}

impl Plugin for BotDetection {
    type State = ();

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        let mut agents = user_agents(cx);
        let (first, second) = (agents.next(), agents.next());
        let Some(agent) = first else { return Flow::Continue };
        if second.is_some() {
            return Reply::message(StatusCode::BAD_REQUEST, "Only one User-Agent header allowed").into();
        }
        let is_kept_out =
            !self.allow.match_any(agent) && (self.deny.match_any(agent) || self.robots.know(agent));
        match is_kept_out {
            true => Reply::message(StatusCode::FORBIDDEN, "Forbidden").into(),
            false => Flow::Continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use serde_json::{Value, json};

    use super::BotDetection;
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
    fn check(config: Value, rows: &[(&str, bool)]) {
        let kit = Kit::new::<BotDetection>(config.clone());
        for (agent, passes) in rows {
            let ran = kit.access(request(&[agent]));
            assert_eq!(ran.reply.is_none(), *passes, "{agent} under {config}");
        }
    }

    #[test]
    fn robots_are_kept_out_and_browsers_are_not() {
        check(
            json!({}),
            &[
                (
                    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
                    true,
                ),
                (
                    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15",
                    true,
                ),
                (
                    "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
                    true,
                ),
                (
                    "Mozilla/5.0 (Linux; Android 13; CUBOT NOTE 30) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36",
                    true,
                ),
                ("curl/8.5.0", true),
                ("PostmanRuntime/7.36.0", true),
                ("", true),
                ("Googlebot/2.1 (+http://www.google.com/bot.html)", false),
                (
                    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
                    false,
                ),
                (
                    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
                    false,
                ),
                ("Twitterbot/1.0", false),
                ("Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)", false),
                ("Mozilla/5.0 (compatible; Baiduspider/2.0)", false),
                ("Python-urllib/3.11", false),
                ("Apache-HttpClient/4.5.14 (Java/17)", false),
                ("Scrapy/2.11 (+https://scrapy.org)", false),
                ("ia_archiver", false),
                ("Mozilla/5.0 (compatible; Yahoo! Slurp)", false),
                ("MyCrawler/1.0", false),
                ("a SPIDER of mine", false),
                ("price-scraper", false),
                ("LinkedInBot/1.0 (compatible; Mozilla/5.0)", false),
            ],
        );
    }

    #[test]
    fn lists_add_and_take_away() {
        check(
            json!({ "allow": ["Googlebot"], "deny": ["^curl/", "Googlebot/9"] }),
            &[
                ("Googlebot/2.1", true),
                ("Googlebot/9", true),
                ("curl/8.5.0", false),
                ("  curl/8.5.0", false),
                ("bingbot/2.0", false),
            ],
        );
        check(
            json!({ "whitelist": ["Googlebot"], "blacklist": ["curl"] }),
            &[("Googlebot/2.1", true), ("curl", false)],
        );
        check(
            json!({ "allow": null, "deny": null }),
            &[("Googlebot/2.1", false), ("curl", true)],
        );
    }

    #[test]
    fn answers_are_kongs() {
        let kit = Kit::new::<BotDetection>(json!({}));
        let reply = kit.access(request(&["Googlebot/2.1"])).reply.unwrap();
        assert_eq!((reply.status.as_u16(), reply.text()), (403, Some("Forbidden")));
        let reply = kit.access(request(&["a", "b"])).reply.unwrap();
        assert_eq!(
            (reply.status.as_u16(), reply.text()),
            (400, Some("Only one User-Agent header allowed"))
        );
        assert!(kit.access(request(&[])).reply.is_none());
    }

    #[test]
    fn wrong_settings_are_named() {
        let registry = Registry::new().with::<BotDetection>();
        for (config, pointer) in [
            (json!({ "deny": ["a", "["] }), "/config/deny/1"),
            (json!({ "allow": ["("] }), "/config/allow/0"),
            (json!({ "allow": "a" }), "/config/allow"),
        ] {
            let mut document = json!({ "name": "bot-detection", "config": config })
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
        let kit = Kit::new::<BotDetection>(json!({ "deny": ["^curl/"] }));
        crate::builtin::auth::allocations(&kit, || request(&["Mozilla/5.0 (X11; Linux x86_64)"]), 0);
    }
}
