//! What each kind of plugin does that can be seen from outside.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use gw_testkit::{Answer, Call, Received};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::file::{Document, items, texts};

/// A request's answer, and what a service got of it.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) answer: Answer,
    pub(super) received: Option<Received>,
}

/// Whether a plugin was seen at work.
#[derive(Debug)]
pub(super) enum Shown {
    /// Nothing of it is to be seen from here.
    Nothing,
    Yes,
    /// It answered itself, as it should.
    Answered,
    No(String),
}

/// A caller that is known, if there is one: what to send.
pub(super) struct Known {
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
}

const AUTH: [&str; 4] = ["key-auth", "basic-auth", "jwt", "hmac-auth"];

fn name(plugin: &Value) -> &str {
    plugin["name"].as_str().unwrap_or_default()
}

fn find<'p>(plugins: &'p [Value], wanted: &str) -> Option<&'p Value> {
    plugins.iter().find(|plugin| name(plugin) == wanted)
}

/// A client's address that restrictions let pass, if there are any.
pub(super) fn client(plugins: &[Value]) -> Option<String> {
    let restriction = find(plugins, "ip-restriction")?;
    let allowed = texts(&restriction["config"]["allow"]).next()?;
    Some(allowed.split('/').next().unwrap_or_default().to_owned())
}

/// What a browser would add.
pub(super) fn decorate(call: Call, plugins: &[Value]) -> Call {
    let call = call.header("user-agent", "Mozilla/5.0 (X11; Linux x86_64)");
    match find(plugins, "cors") {
        Some(cors) => call.header("origin", origin(cors)),
        None => call,
    }
}

fn origin(cors: &Value) -> String {
    let plain = texts(&cors["config"]["origins"])
        .find(|origin| origin.starts_with("http") && !origin.contains(['*', '(', '\\']));
    plain.unwrap_or("https://page.example").to_owned()
}

/// Makes a caller of the file's that all authentication lets pass; none if there is nobody to be, or no need to.
pub(super) fn authenticate(document: &Document, plugins: &[Value], target: String) -> Option<Known> {
    let allowed: Option<Vec<String>> =
        find(plugins, "acl").map(|acl| texts(&acl["config"]["allow"]).map(str::to_owned).collect());
    let fits = |groups: &[String]| {
        allowed
            .as_ref()
            .is_none_or(|allowed| allowed.is_empty() || groups.iter().any(|group| allowed.contains(group)))
    };
    let pick = |kind: &str, usable: fn(&Value) -> bool| {
        let all = document.credentials(kind);
        all.into_iter()
            .find(|(credential, groups)| usable(credential) && fits(groups))
            .map(|(credential, _)| credential)
    };
    let mut known = Known {
        target,
        headers: Vec::new(),
    };
    let mut needed = false;
    for plugin in plugins.iter().filter(|plugin| AUTH.contains(&name(plugin))) {
        needed = true;
        match name(plugin) {
            "key-auth" => {
                let credential = pick("keyauth_credentials", |credential| credential["key"].is_string())?;
                let header = texts(&plugin["config"]["key_names"]).next()?.to_owned();
                let key = credential["key"].as_str()?.to_owned();
                if plugin["config"]["key_in_header"] == false {
                    let mark = if known.target.contains('?') { '&' } else { '?' };
                    known.target.push_str(&format!("{mark}{header}={key}"));
                } else {
                    known.headers.push((header, key));
                }
            }
            "basic-auth" => {
                let credential = pick("basicauth_credentials", |credential| {
                    credential["password"].is_string()
                })?;
                let pair = format!(
                    "{}:{}",
                    credential["username"].as_str()?,
                    credential["password"].as_str()?
                );
                known.headers.push((
                    "authorization".to_owned(),
                    format!("Basic {}", BASE64_STANDARD.encode(pair)),
                ));
            }
            "jwt" => {
                let credential = pick("jwt_secrets", |credential| {
                    matches!(credential["algorithm"].as_str(), None | Some("HS256"))
                        && credential["secret"].is_string()
                        && credential["key"].is_string()
                })?;
                let token = token(&credential, &plugin["config"])?;
                known
                    .headers
                    .push(("authorization".to_owned(), format!("Bearer {token}")));
            }
            _ => return None,
        }
    }
    needed.then_some(known)
}

fn token(credential: &Value, config: &Value) -> Option<String> {
    let claim = config["key_claim_name"].as_str().unwrap_or("iss");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()?
        .as_secs();
    let mut claims = json!({ "nbf": now - 10, "exp": now + 600 });
    claims[claim] = credential["key"].clone();
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!(
        "{}.{}",
        encode(&json!({ "alg": "HS256", "typ": "JWT" })),
        encode(&claims)
    );
    let secret = credential["secret"].as_str()?.as_bytes().to_vec();
    let secret = match config["secret_is_base64"] == true {
        true => BASE64_STANDARD.decode(&secret).ok()?,
        false => secret,
    };
    Some(format!(
        "{signed}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(hmac(&secret, signed.as_bytes()))
    ))
}

/// HMAC with SHA-256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut block = [0_u8; BLOCK];
    let key = if key.len() > BLOCK {
        Sha256::digest(key).to_vec()
    } else {
        key.to_vec()
    };
    block.iter_mut().zip(key).for_each(|(to, from)| *to = from);
    let pad = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}

