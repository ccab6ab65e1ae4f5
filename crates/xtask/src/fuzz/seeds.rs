//! Entities that are there before anything is tried: without them almost every answer would be 404.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{http, suite};

/// What a kind is planted with.
#[derive(Debug)]
pub(super) struct Seed {
    /// How paths call one of its entities.
    pub(super) parameter: &'static str,
    /// Where one is put.
    path: &'static str,
    /// What the one that is kept goes by beside its id, if it does.
    pub(super) name: Option<&'static str>,
}

/// Of each kind there is one for each fate, and what one refers to shares its fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    /// For deletions below what it belongs to, which therefore must not be deleted before.
    DoomedBelow,
    /// For deletions.
    Doomed,
}

const FATES: [Fate; 3] = [Fate::Kept, Fate::DoomedBelow, Fate::Doomed];

/// In an order in which they can be planted.
const SEEDS: [Seed; 16] = [
    Seed::nameless("ca_certificates", "/ca_certificates/{ca_certificates}"),
    Seed::new("certificates", "/certificates/{certificates}", "kept.test"),
    Seed::new("snis", "/snis/{snis}", "kept.test"),
    Seed::new("services", "/services/{services}", "kept"),
    Seed::new("routes", "/services/{services}/routes/{routes}", "kept"),
    Seed::new("upstreams", "/upstreams/{upstreams}", "kept"),
    Seed::new(
        "targets",
        "/upstreams/{upstreams}/targets/{targets}",
        "127.0.0.1:1",
    ),
    Seed::new("consumers", "/consumers/{consumers}", "kept"),
    Seed::new("key-auths", "/consumers/{consumers}/key-auth/{key-auths}", "kept"),
    Seed::new("acls", "/consumers/{consumers}/acls/{acls}", "kept"),
    Seed::new("consumer_groups", "/consumer_groups/{consumer_groups}", "kept"),
    Seed::new("plugins", "/plugins/{plugins}", "kept"),
    Seed::new("vaults", "/vaults/{vaults}", "kept"),
    Seed::new("key-sets", "/key-sets/{key-sets}", "kept"),
    Seed::new("keys", "/keys/{keys}", "kept"),
    Seed::new("filter-chains", "/filter-chains/{filter-chains}", "kept"),
];

/// What other parameters of paths may be.
const WORDS: [(&str, &str); 4] = [
    ("address", "127.0.0.1:1"),
    ("level", "info"),
    ("schemas", "services"),
    ("tags", "kept"),
];

/// Fields that refer to an entity, with what it is.
const REFERENCES: [(&str, &str); 8] = [
    ("certificate.id", "certificates"),
    ("client_certificate.id", "certificates"),
    ("consumer.id", "consumers"),
    ("consumer_group.id", "consumer_groups"),
    ("route.id", "routes"),
    ("service.id", "services"),
    ("set.id", "key-sets"),
    ("upstream.id", "upstreams"),
];

/// Where a consumer is put into a group: it has no entity of its own to name.
const MEMBERS: &str = "/consumer_groups/{consumer_groups}/consumers";

/// The seeds of the kinds that a gateway has.
#[derive(Debug)]
pub(super) struct Garden {
    seeds: Vec<&'static Seed>,
    parameters: BTreeSet<String>,
    has_members: bool,
}

impl Seed {
    const fn new(parameter: &'static str, path: &'static str, name: &'static str) -> Self {
        Self {
            parameter,
            path,
            name: Some(name),
        }
    }

    const fn nameless(parameter: &'static str, path: &'static str) -> Self {
        Self {
            parameter,
            path,
            name: None,
        }
    }

    pub(super) fn id(&self, fate: Fate) -> String {
        id(self.parameter, fate)
    }

    /// What is put there, if anything is.
    fn document(&self, fate: Fate) -> Result<Option<Value>, String> {
        let name = match fate {
            Fate::Kept => "kept",
            Fate::DoomedBelow => "doomed-below",
            Fate::Doomed => "doomed",
        };
        let to = |parameter| json!({ "id": id(parameter, fate) });
        // Else it would be a way to delete them, before what is below them.
        let certificate = (fate != Fate::DoomedBelow).then(|| to("certificates"));
        let mut document = match self.parameter {
            // Their certificates are unique, and nothing is below them.
            "ca_certificates" if fate == Fate::DoomedBelow => return Ok(None),
            "ca_certificates" => {
                json!({ "cert": pem(if fate == Fate::Kept { "ca.crt" } else { "ca2.crt" })? })
            }
            "certificates" => json!({ "cert": pem("p256.crt")?, "key": pem("p256.key")? }),
            "snis" => json!({ "name": format!("{name}.test"), "certificate": to("certificates") }),
            "services" => json!({
                "name": name, "protocol": "https", "host": name, "client_certificate": certificate,
                // The doomed authority must not be refused its end.
                "ca_certificates": (fate == Fate::Kept).then(|| [id("ca_certificates", fate)]),
            }),
            "routes" => json!({ "name": name, "paths": [format!("/{name}")] }),
            "upstreams" => json!({ "name": name, "client_certificate": certificate }),
            "targets" => json!({ "target": format!("127.0.0.1:{}", fate as u32 + 1) }),
            "consumers" => json!({ "username": name, "custom_id": name }),
            "key-auths" => json!({ "key": name }),
            "acls" => json!({ "group": name }),
            "consumer_groups" => json!({ "name": name }),
            "plugins" => json!({
                "name": "key-auth", "instance_name": name, "service": to("services"), "route": to("routes"),
            }),
            "vaults" => json!({ "prefix": name, "name": "env" }),
            "key-sets" => json!({ "name": name }),
            "keys" => {
                let jwk = json!({ "kty": "oct", "kid": name, "k": "c2VjcmV0" });
                json!({ "name": name, "kid": name, "set": to("key-sets"), "jwk": jwk.to_string() })
            }
            "filter-chains" => json!({
                "name": name, "route": to("routes"), "filters": [{ "name": "any", "config": "{}" }],
            }),
            _ => json!({}),
        };
        document["tags"] = json!([name]);
        Ok(Some(document))
    }
}

