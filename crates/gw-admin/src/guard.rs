//! Who may call: those with the token, under the names the API goes by, and never a web page of somebody else.

use std::fmt;
use std::net::IpAddr;

use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN,
    VARY, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use bytes::Bytes;

/// Kong's header for the token.
const KONG_ADMIN_TOKEN: HeaderName = HeaderName::from_static("kong-admin-token");

/// Who may call the Admin API at one listener. Without anything added everybody may but the scripts of web pages, which
/// must not use a browser to reach what their author cannot.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Guard {
    token: Option<Token>,
    /// None = whatever name the client calls it by.
    hosts: Option<Vec<Box<str>>>,
    origins: Vec<Box<str>>,
}

/// Kept as its digest: of equal length for all, and no secret to leak.
#[derive(Clone)]
struct Token([u8; 32]);

/// Why a request is refused before it is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("Unauthorized")]
    Token,
    #[error(
        "the Admin API is not called '{0}' here; use localhost or the listening address, or start the gateway with --admin-host"
    )]
    Host(Box<str>),
    #[error(
        "requests of web pages from elsewhere are refused; start the gateway with --admin-gui-url if the page is to be trusted"
    )]
    CrossSite,
}

/// A request that may be answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    /// The trusted page's origin that it came from.
    origin: Option<HeaderValue>,
}

impl Guard {
    /// One for a loopback address: besides `localhost` and loopback addresses the API has only the names added to it. A
    /// web page whose name is made to point here (DNS rebinding) is turned away by its `Host`.
    pub fn local() -> Self {
        Self::default().hosts(Vec::<Box<str>>::new())
    }

    /// Only who sends this token is answered, as `Authorization: Bearer` or `Kong-Admin-Token`.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(Token::new(token.as_bytes()));
        self
    }

    /// The names it goes by, besides `localhost` and loopback addresses; requests under any other are refused.
    pub fn hosts(mut self, names: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        let hosts = self.hosts.get_or_insert_default();
        hosts.extend(names.into_iter().map(Into::into));
        self
    }

    /// Web pages of these origins, `https://host:port`, may call from a browser.
    pub fn origins(mut self, origins: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        self.origins.extend(origins.into_iter().map(Into::into));
        self
    }

    /// Whether a request may be answered.
    pub(crate) fn check(&self, head: &Parts) -> Result<Passed, Refusal> {
        self.check_host(head)?;
        let origin = self.check_site(head)?;
        let preflight =
            head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        // Browsers send no secrets along when they ask whether they may.
        let asks_only = preflight && origin.is_some();
        if let Some(token) = &self.token
            && !asks_only
            && !token.is_sent(&head.headers)
        {
            return Err(Refusal::Token);
        }
        Ok(Passed { origin })
    }

    fn check_host(&self, head: &Parts) -> Result<(), Refusal> {
        let Some(names) = &self.hosts else {
            return Ok(());
        };
        let shown = |host: &HeaderValue| Refusal::Host(String::from_utf8_lossy(host.as_bytes()).into());
        let mut hosts = head.headers.get_all(HOST).iter();
        let written = match (hosts.next(), hosts.next()) {
            (Some(host), None) => Some(Authority::try_from(host.as_bytes()).map_err(|_| shown(host))?),
            (Some(_), Some(second)) => return Err(shown(second)),
            // A browser always says whom it means.
            (None, _) => None,
        };
        for authority in [written.as_ref(), head.uri.authority()].into_iter().flatten() {
            let host = authority.host();
            if !is_this_machine(host) && !names.iter().any(|name| same_name(name, host)) {
                return Err(Refusal::Host(host.into()));
            }
        }
        Ok(())
    }

    /// The trusted origin, if the request comes from one.
    fn check_site(&self, head: &Parts) -> Result<Option<HeaderValue>, Refusal> {
        let mut origins = head.headers.get_all(ORIGIN).iter();
        if let Some(origin) = origins.next() {
            let text = origin.to_str().map_err(|_| Refusal::CrossSite)?;
            if origins.next().is_some() {
                return Err(Refusal::CrossSite);
            }
            if self.origins.iter().any(|known| known.eq_ignore_ascii_case(text)) {
                return Ok(Some(origin.clone()));
            }
            let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
            let own = text.split_once("://").map(|(_, authority)| authority);
            return match (own, host) {
                (Some(own), Some(host)) if own.eq_ignore_ascii_case(host) => Ok(None),
                _ => Err(Refusal::CrossSite),
            };
        }
        let fetch = |name: &str| head.headers.get(name).map(HeaderValue::as_bytes);
        match fetch("sec-fetch-site") {
            None | Some(b"none" | b"same-origin") => Ok(None),
            // Somebody has followed a link: the page that had it does not see the answer.
            Some(_)
                if matches!(head.method, Method::GET | Method::HEAD)
                    && fetch("sec-fetch-mode") == Some(b"navigate")
                    && fetch("sec-fetch-dest") == Some(b"document") =>
            {
                Ok(None)
            }
            Some(_) => Err(Refusal::CrossSite),
        }
    }
}

impl Token {
    fn new(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }

    fn is_sent(&self, headers: &HeaderMap) -> bool {
        let bearer = headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
            let (scheme, rest) = value.as_bytes().split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
        });
        let plain = headers
            .get_all(KONG_ADMIN_TOKEN)
            .iter()
            .map(HeaderValue::as_bytes);
        // Compared in constant time: how long it takes tells nothing about how much of it is right.
        bearer
            .chain(plain)
            .any(|sent| self.0.ct_eq(&Self::new(sent).0).into())
    }
}

