//! What a test knows of a file: from its text, and from the gateway that runs on it.

use gw_admin::declarative::{self, Surroundings, Withheld};
use gw_plugins::Registry;
use serde_json::{Value, json};

use super::sample::sample;
use crate::support::Stage;

/// A file as it is written.
pub(super) struct Document(Value);

struct Filled(Vec<(String, String)>);

impl Surroundings for Filled {
    fn now(&self) -> u64 {
        0
    }

    fn variable(&self, name: &str) -> Result<String, Withheld> {
        self.shell_variable(name).ok_or(Withheld::Unset)
    }

    fn shell_variable(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }

    fn are_filled_in(&self) -> bool {
        true
    }
}

/// Puts names in the place of addresses that requests are sent to: nobody else's machine is to get any.
pub(super) fn with_names_for_addresses(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if leads_somewhere(line) {
            out.push_str(&without_addresses(line).replace("localhost", "localhost.test"));
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

/// Whether a line says where requests go.
fn leads_somewhere(line: &str) -> bool {
    ["url", "host", "target"].iter().any(|key| {
        let mut places = line.match_indices(key);
        places.any(|(start, _)| {
            let (before, after) = line.split_at(start);
            let after = after.get(key.len()..).unwrap_or_default();
            let alone = !before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
            alone && after.trim_start_matches(['"', '\'']).starts_with(':')
        })
    })
}

/// Variables for what a file leaves to the environment: addresses for addresses, keys for keys.
pub(super) fn variables(text: &str) -> Vec<(String, String)> {
    const KEY: &str = include_str!("rsa.pub");
    let mut found: Vec<(String, String)> = Vec::new();
    for piece in text.split('$').skip(1) {
        let piece = piece.trim_start_matches(['{', ' ']);
        let is_part = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
        let name = piece.split(|letter| !is_part(letter)).next().unwrap_or_default();
        if name.len() < 3 || found.iter().any(|(known, _)| known == name) {
            continue;
        }
        let lower = name.to_ascii_lowercase().replace('_', "-");
        let value = match name {
            // What people build with Lua from their keys.
            name if name.starts_with("LUA_") => "$(headers.authorization)".to_owned(),
            name if name.ends_with("URL") => format!("http://{lower}.test:8080"),
            name if name.ends_with("PORT") => "8080".to_owned(),
            name if name.contains("PUBLIC_KEY") => KEY.to_owned(),
            name if name.ends_with("CERT") => pem("crt"),
            name if ["CLIENT_KEY", "PRIVATE_KEY", "TLS_KEY", "SSL_KEY"]
                .iter()
                .any(|end| name.ends_with(end)) =>
            {
                pem("key")
            }
            _ => lower,
        };
        found.push((name.to_owned(), value));
    }
    found
}

/// A line with `ip-1-2-3-4.test` for `1.2.3.4`.
fn without_addresses(line: &str) -> String {
    let is_part = |letter: char| letter.is_ascii_digit() || letter == '.';
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(is_part) {
        let (before, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|letter| !is_part(letter)).unwrap_or(from.len()));
        out.push_str(before);
        match word.parse::<std::net::Ipv4Addr>() {
            Ok(address) => out.push_str(&format!("ip-{}.test", address.to_string().replace('.', "-"))),
            Err(_) => out.push_str(word),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

impl Document {
    pub(super) fn read(text: &str) -> Self {
        let registry = Registry::builtin();
        let kinds = registry.kinds().expect("the schemas of plugins compile");
        let rendered = declarative::render(text, &kinds, &registry, &Filled(variables(text)));
        Self(rendered.map_or(Value::Null, |rendered| Value::Object(rendered.document().clone())))
    }

    pub(super) fn format(&self) -> String {
        self.0["_format_version"].as_str().unwrap_or("?").to_owned()
    }

    /// The consumers, each with its credentials of a kind, nested or flat, and the groups it is in.
    pub(super) fn credentials(&self, kind: &str) -> Vec<(Value, Vec<String>)> {
        let mut found = Vec::new();
        for consumer in items(&self.0["consumers"]) {
            let groups = self.groups(consumer);
            for credential in items(&consumer[kind]).chain(self.of(kind, consumer)) {
                found.push((credential.clone(), groups.clone()));
            }
        }
        found
    }

    fn groups(&self, consumer: &Value) -> Vec<String> {
        let lists = items(&consumer["acls"]).chain(self.of("acls", consumer));
        lists
            .filter_map(|acl| acl["group"].as_str())
            .map(str::to_owned)
            .collect()
    }

    /// What of a list at the top belongs to a consumer.
    fn of<'a>(&'a self, list: &'a str, consumer: &'a Value) -> impl Iterator<Item = &'a Value> {
        let names = [&consumer["username"], &consumer["id"], &consumer["custom_id"]];
        items(&self.0[list]).filter(move |item| {
            let owner = match &item["consumer"] {
                Value::Object(record) => record.values().next().cloned().unwrap_or_default(),
                name => name.clone(),
            };
            !owner.is_null() && names.contains(&&owner)
        })
    }
}

/// What the gateway says that it has.
pub(super) struct Names {
    pub(super) routes: Vec<Value>,
    services: Vec<Value>,
    plugins: Vec<Value>,
    /// Hosts of targets, by the name of their upstream.
    targets: Vec<(String, String)>,
}

impl Names {
    pub(super) async fn read(stage: &Stage) -> Self {
        let list = async |path: &str| stage.read(&format!("{path}?size=1000")).await["data"].clone();
        let mut targets = Vec::new();
        for upstream in items(&list("/upstreams").await) {
            let (id, name) = (upstream["id"].as_str(), upstream["name"].as_str());
            for target in items(&list(&format!("/upstreams/{}/targets", id.unwrap_or_default())).await) {
                let host = target["target"]
                    .as_str()
                    .unwrap_or_default()
                    .split(':')
                    .next()
                    .unwrap_or_default();
                targets.push((name.unwrap_or_default().to_owned(), host.to_owned()));
            }
        }
        let vec = |value: Value| items(&value).cloned().collect();
        Self {
            routes: vec(list("/routes").await),
            services: vec(list("/services").await),
            plugins: vec(list("/plugins").await),
            targets,
        }
    }

    pub(super) fn service_of(&self, route: &Value) -> Option<&Value> {
        let id = &route["service"]["id"];
        self.services
            .iter()
            .find(|service| id.is_string() && service["id"] == *id)
    }

    /// The hosts that a service may be asked for by.
    pub(super) fn hosts_of(&self, service: &Value) -> Vec<String> {
        let host = service["host"].as_str().unwrap_or_default();
        let targets = self.targets.iter().filter(|(upstream, _)| upstream == host);
        targets
            .map(|(_, host)| host.clone())
            .chain([host.to_owned()])
            .collect()
    }

    /// The instances that run for a route whoever calls: of each plugin the most specific.
    pub(super) fn plugins_of(&self, route: &Value) -> Vec<Value> {
        let covers = |plugin: &&Value| {
            let bound = |field: &str, id: &Value| plugin[field].is_null() || plugin[field]["id"] == *id;
            plugin["enabled"] == true
                && bound("route", &route["id"])
                && bound("service", &route["service"]["id"])
                && plugin["consumer"].is_null()
                && plugin["consumer_group"].is_null()
        };
        let specific = |plugin: &Value| (!plugin["route"].is_null(), !plugin["service"].is_null());
        let mut chosen: Vec<Value> = Vec::new();
        for plugin in self.plugins.iter().filter(covers) {
            match chosen.iter_mut().find(|other| other["name"] == plugin["name"]) {
                Some(other) if specific(other) < specific(plugin) => *other = plugin.clone(),
                Some(_) => {}
                None => chosen.push(plugin.clone()),
            }
        }
        chosen
    }
}

/// Whether a service is asked by something else than HTTP/1.
pub(super) fn is_no_http(service: &Value) -> bool {
    matches!(
        service["protocol"].as_str(),
        Some("tcp" | "tls" | "udp" | "grpc" | "grpcs")
    )
}

/// Paths, some with a query, that the route matches; others may match them as well.
pub(super) fn targets(route: &Value) -> Vec<String> {
    let patterns = texts(&route["uris"]).map(of_pattern);
    let paths = texts(&route["paths"]).flat_map(|path| match path.strip_prefix('~') {
        Some(regex) => sample(regex).into_iter().collect(),
        None => vec![
            format!("{}/probe?q=1", path.trim_end_matches('/')),
            path.to_owned(),
        ],
    });
    let mut targets: Vec<String> = patterns.chain(paths).collect();
    if items(&route["uris"])
        .chain(items(&route["paths"]))
        .next()
        .is_none()
    {
        targets.push("/probe?q=1".to_owned());
    }
    targets
}

/// Whether a route gets all that another matches, because regular expressions go before plain paths in Kong.
pub(super) fn goes_before(one: &Value, other: &Value, targets: &[String]) -> bool {
    let is_plain = paths(other).len() == items(&other["paths"]).count();
    let patterns = texts(&one["paths"]).filter_map(|path| path.strip_prefix('~'));
    let patterns: Vec<regex::Regex> = patterns
        .filter_map(|pattern| regex::Regex::new(&format!("^(?:{pattern})")).ok())
        .collect();
    let matched = |target: &String| {
        let path = target.split('?').next().unwrap_or_default();
        patterns.iter().any(|pattern| pattern.is_match(path))
    };
    is_plain && targets.iter().all(matched)
}

/// What a pattern as `/users/{id}/*` matches.
fn of_pattern(pattern: &str) -> String {
    let part = |segment: &str| match segment.find(['{', '*', ':']) {
        Some(start) => format!("{}probe", segment.get(..start).unwrap_or_default()),
        None => segment.to_owned(),
    };
    pattern.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// A host that the route matches, if it asks for one.
pub(super) fn host(route: &Value) -> Option<String> {
    Some(texts(&route["hosts"]).next()?.replace('*', "any"))
}

/// Headers that the route asks for.
pub(super) fn headers(route: &Value) -> Vec<(String, String)> {
    let of = |(name, values): (&String, &Value)| {
        let value = texts(values)
            .next()
            .map(|value| value.trim_start_matches("~*").to_owned());
        (name.clone(), value.unwrap_or_default())
    };
    route["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(of)
        .collect()
}

/// The plain paths of a route, in their normal form.
pub(super) fn paths(route: &Value) -> Vec<String> {
    texts(&route["paths"])
        .filter(|path| !path.starts_with('~'))
        .map(str::to_owned)
        .collect()
}

fn pem(kind: &str) -> String {
    let path = format!(
        "{}/../gw-core/tests/fixtures/pem/rsa.{kind}",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(path).expect("a fixture")
}

pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(super) fn texts(value: &Value) -> impl Iterator<Item = &str> {
    items(value).filter_map(Value::as_str)
}

#[test]
fn addresses_become_names_where_requests_go() {
    let text =
        "url: http://10.0.0.1:80/v1.2\nallow: [10.0.0.1]\n- target: localhost:1\nhosts:\n- localhost:8000\n";
    assert_eq!(
        with_names_for_addresses(text),
        "url: http://ip-10-0-0-1.test:80/v1.2\nallow: [10.0.0.1]\n- target: localhost.test:1\nhosts:\n- localhost:8000\n"
    );
    assert_eq!(of_pattern("/users/{id}/*"), "/users/probe/probe");
    assert_eq!(of_pattern("/me{*rest}"), "/meprobe");
    assert_eq!(
        json!(host(&json!({ "hosts": ["*.a.test:80"] }))),
        json!("any.a.test:80")
    );
}
