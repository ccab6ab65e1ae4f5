//! The certificate that a client has shown in TLS.

/// The certificate that a client has shown, where a listener or a route asks for one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Why it is not believed; none = an authority of the gateway has signed it.
    pub problem: Option<Box<str>>,
    /// Its subject, as RFC 4514 writes it: `CN=orders,O=Example`.
    pub subject: Box<str>,
    /// Who has signed it, as far as it says.
    pub issuer: Box<str>,
    /// Its serial number in hexadecimal digits.
    pub serial: Box<str>,
    /// The SHA-256 digest of the certificate in hexadecimal digits.
    pub fingerprint: Box<str>,
    /// Its other names, each after its kind: `DNS:orders.internal`, `URI:spiffe://example/orders`, `IP:10.0.0.1`,
    /// `email:ops@example.com`.
    pub names: Vec<Box<str>>,
    /// The certificate and those that it has sent with it, in DER.
    pub chain: Vec<Box<[u8]>>,
}

impl ClientCertificate {
    /// Whether an authority of the gateway has signed it.
    #[must_use]
    pub fn is_believed(&self) -> bool {
        self.problem.is_none()
    }
}
