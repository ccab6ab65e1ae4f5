//! `ssls`: certificates with their server names, those shown to nodes, and authorities that clients' certificates need.

use gw_core::Document;
use gw_schema::ViolationKind;
use serde_json::Value;
use uuid::Uuid;

use super::Mapping;
use super::ledger::Entity;
use super::shelf::Item;

/// The name space of ids that are derived from what a certificate holds.
const CERTIFICATES: Uuid = Uuid::from_u128(0x6a1d_0c3e_55b1_4a37_9b8e_2f0d_7c41_98a2);

impl Mapping<'_> {
    /// All certificates of the file.
    pub(super) fn certificates(&mut self) {
        let shelf = self.shelf;
        for item in shelf.list("ssls").iter().filter(|item| item.is_right) {
            if item.fields.get("status").and_then(Value::as_u64) == Some(0) {
                let at = format!("{}/status", item.pointer);
                self.ledger.adapted(at, "it is switched off, and left out", "");
                continue;
            }
            let is_client = item.text("type") == Some("client");
            let names = names(item);
            let id = self.certificate(item, &names, is_client);
            if let (Some(own), Some(id)) = (&item.id, id) {
                self.certificate_ids.insert(own.clone(), id);
            }
            if !is_client && names.is_empty() {
                let hint = "give `sni` or `snis`";
                let at = format!("{}/snis", item.pointer);
                self.ledger
                    .fault_with(at, "required field missing", ViolationKind::Required, hint);
            }
            if let Some(Value::Object(client)) = item.fields.get("client") {
                self.guard(item, client, &names);
            }
            for field in ["ssl_protocols"]
                .into_iter()
                .filter(|field| item.fields.contains_key(*field))
            {
                let what = "versions of TLS are the same for all names";
                let remedy = "give them as `--tls-min-version`";
                self.ledger
                    .unsupported(format!("{}/{field}", item.pointer), what, remedy);
            }
        }
    }

    fn certificate(&mut self, item: &Item, names: &[(String, String)], is_client: bool) -> Option<String> {
        let (cert, key) = (item.text("cert"), item.text("key"));
        let (Some(cert), Some(key)) = (cert, key) else {
            for (field, value) in [("cert", cert), ("key", key)] {
                if value.is_none() {
                    let at = format!("{}/{field}", item.pointer);
                    self.ledger
                        .fault(at, "required field missing", ViolationKind::Required);
                }
            }
            return None;
        };
        let mut entity = Entity::new(&item.pointer);
        let shown: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        let id = self.own_id(&format!("{cert}{}", shown.join(" ")), &item.pointer)?;
        entity.set("id", id.as_str());
        entity.set("cert", cert);
        entity.set("key", key);
        self.second_pair(item, &mut entity);
        if let Some(tags) = super::tags(&item.fields) {
            entity.set_from("tags", tags, format!("{}/labels", item.pointer));
        }
        for (name, origin) in names.iter().filter(|_| !is_client) {
            let is_address = name.parse::<std::net::IpAddr>().is_ok();
            if is_address {
                let what = "clients name no address in a handshake: the certificate is not shown for it";
                let remedy = "use a host name; `*` stands for all that no other name fits";
                self.ledger.adapted(origin, what, remedy);
                continue;
            }
            let mut sni = Entity::new(origin);
            sni.set_from("name", name.as_str(), origin);
            entity.adopt("snis", sni);
        }
        self.ledger.add("certificates", entity);
        Some(id)
    }

    /// An id derived from the contents; `None` if the file has such an entity already.
    fn own_id(&mut self, contents: &str, pointer: &str) -> Option<String> {
        let id = Uuid::new_v5(&CERTIFICATES, contents.as_bytes()).to_string();
        let is_new = self.names.unique("ids", &id) == id;
        if !is_new {
            let what = "the same certificate stands elsewhere in the file, for the same names";
            self.ledger
                .fault_with(pointer, what, ViolationKind::Entity, "leave one of them out");
        }
        is_new.then_some(id)
    }

    /// A second certificate for the same names, with another kind of key.
    fn second_pair(&mut self, item: &Item, entity: &mut Entity) {
        let list = |field: &str| item.fields.get(field).and_then(Value::as_array);
        let (Some(certs), Some(keys)) = (list("certs"), list("keys")) else {
            return;
        };
        if let (Some(cert), Some(key)) = (certs.first(), keys.first()) {
            entity.set_from("cert_alt", cert.clone(), format!("{}/certs/0", item.pointer));
            entity.set_from("key_alt", key.clone(), format!("{}/keys/0", item.pointer));
        }
        if certs.len() > 1 {
            let what = "of several further certificates the first is shown";
            let remedy = "keep one with an RSA key and one with an ECDSA key";
            self.ledger
                .unsupported(format!("{}/certs", item.pointer), what, remedy);
        }
    }

    /// Clients that come by these names have to show a certificate.
    fn guard(&mut self, item: &Item, client: &Document, names: &[(String, String)]) {
        let at = format!("{}/client", item.pointer);
        let authority = client.get("ca").and_then(Value::as_str).unwrap_or_default();
        for block in authority.split_inclusive("-----END CERTIFICATE-----") {
            let block = block.trim();
            let seen = Uuid::new_v5(&CERTIFICATES, block.as_bytes()).to_string();
            if !block.is_empty() && self.names.unique("authorities", &seen) == seen {
                let mut entity = Entity::new(&at);
                entity.set_from("cert", format!("{block}\n"), format!("{at}/ca"));
                self.ledger.add("ca_certificates", entity);
            }
        }
        let hosts = names.iter().map(|(name, _)| name.clone());
        self.guarded.extend(hosts);
        let what = "clients are asked for certificates by listener and route, not by name: routes that these names reach \
                    refuse who shows none, by whatever name they come";
        let remedy = "ask for them at the listener: `verify_client=on`";
        self.ledger.adapted(&at, what, remedy);
        if client.contains_key("skip_mtls_uri_regex") {
            let what = "no path is excepted: its clients need a certificate too";
            let remedy = "give such paths names of their own, without `client`";
            self.ledger
                .unsupported(format!("{at}/skip_mtls_uri_regex"), what, remedy);
        }
        if client
            .get("depth")
            .and_then(Value::as_u64)
            .is_some_and(|depth| depth != 1)
        {
            let what = "chains of any length are believed that end at this authority";
            self.ledger.adapted(format!("{at}/depth"), what, "");
        }
    }

    /// Whether a route for these hosts can be reached by a name whose clients must show a certificate.
    pub(super) fn is_guarded(&self, hosts: &[String]) -> bool {
        let overlap = |name: &String, host: &String| {
            let fits = |pattern: &str, name: &str| {
                let suffix = pattern.strip_prefix('*');
                pattern == "*" || suffix.map_or(pattern == name, |suffix| name.ends_with(suffix))
            };
            fits(name, host) || fits(host, name)
        };
        let reaches = |name: &String| hosts.is_empty() || hosts.iter().any(|host| overlap(name, host));
        self.guarded.iter().any(reaches)
    }
}

