//! From APISIX's settings to a rewriting.

use fancy_regex::RegexBuilder;
use http::Method;
use http::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::super::edit;
use super::template::Template;
use super::{Filling, ProxyRewrite, Rewriting};
use crate::plugin::BuildError;

/// Bound: steps back that a regular expression with look-around may take.
const MOST_BACKTRACKING: usize = 100_000;

#[derive(serde::Deserialize)]
pub(crate) struct Settings {
    uri: Option<String>,
    regex_uri: Option<Vec<String>>,
    method: Option<String>,
    host: Option<String>,
    headers: Option<Map<String, Value>>,
    use_real_request_uri_unsafe: bool,
}

impl Settings {
    pub(super) fn build(self) -> Result<ProxyRewrite, BuildError> {
        let headers = self.headers.clone().unwrap_or_default();
        let names = ["add", "set", "remove"];
        let is_list = |name: &str| {
            headers
                .get(name)
                .is_some_and(|value| value.is_object() || value.is_array())
        };
        let (add, set, remove) = if names.into_iter().any(is_list) {
            if let Some(name) = headers
                .keys()
                .find(|name| !names.contains(&name.as_str()) || !is_list(name))
            {
                return Err(refuse(
                    &format!("/headers/{}", pointer(name)),
                    "cannot stand beside `add`, `set` and `remove`; put it into `set`",
                ));
            }
            let remove = headers
                .get("remove")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let remove = remove.iter().filter_map(Value::as_str).enumerate();
            let remove = remove
                .map(|(position, name)| edit::header_name(name, &format!("/headers/remove/{position}")));
            (
                fillings(headers.get("add"), "/headers/add")?,
                fillings(headers.get("set"), "/headers/set")?,
                remove.collect::<Result<_, _>>()?,
            )
        } else {
            (
                Vec::new(),
                fillings(Some(&Value::Object(headers)), "/headers")?,
                Vec::new(),
            )
        };
        let rewriting = self.rewriting()?;
        let mut templates = add.iter().chain(&set).filter_map(|(_, filling)| match filling {
            Filling::Template(template) => Some(template),
            Filling::Fixed(_) => None,
        });
        let captures = templates.any(Template::uses_captures)
            || match &rewriting {
                Rewriting::Uri(uri) => uri.uses_captures(),
                Rewriting::Regex { rules, .. } => rules.iter().any(|(_, template)| template.uses_captures()),
                Rewriting::None | Rewriting::Real => false,
            };
        let method = self.method.map(|method| Method::from_bytes(method.as_bytes()));
        let host = self.host.map(|host| HeaderValue::from_str(&host));
        Ok(ProxyRewrite {
            rewriting,
            method: method
                .transpose()
                .map_err(|_| refuse("/method", "is not a method"))?,
            host: host.transpose().map_err(|_| refuse("/host", "is not a host"))?,
            add,
            set,
            remove,
            captures,
        })
    }

    fn rewriting(&self) -> Result<Rewriting, BuildError> {
        let real = self.use_real_request_uri_unsafe;
        if let Some(uri) = &self.uri {
            return Ok(Rewriting::Uri(Template::read(uri)));
        }
        let Some(texts) = &self.regex_uri else {
            return Ok(if real { Rewriting::Real } else { Rewriting::None });
        };
        if !texts.len().is_multiple_of(2) {
            return Err(refuse(
                "/regex_uri",
                "The length of regex_uri should be an even number",
            ));
        }
        let mut rules = Vec::new();
        for (position, pair) in texts.chunks_exact(2).enumerate() {
            let [pattern, replacement] = pair else { continue };
            let mut builder = RegexBuilder::new(pattern);
            let regex = builder
                .backtrack_limit(MOST_BACKTRACKING)
                .build()
                .map_err(|error| {
                    let message = format!("invalid regex_uri({pattern}, {replacement}): {error}");
                    refuse(&format!("/regex_uri/{}", 2 * position), &message)
                })?;
            rules.push((regex, Template::read(replacement)));
        }
        Ok(Rewriting::Regex { rules, real })
    }
}

fn refuse(pointer: &str, message: &str) -> BuildError {
    BuildError::Setting {
        pointer: pointer.into(),
        message: message.into(),
    }
}

/// A name as a piece of a JSON pointer.
fn pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Names and values.
fn fillings(map: Option<&Value>, place: &str) -> Result<Vec<(HeaderName, Filling)>, BuildError> {
    let entries = map.and_then(Value::as_object).into_iter().flatten();
    entries
        .map(|(name, value)| {
            let place = format!("{place}/{}", pointer(name));
            let text = match value {
                Value::String(text) => text.clone(),
                number => number.to_string(),
            };
            let template = Template::read(&text);
            let filling = match template.fixed() {
                Some(text) => Filling::Fixed(edit::header_text(text, &place)?),
                None => Filling::Template(template),
            };
            Ok((edit::header_name(name, &place)?, filling))
        })
        .collect()
}