impl Garden {
    /// For the kinds in this OpenAPI document.
    pub(super) fn of(description: &Value) -> Self {
        let paths = &description["paths"];
        let names = paths.as_object().into_iter().flat_map(|paths| paths.keys());
        let parameters = names.flat_map(|path| parameters(path)).map(str::to_owned);
        Self {
            parameters: parameters.collect(),
            seeds: SEEDS
                .iter()
                .filter(|seed| paths[seed.path]["put"].is_object())
                .collect(),
            has_members: paths[MEMBERS]["post"].is_object(),
        }
    }

    pub(super) fn seeds(&self) -> impl Iterator<Item = &'static Seed> {
        self.seeds.iter().copied()
    }

    pub(super) fn words(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        WORDS
            .into_iter()
            .filter(|(name, _)| self.parameters.contains(*name))
    }

    /// Parameters of paths that have nothing to name.
    pub(super) fn bare(&self) -> Vec<&str> {
        let known: BTreeSet<&str> = self
            .seeds()
            .map(|seed| seed.parameter)
            .chain(self.words().map(|(name, _)| name))
            .collect();
        let all = self.parameters.iter().map(String::as_str);
        all.filter(|parameter| !known.contains(parameter)).collect()
    }

    /// Fields of bodies, with values that name what is there, and material that nobody makes up.
    pub(super) fn fields(&self) -> Result<Vec<(&'static str, Vec<String>)>, String> {
        let references = REFERENCES.into_iter();
        let references = references.map(|(field, parameter)| (field, vec![id(parameter, Fate::Kept)]));
        Ok(references
            .chain([
                ("cert", vec![pem("p256.crt")?, pem("ca.crt")?]),
                ("key", vec![pem("p256.key")?]),
            ])
            .collect())
    }

    /// Makes all of it.
    pub(super) fn plant(&self, admin: SocketAddr) -> Result<(), String> {
        for fate in FATES {
            for seed in &self.seeds {
                if let Some(document) = seed.document(fate)? {
                    send(admin, "PUT", &filled(seed.path, fate), &document)?;
                }
            }
            if self.has_members {
                let member = json!({ "consumer": id("consumers", fate) });
                send(admin, "POST", &filled(MEMBERS, fate), &member)?;
            }
        }
        Ok(())
    }
}

fn send(admin: SocketAddr, method: &str, path: &str, document: &Value) -> Result<(), String> {
    match http::send_json(admin, method, path, document) {
        Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
        Ok(answer) => Err(format!(
            "{method} {path} {document} was answered with {}: {}",
            answer.status, answer.body
        )),
        Err(error) => Err(format!("{method} {path} failed: {error}")),
    }
}

/// An identity of its own for each seed and fate, the same in every run.
fn id(parameter: &str, fate: Fate) -> String {
    let place = SEEDS.iter().position(|seed| seed.parameter == parameter);
    let number = place.map_or(0, |place| place + 1);
    format!("00000000-0000-4000-8000-{:04}{number:08}", fate as u32)
}

/// The path with ids in place of parameters.
fn filled(path: &str, fate: Fate) -> String {
    let with = |path: String, parameter| path.replace(&format!("{{{parameter}}}"), &id(parameter, fate));
    parameters(path).fold(path.to_owned(), with)
}

fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn pem(name: &str) -> Result<String, String> {
    let file = suite::workspace_root()
        .join("crates/gw-core/tests/fixtures/pem")
        .join(name);
    fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_names_is_planted_before() {
        let mut planted = Vec::new();
        for seed in &SEEDS {
            planted.push(seed.parameter);
            let names: Vec<&str> = parameters(seed.path).collect();
            assert_eq!(names.last(), Some(&seed.parameter), "{}", seed.path);
            for name in names {
                assert!(planted.contains(&name), "{}: {name}", seed.path);
            }
            for fate in FATES {
                // A document of tags alone is that of a seed that has none.
                let fields = seed
                    .document(fate)
                    .unwrap()
                    .map(|document| document.as_object().unwrap().len());
                assert!(fields != Some(1), "{} has no document", seed.parameter);
            }
        }
        assert_eq!(
            filled("/upstreams/{upstreams}/targets/{targets}", Fate::Doomed),
            "/upstreams/00000000-0000-4000-8000-000200000006/targets/00000000-0000-4000-8000-000200000007"
        );
    }

    #[test]
    fn a_gateway_that_lacks_a_kind_gets_none_of_it_and_one_with_more_is_told() {
        let garden = Garden::of(&json!({ "paths": {
            "/tags/{tags}": { "get": {} },
            "/consumers/{consumers}": { "put": {} },
            "/consumers/{consumers}/hats/{hats}": { "put": {} },
        } }));
        let seeds: Vec<_> = garden.seeds().map(|seed| seed.parameter).collect();
        assert_eq!(seeds, ["consumers"]);
        assert_eq!(garden.words().collect::<Vec<_>>(), [("tags", "kept")]);
        assert_eq!(garden.bare(), ["hats"]);
        assert!(!garden.has_members);
    }
}
