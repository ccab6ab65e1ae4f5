//! The path table: which paths there are, and what each means. All but a few are generated from the kinds.
//!
//! For each kind `E`: `/E` and `/E/{e}`. For each field `f` of `E` that refers to a kind `F`: `/E/{e}/f`, `/F/{x}/E`
//! and `/F/{x}/E/{e}`.

use gw_core::{Kind, KindSpec, Kinds};
use gw_router::{Lookup, Router, Rule};
use http::Method;
use percent_encoding::percent_decode_str;

use crate::entity::Filters;
use crate::problem::Problem;

/// What a path means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/`
    Information,
    /// `/status`
    Status,
    /// `/metrics`
    Metrics,
    /// `/endpoints`
    Endpoints,
    /// `/plugins/enabled`
    EnabledPlugins,
    /// `/openapi.json`
    OpenApi,
    /// `/config`
    Config,
    /// `/config/reseal`
    Reseal,
    /// `/config/history`
    History,
    /// `/config/at/{revision}`
    At,
    /// `/config/diff`
    Compare,
    /// `/config/rollback`
    Rollback,
    /// `/config/transaction`
    Transaction,
    /// `/config/tags`: revisions that have names.
    Marks,
    /// `/config/tags/{name}`
    Mark,
    /// `/cluster`
    Cluster,
    /// `/cluster/accept`
    Accept,
    /// `/problems`
    Problems,
    /// `/tags`
    Tags,
    /// `/tags/{tags}`
    Tagged,
    /// `/schemas/{schemas}`
    Schema,
    /// `/schemas/plugins/{plugins}`, `/plugins/schema/{plugins}`
    PluginSchema,
    /// `/schemas/vaults/{vaults}`
    VaultSchema,
    /// `/schemas/{schemas}/validate`, `/schemas/plugins/validate`
    Validate { of: Option<Kind> },
    /// `/debug/node/log-level`
    LogLevel,
    /// `/debug/node/log-level/{level}`
    SetLogLevel,
    /// `/upstreams/{upstreams}/health`
    Health,
    /// `/upstreams/{upstreams}/targets/{targets}/healthy`, `…/targets/{targets}/{address}/unhealthy`
    SetHealth { healthy: bool },
    /// `/dns`
    Dns,
    /// `/proxy-cache`
    Caches,
    /// `/proxy-cache/{key}`, `/proxy-cache/{plugins}/caches/{key}`
    Cached,
    /// `/explain`
    Explain,
    /// `/explain/overlaps`
    Overlaps,
    /// `/routes/{routes}/filters/all`
    Filters(Filters),
    /// `/routes`, `/services/{services}/routes`
    List { of: Collection, read_only: bool },
    /// `/routes/{routes}`, `/services/{services}/routes/{routes}`
    One { of: Collection },
    /// `/routes/{routes}/service`: what `field` of an entity refers to.
    Referred { from: Kind, field: Box<str>, to: Kind },
    /// `/consumers/{consumers}/consumer_groups`: what links tie to an entity.
    Members(Link),
    /// `/consumers/{consumers}/consumer_groups/{consumer_groups}`
    Member(Link),
}

/// A kind that only ties two others together, seen from one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) by: Kind,
    /// The end the path begins with.
    pub(crate) near: End,
    /// The end that is listed there.
    pub(crate) far: End,
}

/// One end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) kind: Kind,
    /// The link's field that refers to it.
    pub(crate) field: Box<str>,
    /// What names it in a request body.
    pub(crate) argument: Box<str>,
}

/// Entities of one kind: all of them, or those that refer to one parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Collection {
    pub(crate) of: Kind,
    pub(crate) below: Option<Below>,
}

/// A field by which entities belong to a parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Below {
    pub(crate) parent: Kind,
    pub(crate) field: Box<str>,
}

/// An endpoint and the names in the path, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) endpoint: Endpoint,
    /// In the order of the path: of the parent, if there is one, then of the entity.
    pub(crate) names: Vec<String>,
}

impl Site {
    /// The name at this place of the path.
    pub(crate) fn name(&self, position: usize) -> Result<&str, Problem> {
        self.names
            .get(position)
            .map(String::as_str)
            .ok_or(Problem::NotFound)
    }
}

