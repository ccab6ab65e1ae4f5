//! PEM texts: the certificates and the private key they hold, and whether the key is the certificate's.

use std::fmt;

use p256::pkcs8::{DecodePrivateKey, PrivateKeyInfoRef};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// Certificates in DER, the leaf first.
type Chain = Vec<Box<[u8]>>;

/// Certificates, profile-tolerant: what is in use in the world is not always what the standard asks for.
pub(crate) type X509 = x509_cert::certificate::CertificateInner<x509_cert::certificate::Raw>;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// A certificate chain, the leaf first, and the leaf's private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// The certificates in DER.
    pub chain: Vec<Box<[u8]>>,
    /// The private key.
    pub key: PrivateKey,
}

/// A private key; its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Box<[u8]>);

/// Why a PEM text is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PemError {
    #[error("invalid certificate: there is none; expected PEM, '-----BEGIN CERTIFICATE-----'")]
    NoCertificate,
    #[error("invalid certificate: number {position} is not an X.509 certificate")]
    Certificate {
        position: usize,
        source: x509_cert::der::Error,
    },
    #[error("invalid key: there is none; expected PEM, '-----BEGIN PRIVATE KEY-----', not encrypted")]
    NoKey,
    #[error("invalid key: there is none; expected PEM, '-----BEGIN PUBLIC KEY-----'")]
    NoPublicKey,
    #[error("invalid certificate: its key is neither RSA nor ECDSA on P-256, P-384 or P-521 nor Ed25519")]
    Algorithm,
}

impl PrivateKey {
    /// The key in DER: PKCS#8, PKCS#1 or SEC1.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(***)")
    }
}

/// The certificates of a PEM text: at least one.
pub(crate) fn certificates(pem: &str) -> Result<(Chain, X509), PemError> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|_| PemError::NoCertificate)?;
    let mut leaf = None;
    let mut chain = Vec::with_capacity(found.len());
    for (i, der) in found.iter().enumerate() {
        let certificate = X509::from_der(der).map_err(|source| PemError::Certificate {
            position: i + 1,
            source,
        })?;
        leaf.get_or_insert(certificate);
        chain.push(Box::from(der.as_ref()));
    }
    Ok((chain, leaf.ok_or(PemError::NoCertificate)?))
}

/// The first private key of a PEM text.
pub(crate) fn private_key(pem: &str) -> Result<PrivateKey, PemError> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| PemError::NoKey)?;
    Ok(PrivateKey(key.secret_der().into()))
}

/// The first public key of a PEM text, in DER.
pub(crate) fn public_key(pem: &str) -> Result<Box<[u8]>, PemError> {
    let key = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| PemError::NoPublicKey)?;
    Ok(key.as_ref().into())
}

/// Kind of a certificate's key: two certificates for one name are of use only if theirs differ.
pub(crate) fn algorithm(leaf: &X509) -> ObjectIdentifier {
    leaf.tbs_certificate().subject_public_key_info().algorithm.oid
}

/// Whether `key` is the private half of the certificate's public key.
///
/// The public half is worked out from the private one, whatever the key's file says beside it.
pub(crate) fn is_key_of(key: &PrivateKey, leaf: &X509) -> Result<bool, PemError> {
    let public = leaf.tbs_certificate().subject_public_key_info();
    let bits = public.subject_public_key.raw_bytes();
    match public.algorithm.oid {
        RSA => Ok(is_rsa_key_of(key.der(), bits)),
        EC => is_ec_key_of(key.der(), curve(public).ok_or(PemError::Algorithm)?, bits),
        ED25519 => Ok(ed25519_dalek::SigningKey::from_pkcs8_der(key.der())
            .is_ok_and(|key| key.verifying_key().as_bytes() == bits)),
        _ => Err(PemError::Algorithm),
    }
}

fn curve(public: &SubjectPublicKeyInfoOwned) -> Option<ObjectIdentifier> {
    public.algorithm.parameters.as_ref()?.decode_as().ok()
}

fn is_ec_key_of(der: &[u8], curve: ObjectIdentifier, public: &[u8]) -> Result<bool, PemError> {
    Ok(match curve {
        P256 => {
            let key = p256::SecretKey::from_pkcs8_der(der).ok();
            let key = key.or_else(|| p256::SecretKey::from_sec1_der(der).ok());
            are_same(
                key.map(|key| key.public_key()),
                p256::PublicKey::from_sec1_bytes(public).ok(),
            )
        }
        P384 => {
            let key = p384::SecretKey::from_pkcs8_der(der).ok();
            let key = key.or_else(|| p384::SecretKey::from_sec1_der(der).ok());
            are_same(
                key.map(|key| key.public_key()),
                p384::PublicKey::from_sec1_bytes(public).ok(),
            )
        }
        P521 => {
            let key = p521::SecretKey::from_pkcs8_der(der).ok();
            let key = key.or_else(|| p521::SecretKey::from_sec1_der(der).ok());
            are_same(
                key.map(|key| key.public_key()),
                p521::PublicKey::from_sec1_bytes(public).ok(),
            )
        }
        _ => return Err(PemError::Algorithm),
    })
}

fn are_same<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    one.is_some() && one == other
}

fn is_rsa_key_of(der: &[u8], public: &[u8]) -> bool {
    let inner = PrivateKeyInfoRef::from_der(der).map(|info| info.private_key.as_bytes());
    let private = pkcs1::RsaPrivateKeyRef::from_der(inner.unwrap_or(der));
    let public = pkcs1::RsaPublicKeyRef::from_der(public);
    matches!((private, public), (Ok(private), Ok(public)) if private.public_key() == public)
}
