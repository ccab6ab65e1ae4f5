//! `redirect`: sends clients elsewhere: to a location (Kong), by a template or a regular expression, or to HTTPS (APISIX).

use bytes::Bytes;
use fancy_regex::Regex;
use gw_core::Protocol;
use http::header::{HeaderName, HeaderValue, LOCATION};
use http::{Method, StatusCode};

use crate::cx::RequestCx;
use crate::dollar_template::DollarTemplate;
use crate::env::BuildEnv;
use crate::limits::refused;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Plugin};
use crate::reply::{Flow, Reply};

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Bound: steps back that a regular expression may take on one path.
const BACKTRACKS: usize = 100_000;

pub(crate) struct Redirect {
    way: Way,
    status: StatusCode,
    encodes: bool,
    appends_query: bool,
    /// Whether the settings say that two slashes begin the name of another host.
    names_host: bool,
}

/// Where to.
enum Way {
    /// To this location.
    Location(HeaderValue),
    /// To this scheme and authority, with the request's path and query.
    Keeping(Box<str>),
    /// To what a template gives.
    Template(DollarTemplate),
    /// To what a template gives for the groups of an expression; those whose path does not match go on.
    Matching(Box<Regex>, DollarTemplate),
    /// To HTTPS; those that use it go on.
    Https,
    /// Nowhere: `http_to_https` is off, and nothing else is set.
    Nowhere,
}

#[derive(Debug, serde::Deserialize)]
pub(crate) struct Config {
    status_code: u16,
    location: Option<Box<str>>,
    keep_incoming_path: bool,
    uri: Option<Box<str>>,
    regex_uri: Option<(Box<str>, Box<str>)>,
    http_to_https: Option<bool>,
    ret_code: u16,
    encode_uri: bool,
    append_query_string: bool,
}

impl Definition for Redirect {
    const NAME: &'static str = "redirect";
    const PRIORITY: i32 = 779;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("redirect.json");

    type Config = Config;

    fn build(config: Config, _env: &BuildEnv) -> Result<Self, BuildError> {
        let (pointer, code) = match config.location {
            Some(_) => ("/status_code", config.status_code),
            None => ("/ret_code", config.ret_code),
        };
        let status = StatusCode::from_u16(code)
            .map_err(|_| refused(pointer, "value should be between 200 and 599"))?;
        let templates = [
            config.uri.as_deref(),
            config.regex_uri.as_ref().map(|(_, template)| &**template),
        ];
        let names_host = templates
            .into_iter()
            .flatten()
            .any(|template| template.starts_with("//"));
        let to_https = config.http_to_https == Some(true);
        let way = match (config.location, config.uri, config.regex_uri, to_https) {
            (Some(location), None, None, false) => at_location(&location, config.keep_incoming_path)?,
            (None, Some(template), None, false) => Way::Template(DollarTemplate::parse(&template)),
            (None, None, Some((pattern, template)), false) => matching(&pattern, &template)?,
            (None, None, None, true) => Way::Https,
            (None, None, None, false) if config.http_to_https.is_some() => Way::Nowhere,
            _ => {
                let names = "'location', 'uri', 'regex_uri', 'http_to_https'";
                return Err(refused(
                    "",
                    format!("only one of these fields must be non-empty: {names}"),
                ));
            }
        };
        Ok(Self {
            way,
            status,
            encodes: config.encode_uri,
            appends_query: config.append_query_string,
            names_host,
        })
    }
}

