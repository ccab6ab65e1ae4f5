//! With which methods a lookup would have matched.

use std::ops::ControlFlow;

use http::Method;

use crate::{
    entry::{Entry, Met},
    lookup::Lookup,
    order::Rank,
    request::Request,
    router::Router,
    search::Guide,
    slot::Visitor,
    spans::Spans,
};

struct Allowed<'r, 's, 'q> {
    request: &'s Request<'q>,
    methods: Vec<&'r Method>,
}

impl<T> Router<T> {
    /// The methods of all rules that match a lookup but for its method, sorted, none twice: what the answer 405 names
    /// when [`Router::find`] finds nothing. Where that is empty too, 404 is the answer.
    ///
    /// A rule without methods adds none; if it matches, `find` finds it.
    ///
    /// Time: that of a lookup that finds nothing and visits every place that fits the path.
    ///
    /// ```
    /// use gw_router::{Lookup, Router, Rule};
    /// use http::Method;
    ///
    /// let mut router = Router::new();
    /// router.insert(Rule::path("/users/{id}")?.method(Method::GET).method(Method::DELETE), "user")?;
    /// router.insert(Rule::path("/users/*")?.method(Method::GET), "rest")?;
    ///
    /// let lookup = Lookup::new(&Method::PUT, "example.com", "/users/7");
    /// assert!(router.find(&lookup).is_none());
    /// assert_eq!(router.allowed_methods(&lookup), [Method::DELETE, Method::GET]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allowed_methods(&self, lookup: &Lookup<'_>) -> Vec<Method> {
        let request = Request::new(lookup);
        let mut allowed = Allowed {
            request: &request,
            methods: Vec::new(),
        };
        let mut roots = self.zones_of(&request);
        roots.push(self.paths());
        if !self.options().host_fallback {
            roots.truncate(1);
        }
        for root in roots {
            self.walk(root, &request, &mut allowed);
        }
        let mut methods = allowed.methods;
        methods.sort_unstable_by_key(|method| method.as_str());
        methods.dedup();
        methods.into_iter().cloned().collect()
    }
}

impl<'r, T> Visitor<'r, T> for Allowed<'r, '_, '_> {
    fn visit(&mut self, entry: &'r Entry<T>, _: Option<Rank>, met: Met<'_>) -> bool {
        let unknown = |method: &&Method| !self.methods.contains(method);
        let methods = entry.stored.rule.methods();
        if methods.iter().any(|method| unknown(&method)) && entry.admits_but_method(self.request, met) {
            self.methods.extend(methods);
        }
        true
    }

    fn floor(&self) -> u64 {
        0
    }
}

impl<'r, T> Guide<'r, T> for Allowed<'r, '_, '_> {
    fn take(&mut self, _: &'r Entry<T>, _: usize) -> bool {
        false
    }

    fn leave(&mut self, _: &Spans) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn is_open(&self) -> bool {
        true
    }
}
