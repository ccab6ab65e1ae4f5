//! A request on its way up.

use std::sync::Arc;

use bytes::Bytes;
use gw_core::{Consumer, Credential, Expr};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::Facts;
use crate::identity::Identity;
use crate::steering::{Steering, UpstreamChoice};
use crate::variables;

/// A request in the hands of the chain: lent to one plugin after the other.
#[derive(Debug)]
pub struct RequestParts<'a> {
    /// Method, URI and headers, as they will go upstream.
    pub head: &'a mut http::request::Parts,
    /// The whole body, where an instance of the chain asked for it.
    pub body: &'a mut Option<Bytes>,
    /// Who calls, as far as it is known.
    pub identity: &'a mut Identity,
    /// Where it goes.
    pub steering: &'a mut Steering,
    /// What does not change.
    pub facts: &'a Facts<'a>,
}

/// A request as one plugin sees it, with that instance's own state.
#[derive(Debug)]
pub struct RequestCx<'a, S = ()> {
    pub(crate) parts: RequestParts<'a>,
    /// This instance's state for this request.
    pub state: &'a mut S,
}

impl<'a, S> RequestCx<'a, S> {
    /// The request's method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.parts.head.method
    }

    /// The method for the upstream.
    pub fn set_method(&mut self, method: Method) {
        self.parts.head.method = method;
    }

    /// The request's URI: normalised path, and query.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.parts.head.uri
    }

    /// The request's headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.head.headers
    }

    /// The request's headers, as they will go upstream; but for `Host`, see [`RequestCx::set_host`].
    #[must_use]
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.parts.head.headers
    }

    /// Replaces the query, `None` for no question mark at all; false, and nothing done, if no URI can hold the text.
    pub fn set_query(&mut self, query: Option<&str>) -> bool {
        let path = self.parts.head.uri.path();
        let text = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let Ok(path_and_query) = text.parse::<PathAndQuery>() else {
            return false;
        };
        let mut uri = self.parts.head.uri.clone().into_parts();
        uri.path_and_query = Some(path_and_query);
        Uri::from_parts(uri).map(|uri| self.parts.head.uri = uri).is_ok()
    }

    /// The whole path for the upstream, percent-encoded, in place of what route and service make of the request's; false, and nothing
    /// done, if it does not begin with `/` or no URI can hold it. One that climbs (`/../`) is refused with 400 when it is sent.
    pub fn set_path(&mut self, path: &str) -> bool {
        let is_path =
            path.starts_with('/') && path.parse::<PathAndQuery>().is_ok_and(|read| read.path() == path);
        if is_path {
            self.parts.steering.path = Some(path.into());
        }
        is_path
    }

    /// The `Host` for the upstream.
    pub fn set_host(&mut self, host: HeaderValue) {
        self.parts.steering.host = Some(host);
    }

    /// The upstream that the request goes to.
    pub fn set_upstream(&mut self, upstream: UpstreamChoice) {
        self.parts.steering.upstream = Some(upstream);
    }

    /// Where the request goes, as far as plugins have had a say.
    #[must_use]
    pub fn steering(&self) -> &Steering {
        self.parts.steering
    }

    /// Refuses with 413 a body of more bytes than this, while it is read; of several bounds the lowest counts.
    pub fn limit_body(&mut self, bytes: u64) {
        let most = &mut self.parts.steering.most_body;
        *most = Some(most.map_or(bytes, |known| known.min(bytes)));
    }

    /// The whole body, if this or another instance of the chain declared [`BodyNeed::Whole`](crate::BodyNeed::Whole).
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        self.parts.body.as_ref()
    }

    /// Replaces the whole body; its length is told anew.
    pub fn set_body(&mut self, body: Bytes) {
        *self.parts.body = Some(body);
    }

    /// What does not change while the request goes through its phases.
    #[must_use]
    pub fn facts(&self) -> &'a Facts<'a> {
        self.parts.facts
    }

    /// Who calls, as far as it is known.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.parts.identity
    }

    /// Settles who calls, and tells the upstream by headers.
    pub fn authenticate(&mut self, consumer: Arc<Consumer>, credential: Arc<Credential>) {
        self.identify(Identity {
            consumer: Some(consumer),
            credential: Some(credential),
            ..Identity::default()
        });
    }

    /// The same, where the upstream is told `identifier` in place of the credential's id.
    pub fn authenticate_as(
        &mut self,
        consumer: Arc<Consumer>,
        credential: Arc<Credential>,
        identifier: &str,
    ) {
        let identity = Identity {
            consumer: Some(consumer),
            credential: Some(credential),
            ..Identity::default()
        };
        self.identify_as(identity, Some(identifier));
    }

    /// Adds groups that are vouched for, beside those that the configuration knows: access lists may ask for them.
    pub fn vouch_for(&mut self, groups: Arc<[Box<str>]>) {
        self.parts.identity.groups = Some(groups);
    }

    /// Settles who calls, without a credential of the gateway's: another service has said so.
    pub fn vouch_who(&mut self, consumer: Arc<Consumer>) {
        self.identify(Identity {
            consumer: Some(consumer),
            ..Identity::default()
        });
    }

    /// Lets `consumer` stand in for a caller who could not be authenticated.
    pub fn pass_as(&mut self, consumer: Arc<Consumer>) {
        self.identify(Identity {
            consumer: Some(consumer),
            anonymous: true,
            ..Identity::default()
        });
    }

    /// Whether the request, as it is now, meets an expression.
    #[must_use]
    pub fn admits(&self, expression: &Expr) -> bool {
        variables::admits(expression, self.parts.head, self.parts.identity, self.parts.facts)
    }

    /// The value of a variable (`remote_addr`, `http_x_env`, `arg_page`, `consumer_name`, …); see [`variables`](crate::variables).
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        variables::value(name, self.parts.head, self.parts.identity, self.parts.facts)
    }

    fn identify(&mut self, identity: Identity) {
        self.identify_as(identity, None);
    }

    fn identify_as(&mut self, mut identity: Identity, identifier: Option<&str>) {
        identity.groups = self.parts.identity.groups.take();
        identity.stamp_as(&mut self.parts.head.headers, identifier);
        *self.parts.identity = identity;
    }
}