/// Whether the path that a service sees is the plugin's to say.
pub(super) fn rewrites_path(plugin: &Value) -> bool {
    match name(plugin) {
        "request-transformer" => plugin["config"]["replace"]["uri"].is_string(),
        "proxy-rewrite" => plugin["config"]["uri"].is_string() || plugin["config"]["regex_uri"].is_array(),
        _ => false,
    }
}

/// Whether the method that a service sees is the plugin's to say.
pub(super) fn rewrites_method(plugin: &Value) -> bool {
    match name(plugin) {
        "request-transformer" => plugin["config"]["http_method"].is_string(),
        "proxy-rewrite" => plugin["config"]["method"].is_string(),
        _ => false,
    }
}

/// Whether the host that a service sees is the plugin's to say.
pub(super) fn rewrites_host(plugin: &Value) -> bool {
    let sets_host = |list: &Value| texts(list).any(|item| item.to_ascii_lowercase().starts_with("host:"));
    match name(plugin) {
        "request-transformer" => ["add", "replace", "append"]
            .iter()
            .any(|what| sets_host(&plugin["config"][what]["headers"])),
        "proxy-rewrite" => plugin["config"]["host"].is_string(),
        _ => false,
    }
}

/// What was seen of a plugin, by what it is.
pub(super) fn shown(plugin: &Value, stranger: &Exchange, is_known: bool, exchange: &Exchange) -> Shown {
    let config = &plugin["config"];
    let (answer, received) = (&exchange.answer, &exchange.received);
    let must = |holds: bool, why: String| if holds { Shown::Yes } else { Shown::No(why) };
    match name(plugin) {
        kind if AUTH.contains(&kind) => {
            let refused = stranger.answer.status == 401 && stranger.received.is_none();
            if !refused && config["anonymous"].is_null() {
                return Shown::No(format!("a stranger was answered {}", stranger.answer.status));
            }
            if is_known && answer.status == 401 {
                return Shown::No(format!(
                    "a caller of the file's was answered 401: {}",
                    answer.text()
                ));
            }
            if is_known { Shown::Yes } else { Shown::Answered }
        }
        "request-termination" if config["trigger"].is_null() => {
            let status = config["status_code"].as_u64().unwrap_or(503);
            if u64::from(answer.status) == status && received.is_none() {
                Shown::Answered
            } else {
                Shown::No(format!("answered {}, not {status}", answer.status))
            }
        }
        "redirect" if received.is_none() && answer.header("location").is_some() => {
            let is_redirect = (300..400).contains(&answer.status);
            if is_redirect {
                Shown::Answered
            } else {
                Shown::No(format!("answered {}", answer.status))
            }
        }
        "ip-restriction" if answer.status == 403 => Shown::No(format!("refused: {}", answer.text())),
        "rate-limiting" | "response-ratelimiting" if answer.status == 429 => Shown::Answered,
        // What others have answered, or nobody has, is not for the rest to touch.
        _ if received.is_none() => Shown::Nothing,
        "cors" => {
            let allowed = answer.header("access-control-allow-origin");
            must(
                allowed.is_some(),
                format!("no Access-Control-Allow-Origin for {}", origin(plugin)),
            )
        }
        "rate-limiting" if config["hide_client_headers"] != true => {
            let limit = answer.header("ratelimit-limit");
            must(limit.is_some(), "no RateLimit-Limit".to_owned())
        }
        "correlation-id" => {
            let header = config["header_name"].as_str().unwrap_or("Kong-Request-ID");
            let sent = received.as_ref().and_then(|received| received.header(header));
            must(
                sent.is_some_and(|id| !id.is_empty()),
                format!("the service got no {header}"),
            )
        }
        "request-transformer" => {
            let lacks = |item: &&str| {
                let (header, value) = item.split_once(':').unwrap_or((item, ""));
                // What a template comes to is not known here.
                !value.contains("$(")
                    && received
                        .as_ref()
                        .is_some_and(|received| received.header(header.trim()).is_none())
            };
            match texts(&config["add"]["headers"]).find(lacks) {
                Some(item) => Shown::No(format!("the service did not get {item}")),
                None if items(&config["add"]["headers"]).next().is_none() => Shown::Nothing,
                None => Shown::Yes,
            }
        }
        "response-transformer" => {
            let lacks = |item: &&str| {
                let header = item.split(':').next().unwrap_or_default();
                answer.header(header.trim()).is_none()
            };
            match texts(&config["add"]["headers"]).find(lacks) {
                Some(item) => Shown::No(format!("the answer lacks {item}")),
                None if items(&config["add"]["headers"]).next().is_none() => Shown::Nothing,
                None => Shown::Yes,
            }
        }
        "proxy-cache" => must(
            answer.header("x-cache-status").is_some(),
            "no X-Cache-Status".to_owned(),
        ),
        "opentelemetry" => {
            let traced = received
                .as_ref()
                .and_then(|received| received.header("traceparent"));
            must(traced.is_some(), "the service got no traceparent".to_owned())
        }
        "acl" | "ip-restriction" => Shown::Yes,
        _ => Shown::Nothing,
    }
}

#[test]
fn a_signature_is_that_of_the_rfc() {
    // RFC 4231, test case 2.
    let digest = hmac(b"Jefe", b"what do ya want for nothing?");
    assert_eq!(&digest[..4], [0x5b, 0xdc, 0xc1, 0x46]);
}