/// The id of the certificate that an upstream shows its nodes.
pub(super) fn for_nodes(mapping: &mut Mapping<'_>, tls: &Document, pointer: &str) -> Option<String> {
    if tls.contains_key("client_cert_id") {
        let shelf = mapping.shelf;
        let item = shelf.named("ssls", tls, "client_cert_id", pointer, &mut mapping.ledger)?;
        return mapping.certificate_ids.get(item.id.as_ref()?).cloned();
    }
    let text = |field: &str| tls.get(field).and_then(Value::as_str);
    let (cert, key) = (text("client_cert")?, text("client_key")?);
    let id = Uuid::new_v5(&CERTIFICATES, cert.as_bytes()).to_string();
    // Several upstreams may show the same.
    if mapping.names.unique("ids", &id) == id {
        let mut entity = Entity::new(pointer);
        entity.set("id", id.as_str());
        entity.set_from("cert", cert, format!("{pointer}/client_cert"));
        entity.set_from("key", key, format!("{pointer}/client_key"));
        mapping.ledger.add("certificates", entity);
    }
    Some(id)
}

/// The server names of a certificate, and where they stand.
fn names(item: &Item) -> Vec<(String, String)> {
    let one = item.text("sni");
    let one = one.map(|name| (name.to_lowercase(), format!("{}/sni", item.pointer)));
    let many = item.fields.get("snis").and_then(Value::as_array);
    let many = many.into_iter().flatten().enumerate();
    let many = many.filter_map(|(position, name)| {
        let at = format!("{}/snis/{position}", item.pointer);
        Some((name.as_str()?.to_lowercase(), at))
    });
    one.into_iter().chain(many).collect()
}
