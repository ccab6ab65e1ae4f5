//! Certificates with their keys, the names they are shown for, and certificates of authorities.

use gw_schema::{ViolationKind, Violations};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use x509_cert::ext::pkix::BasicConstraints;

use crate::Id;
use crate::fields::Fields;
use crate::key_pair::{self, KeyPair, X509};

/// What the gateway shows to prove who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Identity.
    pub id: Id<Self>,
    /// The certificate and its key.
    pub pair: KeyPair,
    /// The same with a key of another kind, for clients that do not know the first.
    pub alternative: Option<KeyPair>,
    /// Labels.
    pub tags: Vec<Box<str>>,
}

/// A server name for which a certificate is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sni {
    /// Identity.
    pub id: Id<Self>,
    /// The name, in lower case; a `*` may stand for the first or the last label.
    pub name: Box<str>,
    /// The certificate.
    pub certificate: Id<Certificate>,
    /// Labels.
    pub tags: Vec<Box<str>>,
}

/// The certificate of an authority, to verify others with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaCertificate {
    /// Identity.
    pub id: Id<Self>,
    /// The certificate in DER.
    pub certificate: Box<[u8]>,
    /// Its SHA-256 digest in hexadecimal digits.
    pub digest: Box<str>,
    /// Labels.
    pub tags: Vec<Box<str>>,
}

impl Certificate {
    pub(crate) fn parse(document: &Map<String, Value>) -> Result<Self, Violations> {
        let mut fields = Fields::new(document);
        let pair = pair(&mut fields, ["cert", "key"], "certificate does not match key");
        let alternative = pair_of_other_kind(&mut fields, pair.as_ref().map(|(leaf, _)| leaf));
        let certificate = (|| {
            Some(Self {
                id: fields.id()?,
                pair: pair?.1,
                alternative,
                tags: fields.tags(),
            })
        })();
        fields.finish(certificate)
    }
}

/// Reads the pair in these two fields, and complains of each by itself, or of both together.
fn pair(fields: &mut Fields<'_>, [cert, key]: [&str; 2], mismatch: &str) -> Option<(X509, KeyPair)> {
    let chain = fields.parsed_with(cert, key_pair::certificates);
    let secret = fields.parsed_with(key, key_pair::private_key);
    let ((chain, leaf), secret) = chain.zip(secret)?;
    match key_pair::is_key_of(&secret, &leaf) {
        Ok(true) => return Some((leaf, KeyPair { chain, key: secret })),
        Ok(false) => fields.refuse_as(ViolationKind::Entity, "", mismatch),
        Err(error) => fields.refuse(format!("/{cert}"), error),
    }
    None
}

fn pair_of_other_kind(fields: &mut Fields<'_>, first: Option<&X509>) -> Option<KeyPair> {
    let mismatch = "alternative certificate does not match key";
    let (leaf, second) = pair(fields, ["cert_alt", "key_alt"], mismatch)?;
    if first.is_some_and(|first| key_pair::algorithm(first) == key_pair::algorithm(&leaf)) {
        let why = "certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), the \
                   provided certificates were both of the same type";
        fields.refuse_as(ViolationKind::Entity, "", why);
        return None;
    }
    Some(second)
}

impl Sni {
    pub(crate) fn parse(document: &Map<String, Value>) -> Result<Self, Violations> {
        let fields = Fields::new(document);
        let sni = (|| {
            Some(Self {
                id: fields.id()?,
                name: fields.boxed("name")?,
                certificate: fields.reference("certificate")?,
                tags: fields.tags(),
            })
        })();
        fields.finish(sni)
    }
}

impl CaCertificate {
    pub(crate) fn parse(document: &Map<String, Value>) -> Result<Self, Violations> {
        let mut fields = Fields::new(document);
        let found = fields.parsed_with("cert", key_pair::certificates);
        if let Some((chain, leaf)) = &found {
            let written = fields.millis("updated_at") / 1000;
            if let Some(complaint) = complaint(chain.len(), leaf, written) {
                fields.refuse("/cert", complaint);
            }
            if let Some(first) = chain.first()
                && fields
                    .text("cert_digest")
                    .is_some_and(|told| told != digest(first))
            {
                fields.refuse(
                    "/cert_digest",
                    "must be the SHA-256 digest of 'cert'; leave it out",
                );
            }
        }
        let certificate = (|| {
            let certificate = found?.0.into_iter().next()?;
            Some(Self {
                id: fields.id()?,
                digest: digest(&certificate).into(),
                certificate,
                tags: fields.tags(),
            })
        })();
        fields.finish(certificate)
    }
}

/// What speaks against a certificate as that of an authority, at a time in Unix seconds.
///
/// The time is that of the last change: what was valid when it was stored can always be read back.
fn complaint(count: usize, leaf: &X509, now: u64) -> Option<&'static str> {
    let certificate = leaf.tbs_certificate();
    let constraints = certificate.get_extension::<BasicConstraints>();
    if count > 1 {
        return Some("please submit only one certificate at a time");
    }
    if !matches!(constraints, Ok(Some((_, constraints))) if constraints.ca) {
        return Some(
            "certificate does not appear to be a CA because it is missing the \"CA\" basic constraint",
        );
    }
    (certificate.validity().not_after.to_unix_duration().as_secs() < now)
        .then_some("certificate expired, \"Not After\" time is in the past")
}

fn digest(der: &[u8]) -> String {
    Sha256::digest(der)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Writes the digest of a CA certificate beside it; one that is null is as good as not given.
pub(crate) fn add_digest(document: &mut Map<String, Value>) {
    if document.get("cert_digest").is_some_and(Value::is_null) {
        document.remove("cert_digest");
    }
    let Some(Value::String(pem)) = document.get("cert") else {
        return;
    };
    if let Ok((chain, _)) = key_pair::certificates(pem)
        && let Some(first) = chain.first()
    {
        document.insert("cert_digest".to_owned(), Value::from(digest(first)));
    }
}

/// Host names are the same in upper and lower case: the latter is stored.
pub(crate) fn lower_name(document: &mut Map<String, Value>) {
    if let Some(Value::String(name)) = document.get_mut("name") {
        name.make_ascii_lowercase();
    }
}
