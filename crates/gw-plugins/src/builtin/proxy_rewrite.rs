//! `proxy-rewrite`: rewrites path, method, host and headers before the request goes upstream, as APISIX does.

mod settings;
mod template;

use fancy_regex::Regex;
use http::header::{HOST, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use self::settings::Settings;
use self::template::{Place, Template};
use super::edit::{self, escape};
use crate::cx::RequestCx;
use crate::env::BuildEnv;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Needs, Plugin};
use crate::reply::{Flow, Reply};

pub(crate) struct ProxyRewrite {
    rewriting: Rewriting,
    method: Option<Method>,
    host: Option<HeaderValue>,
    add: Vec<(HeaderName, Filling)>,
    set: Vec<(HeaderName, Filling)>,
    remove: Vec<HeaderName>,
    captures: bool,
}

/// What becomes of the path.
enum Rewriting {
    /// It stays.
    None,
    /// It stays as the client sent it.
    Real,
    /// It becomes this.
    Uri(Template),
    /// What matches becomes something else.
    Regex {
        rules: Vec<(Regex, Template)>,
        real: bool,
    },
}

/// A header's value.
enum Filling {
    Fixed(HeaderValue),
    Template(Template),
}

impl Definition for ProxyRewrite {
    const NAME: &'static str = "proxy-rewrite";
    const PRIORITY: i32 = 1008;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("proxy_rewrite.json");

    type Config = Settings;

    fn build(settings: Settings, _: &BuildEnv) -> Result<Self, BuildError> {
        settings.build()
    }
}

impl Plugin for ProxyRewrite {
    type State = ();

    fn needs(&self) -> Needs {
        match self.captures {
            true => Needs::none().captures(),
            false => Needs::none(),
        }
    }

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        let Some((target, groups)) = self.rewritten(cx) else {
            return Reply::message(StatusCode::INTERNAL_SERVER_ERROR, "failed to match the uri").into();
        };
        // Variables mean the request as it came: texts are made before anything is changed.
        let value = |filling: &Filling| match filling {
            Filling::Fixed(value) => Some(value.clone()),
            Filling::Template(template) => {
                let text = template.fill(&groups, |name| cx.variable(name), Place::Header);
                edit::header_value(text.as_bytes())
            }
        };
        let values = |list: &[(HeaderName, Filling)]| -> Vec<Option<HeaderValue>> {
            list.iter().map(|(_, filling)| value(filling)).collect()
        };
        let (added, set) = (values(&self.add), values(&self.set));
        if let Some(target) = target
            && !target.go(cx)
        {
            return Reply::message(StatusCode::BAD_REQUEST, "Bad request").into();
        }
        if let Some(host) = &self.host {
            cx.set_host(host.clone());
        }
        for ((name, _), value) in self.add.iter().zip(added) {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                cx.headers_mut().append(name, value);
            }
        }
        for ((name, _), value) in self.set.iter().zip(set) {
            match value {
                Some(value) if *name == HOST => cx.set_host(value),
                Some(value) => drop(cx.headers_mut().insert(name, value)),
                None => {}
            }
        }
        for name in &self.remove {
            cx.headers_mut().remove(name);
        }
        if let Some(method) = &self.method {
            cx.set_method(method.clone());
        }
        Flow::Continue
    }
}

/// Where the request goes instead.
struct Target {
    path: String,
    /// What the query becomes; none if it stays.
    query: Option<Option<String>>,
}

impl Target {
    /// A path with arguments that come before the request's own.
    fn with_arguments(path: String, brought: Option<String>, own: Option<&str>) -> Self {
        let query = brought.map(|brought| match own {
            Some(own) => Some(format!("{brought}&{own}")),
            None => Some(brought),
        });
        Self { path, query }
    }

    fn go(&self, cx: &mut RequestCx<'_>) -> bool {
        let path = match self.path.starts_with('/') {
            true => escape::path(&self.path),
            false => format!("/{}", escape::path(&self.path)).into(),
        };
        let query = self
            .query
            .as_ref()
            .map(|query| query.as_deref().map(escape::query));
        cx.set_path(&path) && query.is_none_or(|query| cx.set_query(query.as_deref()))
    }
}

/// What the groups of an expression took; the first is the whole match.
type Groups = Vec<String>;

impl ProxyRewrite {
    /// Where the request goes, if elsewhere, and what the groups of the expression that said so took. None if a search takes too
    /// long.
    fn rewritten(&self, cx: &RequestCx<'_>) -> Option<(Option<Target>, Groups)> {
        let variable = |name: &str| cx.variable(name);
        let own = cx.uri().query();
        Some(match &self.rewriting {
            Rewriting::None => (None, Groups::new()),
            Rewriting::Real => (Some(real(cx)), Groups::new()),
            Rewriting::Uri(uri) => {
                let (path, arguments) = uri.fill_uri(&[], variable);
                (Some(Target::with_arguments(path, arguments, own)), Groups::new())
            }
            Rewriting::Regex { rules, real: is_real } => {
                let subject = match (is_real, cx.facts().target) {
                    (true, Some(target)) => target.as_str(),
                    _ => cx.uri().path(),
                };
                for (regex, template) in rules {
                    let Some(found) = regex.captures(subject).ok()? else {
                        continue;
                    };
                    let groups: Groups = found
                        .iter()
                        .map(|group| group.map_or_else(String::new, |group| group.as_str().to_owned()))
                        .collect();
                    let whole = found.get(0)?;
                    let before = subject.get(..whole.start()).unwrap_or_default();
                    let after = subject.get(whole.end()..).unwrap_or_default();
                    let target = match is_real {
                        true => {
                            let made = template.fill(&groups, variable, Place::Path);
                            real_target(&format!("{before}{made}{after}"))
                        }
                        false => {
                            let (made, arguments) = template.fill_uri(&groups, variable);
                            // What follows the match belongs to whatever the replacement ends with.
                            let (path, arguments) = match arguments {
                                Some(arguments) => (format!("{before}{made}"), Some(arguments + after)),
                                None => (format!("{before}{made}{after}"), None),
                            };
                            Target::with_arguments(path, arguments, own)
                        }
                    };
                    return Some((Some(target), groups));
                }
                (is_real.then(|| real(cx)), Groups::new())
            }
        })
    }
}

/// The request's own path and query, as the client sent them.
fn real(cx: &RequestCx<'_>) -> Target {
    match cx.facts().target {
        Some(target) => real_target(target.as_str()),
        None => real_target(cx.uri().path()),
    }
}

fn real_target(target: &str) -> Target {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    Target {
        path: path.to_owned(),
        query: Some(query),
    }
}

#[cfg(test)]
mod tests;