impl Passed {
    /// Lets the trusted page read the answer.
    pub(crate) fn mark<B>(self, response: &mut Response<B>) {
        if let Some(origin) = self.origin {
            let headers = response.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
    }
}

impl Refusal {
    pub(crate) fn response(&self) -> Response<Full<Bytes>> {
        let body = serde_json::json!({ "message": self.to_string() }).to_string();
        let mut response = Response::new(Full::from(body));
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        let status = match self {
            Self::Token => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                StatusCode::UNAUTHORIZED
            }
            Self::Host(_) | Self::CrossSite => StatusCode::FORBIDDEN,
        };
        *response.status_mut() = status;
        response
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Whether a host names this machine and no other, whatever name servers say.
fn is_this_machine(host: &str) -> bool {
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match literal.unwrap_or(host).parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => same_name("localhost", host),
    }
}

fn same_name(name: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    name.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn check(guard: &Guard, method: &str, headers: &[(&str, &str)]) -> Result<Passed, Refusal> {
        let mut request = Request::builder().method(method).uri("/services");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        guard.check(&request.body(()).unwrap().into_parts().0)
    }

    #[track_caller]
    fn passes(guard: &Guard, headers: &[(&str, &str)]) {
        assert_eq!(
            check(guard, "POST", headers),
            Ok(Passed { origin: None }),
            "{headers:?}"
        );
    }

    #[test]
    fn only_names_of_this_machine_reach_a_loopback_address() {
        let guard = Guard::local().hosts(["gw.internal"]);
        for host in [
            "localhost",
            "LocalHost:8001",
            "localhost.",
            "127.0.0.1:8001",
            "127.9.9.9",
            "[::1]:8001",
            "[::ffff:127.0.0.1]",
            "GW.internal:9000",
        ] {
            passes(&guard, &[("host", host)]);
        }
        for host in [
            "evil.example",
            "evil.example:8001",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:8001",
            "0.0.0.0:8001",
            "localhost@evil.example",
            "",
            "a b",
        ] {
            let refused = check(&guard, "GET", &[("host", host)]);
            assert!(matches!(refused, Err(Refusal::Host(_))), "{host}: {refused:?}");
        }
        let two = check(&guard, "GET", &[("host", "localhost"), ("host", "evil.example")]);
        assert_eq!(two, Err(Refusal::Host("evil.example".into())));
        passes(&guard, &[]);
        passes(&Guard::default(), &[("host", "anything.example")]);
    }

    #[test]
    fn a_target_in_absolute_form_is_looked_at_too() {
        let request = Request::get("http://evil.example/services").header("host", "localhost");
        let head = request.body(()).unwrap().into_parts().0;
        assert_eq!(
            Guard::local().check(&head),
            Err(Refusal::Host("evil.example".into()))
        );
    }

    #[test]
    fn the_token_may_come_in_either_header() {
        let guard = Guard::default().token("s3cret");
        for headers in [
            [("authorization", "Bearer s3cret")],
            [("authorization", "bearer  s3cret ")],
            [("kong-admin-token", "s3cret")],
        ] {
            passes(&guard, &headers);
        }
        for headers in [
            &[][..],
            &[("authorization", "Bearer s3cre")],
            &[("authorization", "Bearer s3cret2")],
            &[("authorization", "Basic s3cret")],
            &[("authorization", "Bearer")],
            &[("kong-admin-token", "")],
        ] {
            assert_eq!(check(&guard, "GET", headers), Err(Refusal::Token), "{headers:?}");
        }
        assert!(!format!("{guard:?}").contains("s3cret"));
    }

    #[test]
    fn pages_from_elsewhere_are_refused_and_trusted_ones_may_read() {
        let guard = Guard::local().origins(["https://gui.example:8445"]);
        for headers in [
            [("host", "localhost:8001"), ("origin", "http://localhost:8001")],
            [("host", "localhost:8001"), ("sec-fetch-site", "same-origin")],
            [("host", "localhost:8001"), ("sec-fetch-site", "none")],
        ] {
            passes(&guard, &headers);
        }
        for other in [
            [("origin", "http://localhost:3000"), ("host", "localhost:8001")],
            [("origin", "null"), ("host", "localhost:8001")],
            [("origin", "https://evil.example"), ("host", "localhost:8001")],
            [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
            [("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors")],
            // A form that a page sends is a navigation as well.
            [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
        ] {
            assert_eq!(
                check(&guard, "POST", &other),
                Err(Refusal::CrossSite),
                "{other:?}"
            );
        }
        let link = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert!(check(&guard, "GET", &link).is_ok());
        assert_eq!(check(&guard, "DELETE", &link), Err(Refusal::CrossSite));

        let trusted = check(&guard, "PATCH", &[("origin", "https://gui.example:8445")]).unwrap();
        let mut response = Response::new(());
        trusted.mark(&mut response);
        assert_eq!(
            response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN],
            "https://gui.example:8445"
        );
        assert_eq!(response.headers()[VARY], "Origin");
    }

    #[test]
    fn a_browser_may_ask_without_the_token_whether_a_trusted_page_may_call() {
        let guard = Guard::default().token("t").origins(["http://gui.example"]);
        let ask = |origin| {
            let headers = [("origin", origin), ("access-control-request-method", "PUT")];
            check(&guard, "OPTIONS", &headers)
        };
        assert!(ask("http://gui.example").is_ok());
        assert_eq!(ask("http://evil.example"), Err(Refusal::CrossSite));
        assert_eq!(
            check(&guard, "OPTIONS", &[("origin", "http://gui.example")]),
            Err(Refusal::Token)
        );
    }
}