impl Endpoint {
    /// The methods it has, in the order of the alphabet.
    pub(crate) fn methods(&self) -> &'static [Method] {
        const READ: &[Method] = &[Method::GET, Method::HEAD, Method::OPTIONS];
        const LIST: &[Method] = &[Method::GET, Method::HEAD, Method::OPTIONS, Method::POST];
        const ONE: &[Method] = &[
            Method::DELETE,
            Method::GET,
            Method::HEAD,
            Method::OPTIONS,
            Method::PATCH,
            Method::PUT,
        ];
        const REFERRED: &[Method] = &[
            Method::GET,
            Method::HEAD,
            Method::OPTIONS,
            Method::PATCH,
            Method::PUT,
        ];
        const VALIDATE: &[Method] = &[Method::OPTIONS, Method::POST];
        const MEMBERS: &[Method] = &[
            Method::DELETE,
            Method::GET,
            Method::HEAD,
            Method::OPTIONS,
            Method::POST,
        ];
        const SET: &[Method] = &[Method::OPTIONS, Method::PUT];
        const SET_EITHER_WAY: &[Method] = &[Method::OPTIONS, Method::POST, Method::PUT];
        const MARK: &[Method] = &[
            Method::DELETE,
            Method::GET,
            Method::HEAD,
            Method::OPTIONS,
            Method::PUT,
        ];
        const PURGE: &[Method] = &[Method::DELETE, Method::OPTIONS];
        const MEMBER: &[Method] = &[Method::DELETE, Method::GET, Method::HEAD, Method::OPTIONS];
        match self {
            Self::Validate { .. } | Self::Explain => VALIDATE,
            Self::Rollback | Self::Transaction | Self::Accept => VALIDATE,
            Self::Mark => MARK,
            Self::SetLogLevel => SET,
            Self::SetHealth { .. } => SET_EITHER_WAY,
            Self::Members(_) => MEMBERS,
            Self::Member(_) | Self::Cached => MEMBER,
            Self::Caches => PURGE,
            Self::Config | Self::Reseal | Self::List { read_only: false, .. } => LIST,
            Self::One { .. } => ONE,
            Self::Referred { .. } => REFERRED,
            _ => READ,
        }
    }

    /// Whether it tells of the node, and has an answer even where nothing is known of the configuration.
    pub(crate) fn is_about_node(&self) -> bool {
        matches!(
            self,
            Self::Information
                | Self::Status
                | Self::Metrics
                | Self::Endpoints
                | Self::EnabledPlugins
                | Self::OpenApi
                | Self::Schema
                | Self::PluginSchema
                | Self::VaultSchema
                | Self::Validate { .. }
                | Self::LogLevel
                | Self::SetLogLevel
                | Self::Dns
                | Self::Cluster
                | Self::Problems
        )
    }

    /// The kind of entity it reads or writes.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            Self::List { of, .. } | Self::One { of } => Some(of.of),
            Self::Referred { to, .. } => Some(*to),
            Self::Members(link) | Self::Member(link) => Some(link.by),
            _ => None,
        }
    }

    /// The methods as a header lists them.
    pub(crate) fn allow(&self) -> String {
        self.methods()
            .iter()
            .map(Method::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// All paths, matched by the gateway's own router.
#[derive(Debug)]
pub(crate) struct Api {
    router: Router<Endpoint>,
    /// All patterns with what they mean, sorted.
    paths: Vec<(String, Endpoint)>,
}

impl Api {
    pub(crate) fn new(kinds: &Kinds) -> Self {
        let mut api = Self {
            router: Router::new(),
            paths: Vec::new(),
        };
        api.add("/".to_owned(), Endpoint::Information);
        api.add("/status".to_owned(), Endpoint::Status);
        api.add("/metrics".to_owned(), Endpoint::Metrics);
        api.add("/endpoints".to_owned(), Endpoint::Endpoints);
        api.add("/plugins/enabled".to_owned(), Endpoint::EnabledPlugins);
        api.add("/openapi.json".to_owned(), Endpoint::OpenApi);
        api.add("/config".to_owned(), Endpoint::Config);
        api.add("/config/reseal".to_owned(), Endpoint::Reseal);
        for (path, endpoint) in [
            ("/config/history", Endpoint::History),
            ("/config/at/{revision}", Endpoint::At),
            ("/config/diff", Endpoint::Compare),
            ("/config/rollback", Endpoint::Rollback),
            ("/config/transaction", Endpoint::Transaction),
            ("/config/tags", Endpoint::Marks),
            ("/config/tags/{name}", Endpoint::Mark),
            ("/cluster", Endpoint::Cluster),
            ("/cluster/accept", Endpoint::Accept),
            ("/problems", Endpoint::Problems),
        ] {
            api.add(path.to_owned(), endpoint);
        }
        api.add("/tags".to_owned(), Endpoint::Tags);
        api.add("/tags/{tags}".to_owned(), Endpoint::Tagged);
        api.add("/schemas/{schemas}".to_owned(), Endpoint::Schema);
        api.add("/schemas/plugins/{plugins}".to_owned(), Endpoint::PluginSchema);
        // Kong's older path, which clients still use.
        api.add("/plugins/schema/{plugins}".to_owned(), Endpoint::PluginSchema);
        api.add(
            "/schemas/plugins/validate".to_owned(),
            Endpoint::Validate {
                of: Some(Kind::Plugin),
            },
        );
        api.add(
            "/schemas/{schemas}/validate".to_owned(),
            Endpoint::Validate { of: None },
        );
        api.add("/schemas/vaults/{vaults}".to_owned(), Endpoint::VaultSchema);
        api.add(
            "/schemas/vaults/validate".to_owned(),
            Endpoint::Validate {
                of: Some(Kind::Vault),
            },
        );
        api.add("/debug/node/log-level".to_owned(), Endpoint::LogLevel);
        api.add("/debug/node/log-level/{level}".to_owned(), Endpoint::SetLogLevel);
        api.add_health();
        api.add("/dns".to_owned(), Endpoint::Dns);
        api.add("/proxy-cache".to_owned(), Endpoint::Caches);
        api.add("/proxy-cache/{key}".to_owned(), Endpoint::Cached);
        api.add("/proxy-cache/{plugins}/caches/{key}".to_owned(), Endpoint::Cached);
        api.add("/explain".to_owned(), Endpoint::Explain);
        api.add("/explain/overlaps".to_owned(), Endpoint::Overlaps);
        for (name, which) in [
            ("all", Filters::All),
            ("enabled", Filters::Enabled),
            ("disabled", Filters::Disabled),
        ] {
            api.add(
                format!("/routes/{{routes}}/filters/{name}"),
                Endpoint::Filters(which),
            );
        }
        for spec in kinds.iter() {
            if spec.is_link {
                api.add_link(kinds, spec);
            } else {
                api.add_kind(kinds, spec);
            }
        }
        api.paths.sort_by(|(a, _), (b, _)| a.cmp(b));
        api
    }

    fn add_health(&mut self) {
        self.add("/upstreams/{upstreams}/health".to_owned(), Endpoint::Health);
        for (word, healthy) in [("healthy", true), ("unhealthy", false)] {
            for address in ["", "/{address}"] {
                let path = format!("/upstreams/{{upstreams}}/targets/{{targets}}{address}/{word}");
                self.add(path, Endpoint::SetHealth { healthy });
            }
        }
    }

    /// Paths from each end of a link to the other.
    fn add_link(&mut self, kinds: &Kinds, spec: &KindSpec) {
        let ends = spec.references.iter().filter_map(|reference| {
            let to = kinds.by_name(&reference.target)?;
            let (field, argument) = (reference.field.clone(), reference.argument.clone());
            let kind = to.kind;
            Some((
                to,
                End {
                    kind,
                    field,
                    argument,
                },
            ))
        });
        let ends: Vec<_> = ends.collect();
        for (near_spec, near) in &ends {
            for (far_spec, far) in ends.iter().filter(|(_, far)| far != near) {
                let link = Link {
                    by: spec.kind,
                    near: near.clone(),
                    far: far.clone(),
                };
                let list = format!("{}/{}", one(near_spec), far_spec.path);
                self.add(
                    format!("{list}/{{{}}}", far_spec.path),
                    Endpoint::Member(link.clone()),
                );
                self.add(list, Endpoint::Members(link));
            }
        }
    }

    fn add_kind(&mut self, kinds: &Kinds, spec: &KindSpec) {
        let of = Collection {
            of: spec.kind,
            below: None,
        };
        let (list, one) = (format!("/{}", spec.path), one(spec));
        if spec.listed {
            self.add(
                list,
                Endpoint::List {
                    of: of.clone(),
                    read_only: false,
                },
            );
            self.add(one.clone(), Endpoint::One { of });
        }
        for reference in spec.references.iter().filter(|reference| !reference.many) {
            // Note: a reference to a kind nobody serves yet has no paths, and no value but null.
            let Some(parent) = kinds.by_name(&reference.target) else {
                continue;
            };
            let field = &reference.field;
            if spec.listed {
                let referred = Endpoint::Referred {
                    from: spec.kind,
                    field: field.clone(),
                    to: parent.kind,
                };
                self.add(format!("{one}/{field}"), referred);
            }
            let below = Below {
                parent: parent.kind,
                field: field.clone(),
            };
            let of = Collection {
                of: spec.kind,
                below: Some(below),
            };
            let list = format!("{}/{}", self::one(parent), spec.nested_path);
            if !spec.listed {
                let all = Endpoint::List {
                    of: of.clone(),
                    read_only: true,
                };
                self.add(format!("{list}/all"), all);
            }
            self.add(
                format!("{list}/{{{}}}", spec.path),
                Endpoint::One { of: of.clone() },
            );
            self.add(list, Endpoint::List { of, read_only: false });
        }
    }

    fn add(&mut self, pattern: String, endpoint: Endpoint) {
        let added = Rule::path(&pattern)
            .map_err(|error| error.to_string())
            .and_then(|rule| {
                self.router
                    .insert(rule, endpoint.clone())
                    .map(drop)
                    .map_err(|error| error.to_string())
            });
        match added {
            Ok(()) => self.paths.push((pattern, endpoint)),
            Err(error) => tracing::error!(pattern, error, "a kind's path cannot be served"),
        }
    }

    /// What is at `path`, as it stands in the request; a trailing slash makes no difference.
    pub(crate) fn site(&self, path: &str) -> Option<Site> {
        let path = path
            .strip_suffix('/')
            .filter(|path| !path.is_empty())
            .unwrap_or(path);
        let found = self.router.find(&Lookup::path_only(path))?;
        let decoded = |(_, name): (&str, &str)| percent_decode_str(name).decode_utf8().map(Into::into);
        let names = found
            .params()
            .map(decoded)
            .collect::<Result<Vec<String>, _>>()
            .ok()?;
        Some(Site {
            endpoint: found.value.clone(),
            names,
        })
    }

    /// All paths, with `{…}` for names, sorted.
    pub(crate) fn paths(&self) -> &[(String, Endpoint)] {
        &self.paths
    }
}

/// The path of one entity at the top level.
fn one(spec: &KindSpec) -> String {
    format!("/{0}/{{{0}}}", spec.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api() -> Api {
        Api::new(&gw_plugins::Registry::builtin().kinds().unwrap())
    }

    #[test]
    fn paths_are_those_of_the_rule() {
        let api = api();
        let paths: Vec<&str> = api.paths().iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "/",
                "/acls",
                "/acls/{acls}",
                "/acls/{acls}/consumer",
                "/basic-auths",
                "/basic-auths/{basic-auths}",
                "/basic-auths/{basic-auths}/consumer",
                "/ca_certificates",
                "/ca_certificates/{ca_certificates}",
                "/certificates",
                "/certificates/{certificates}",
                "/certificates/{certificates}/services",
                "/certificates/{certificates}/services/{services}",
                "/certificates/{certificates}/snis",
                "/certificates/{certificates}/snis/{snis}",
                "/certificates/{certificates}/upstreams",
                "/certificates/{certificates}/upstreams/{upstreams}",
                "/cluster",
                "/cluster/accept",
                "/config",
                "/config/at/{revision}",
                "/config/diff",
                "/config/history",
                "/config/reseal",
                "/config/rollback",
                "/config/tags",
                "/config/tags/{name}",
                "/config/transaction",
                "/consumer_groups",
                "/consumer_groups/{consumer_groups}",
                "/consumer_groups/{consumer_groups}/consumers",
                "/consumer_groups/{consumer_groups}/consumers/{consumers}",
                "/consumer_groups/{consumer_groups}/plugins",
                "/consumer_groups/{consumer_groups}/plugins/{plugins}",
                "/consumers",
                "/consumers/{consumers}",
                "/consumers/{consumers}/acls",
                "/consumers/{consumers}/acls/{acls}",
                "/consumers/{consumers}/basic-auth",
                "/consumers/{consumers}/basic-auth/{basic-auths}",
                "/consumers/{consumers}/consumer_groups",
                "/consumers/{consumers}/consumer_groups/{consumer_groups}",
                "/consumers/{consumers}/hmac-auth",
                "/consumers/{consumers}/hmac-auth/{hmac-auths}",
                "/consumers/{consumers}/jwt",
                "/consumers/{consumers}/jwt/{jwts}",
                "/consumers/{consumers}/key-auth",
                "/consumers/{consumers}/key-auth/{key-auths}",
                "/consumers/{consumers}/plugins",
                "/consumers/{consumers}/plugins/{plugins}",
                "/debug/node/log-level",
                "/debug/node/log-level/{level}",
                "/dns",
                "/endpoints",
                "/explain",
                "/explain/overlaps",
                "/filter-chains",
                "/filter-chains/{filter-chains}",
                "/filter-chains/{filter-chains}/route",
                "/filter-chains/{filter-chains}/service",
                "/hmac-auths",
                "/hmac-auths/{hmac-auths}",
                "/hmac-auths/{hmac-auths}/consumer",
                "/jwts",
                "/jwts/{jwts}",
                "/jwts/{jwts}/consumer",
                "/key-auths",
                "/key-auths/{key-auths}",
                "/key-auths/{key-auths}/consumer",
                "/key-sets",
                "/key-sets/{key-sets}",
                "/key-sets/{key-sets}/keys",
                "/key-sets/{key-sets}/keys/{keys}",
                "/keys",
                "/keys/{keys}",
                "/keys/{keys}/set",
                "/metrics",
                "/openapi.json",
                "/plugins",
                "/plugins/enabled",
                "/plugins/schema/{plugins}",
                "/plugins/{plugins}",
                "/plugins/{plugins}/consumer",
                "/plugins/{plugins}/consumer_group",
                "/plugins/{plugins}/route",
                "/plugins/{plugins}/service",
                "/problems",
                "/proxy-cache",
                "/proxy-cache/{key}",
                "/proxy-cache/{plugins}/caches/{key}",
                "/routes",
                "/routes/{routes}",
                "/routes/{routes}/filter-chains",
                "/routes/{routes}/filter-chains/{filter-chains}",
                "/routes/{routes}/filters/all",
                "/routes/{routes}/filters/disabled",
                "/routes/{routes}/filters/enabled",
                "/routes/{routes}/plugins",
                "/routes/{routes}/plugins/{plugins}",
                "/routes/{routes}/service",
                "/schemas/plugins/validate",
                "/schemas/plugins/{plugins}",
                "/schemas/vaults/validate",
                "/schemas/vaults/{vaults}",
                "/schemas/{schemas}",
                "/schemas/{schemas}/validate",
                "/services",
                "/services/{services}",
                "/services/{services}/client_certificate",
                "/services/{services}/filter-chains",
                "/services/{services}/filter-chains/{filter-chains}",
                "/services/{services}/plugins",
                "/services/{services}/plugins/{plugins}",
                "/services/{services}/routes",
                "/services/{services}/routes/{routes}",
                "/snis",
                "/snis/{snis}",
                "/snis/{snis}/certificate",
                "/status",
                "/tags",
                "/tags/{tags}",
                "/upstreams",
                "/upstreams/{upstreams}",
                "/upstreams/{upstreams}/client_certificate",
                "/upstreams/{upstreams}/health",
                "/upstreams/{upstreams}/targets",
                "/upstreams/{upstreams}/targets/all",
                "/upstreams/{upstreams}/targets/{targets}",
                "/upstreams/{upstreams}/targets/{targets}/healthy",
                "/upstreams/{upstreams}/targets/{targets}/unhealthy",
                "/upstreams/{upstreams}/targets/{targets}/{address}/healthy",
                "/upstreams/{upstreams}/targets/{targets}/{address}/unhealthy",
                "/vaults",
                "/vaults/{vaults}",
            ]
        );
    }

    #[test]
    fn names_are_decoded_and_slashes_tolerated() {
        let api = api();
        for (path, names) in [
            ("/", Some(vec![])),
            ("/services/", Some(vec![])),
            ("/services/a%20b%2Fc/", Some(vec!["a b/c"])),
            ("/services/%C3%A9/routes/r", Some(vec!["é", "r"])),
            ("/plugins/enabled", Some(vec![])),
            ("/upstreams/u/targets/[::1]:80", Some(vec!["u", "[::1]:80"])),
            ("/upstreams/u/targets/all", Some(vec!["u"])),
            (
                "/upstreams/u/targets/a:1/%5B::1%5D:1/unhealthy",
                Some(vec!["u", "a:1", "[::1]:1"]),
            ),
            ("/services/%ff", None),
            ("/services//", None),
            ("/targets", None),
            ("/targets/x", None),
            ("/nothing", None),
            ("", None),
            ("*", None),
        ] {
            let found = api.site(path).map(|site| site.names);
            assert_eq!(
                found,
                names.map(|names| names.into_iter().map(str::to_owned).collect()),
                "{path}"
            );
        }
    }
}
