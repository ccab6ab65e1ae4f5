//! What the requests of an upstream stick to a target by.

use http::HeaderName;

use crate::fields::Fields;
use crate::service::refusal_of_path;

/// What requests stick to a target by: one property of theirs, and another for those that do not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashing {
    /// What is hashed.
    pub on: HashInput,
    /// What is hashed where a request has none of that.
    pub fallback: Option<HashInput>,
}

/// A property of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashInput {
    /// Who calls: the consumer, else the credential.
    Consumer,
    /// The client's address.
    Ip,
    /// A header, with all its values.
    Header(HeaderName),
    /// A cookie, which is made where there is none.
    Cookie(HashCookie),
    /// The path, in normal form and without the query.
    Path,
    /// An argument of the query, with all its values.
    QueryArg(Box<str>),
    /// A parameter of the route's path.
    UriCapture(Box<str>),
}

/// A cookie that is made for requests that have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashCookie {
    /// Its name: letters, digits, `_` and `-`.
    pub name: Box<str>,
    /// For which paths it is made.
    pub path: Box<str>,
}

impl Hashing {
    /// None if `hash_on` is `none`.
    pub(crate) fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        if let Some(why) = fields
            .text("hash_on_cookie_path")
            .and_then(refusal_of_cookie_path)
        {
            fields.refuse("/hash_on_cookie_path", why);
        }
        let on = HashInput::parse(fields, "hash_on");
        let fallback = HashInput::parse(fields, "hash_fallback");
        on.map(|on| Self { on, fallback })
    }

    /// Both, in the order in which a request is asked for them.
    pub fn inputs(&self) -> impl Iterator<Item = &HashInput> {
        std::iter::once(&self.on).chain(&self.fallback)
    }
}

impl HashInput {
    /// Of a field that names an input; what is said of that input has a field of its own, which begins with the same name.
    fn parse(fields: &mut Fields<'_>, field: &str) -> Option<Self> {
        let named = |fields: &Fields<'_>, kind: &str| fields.boxed(&format!("{field}_{kind}"));
        Some(match fields.text(field)? {
            "consumer" => Self::Consumer,
            "ip" => Self::Ip,
            "header" => Self::Header(fields.parsed(&format!("{field}_header"))?),
            // Note: one field serves both.
            "cookie" => Self::Cookie(HashCookie {
                name: fields.boxed("hash_on_cookie")?,
                path: fields.boxed("hash_on_cookie_path")?,
            }),
            "path" => Self::Path,
            "query_arg" => Self::QueryArg(named(fields, "query_arg")?),
            "uri_capture" => Self::UriCapture(named(fields, "uri_capture")?),
            _ => return None,
        })
    }
}

/// What speaks against the path of a cookie. It would end at a semicolon.
fn refusal_of_cookie_path(path: &str) -> Option<String> {
    let ends = || path.contains(';').then(|| "must not contain: ;".to_owned());
    refusal_of_path(path).or_else(ends)
}