fn at_location(location: &str, keeps_path: bool) -> Result<Way, BuildError> {
    let refuse = |what| {
        refused(
            "/location",
            format!("missing {what} in url; write it as 'https://host/path'"),
        )
    };
    let (scheme, rest) = location.split_once("://").ok_or_else(|| refuse("scheme"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(refuse("scheme"));
    }
    if authority.is_empty() {
        return Err(refuse("host"));
    }
    Ok(match keeps_path {
        true => Way::Keeping(format!("{scheme}://{authority}").into()),
        false => Way::Location(visible(location)),
    })
}

fn matching(pattern: &str, template: &str) -> Result<Way, BuildError> {
    let expression = fancy_regex::RegexBuilder::new(pattern)
        .backtrack_limit(BACKTRACKS)
        .build();
    let expression =
        expression.map_err(|error| refused("/regex_uri/0", format!("is no regular expression: {error}")))?;
    Ok(Way::Matching(
        Box::new(expression),
        DollarTemplate::parse(template),
    ))
}

impl Plugin for Redirect {
    type State = ();

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        let text = match &self.way {
            Way::Location(location) => return kongs(self.status, location.clone()),
            Way::Keeping(start) => {
                let target = cx.facts().target.map_or("/", |target| target.as_str());
                return kongs(self.status, visible(&format!("{start}{target}")));
            }
            Way::Nowhere => return Flow::Continue,
            Way::Https => return to_https(cx),
            Way::Template(template) => template.fill(|name| cx.variable(name)).text,
            Way::Matching(expression, template) => match rewritten(cx.uri().path(), expression, template) {
                Some(text) => text,
                None => return Flow::Continue,
            },
        };
        let location = self.location(&text, cx.uri().query());
        Reply::bytes(self.status, Bytes::new())
            .header(LOCATION, location)
            .into()
    }
}

/// The path with what matched replaced; nothing if nothing matches. One that takes too many steps does not match.
fn rewritten(path: &str, expression: &Regex, template: &DollarTemplate) -> Option<String> {
    let found = expression.captures(path).ok()??;
    let whole = found.get(0)?;
    let group = |name: &str| Some(found.get(name.parse().ok()?)?.as_str().to_owned());
    let (before, after) = (path.get(..whole.start())?, path.get(whole.end()..)?);
    Some(format!("{before}{}{after}", template.fill(group).text))
}

/// To the same place over HTTPS, unless it has been used, by the client or by a proxy's word.
fn to_https(cx: &RequestCx<'_>) -> Flow {
    let is_https = match cx.headers().get(FORWARDED_PROTO) {
        Some(scheme) => *scheme != "http",
        None => cx.facts().scheme == Protocol::Https,
    };
    if is_https {
        return Flow::Continue;
    }
    let status = match *cx.facts().method {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    let host = cx.variable("host").unwrap_or_default();
    let target = cx.facts().target.map_or("/", |target| target.as_str());
    let location = visible(&format!("https://{host}{target}"));
    Reply::bytes(status, Bytes::new())
        .header(LOCATION, location)
        .into()
}

/// Kong's answer.
fn kongs(status: StatusCode, location: HeaderValue) -> Flow {
    Reply::bytes(status, "redirecting")
        .header(LOCATION, location)
        .into()
}

impl Redirect {
    fn location(&self, text: &str, query: Option<&str>) -> HeaderValue {
        // Note: a path of the client's that begins with two slashes would name another host.
        let text = match text.strip_prefix("//") {
            Some(rest) if !self.names_host => format!("/{}", rest.trim_start_matches('/')),
            _ => text.to_owned(),
        };
        let (path, own_query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*text, None),
        };
        let mut location = match self.encodes {
            true => escaped(path, |byte| matches!(byte, b' ' | b'#' | b'%' | b'?')),
            false => path.to_owned(),
        };
        let appended = query.filter(|_| self.appends_query);
        for (part, sign) in own_query.into_iter().chain(appended).zip(['?', '&']) {
            location.push(sign);
            location.push_str(part);
        }
        visible(&location)
    }
}

/// As a header's value: what none can hold is percent-encoded.
fn visible(text: &str) -> HeaderValue {
    HeaderValue::try_from(escaped(text, |byte| byte == b' ')).expect("visible ASCII")
}

/// With these bytes percent-encoded, and those that are not visible ASCII.
fn escaped(text: &str, also: impl Fn(u8) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if !also(byte) => escaped.push(byte.into()),
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                escaped.push('%');
                escaped.push(DIGITS[usize::from(byte >> 4)].into());
                escaped.push(DIGITS[usize::from(byte & 15)].into());
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
