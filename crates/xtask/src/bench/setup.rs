//! What a proxy is set up for, beyond plain requests.

use std::path::Path;
use std::process::{Command, Stdio};

use super::contender::write;
use crate::programs;

/// What a proxy is set up for. One process is started for each of these that a scenario asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// Plain requests, and nothing else.
    Plain,
    /// As [`Plain`](Self::Plain), with an access log.
    Logs,
    /// TLS with HTTP/1 and HTTP/2 at a second address.
    Tls,
    /// HTTP/2 without TLS at a second address, and calls of gRPC go on as such.
    Grpc,
    /// Many routes, and a key is asked for.
    Full,
    /// As many routes as a large gateway has.
    Huge,
}

impl Setup {
    /// How many routes there are, beside the one that takes everything.
    pub(crate) fn routes(self) -> usize {
        match self {
            Self::Full => 10_000,
            Self::Huge => 100_000,
            Self::Plain | Self::Logs | Self::Tls | Self::Grpc => 0,
        }
    }

    /// Whether this is the answer to a plain request without a key.
    pub(crate) fn answers(self, status: u16) -> bool {
        status == if self == Self::Full { 401 } else { 200 }
    }

    /// A path that one of the many routes takes.
    pub(crate) const PATH: &str = "/api/v7/service7777/small";

    /// The key that is asked for.
    pub(crate) const KEY: &str = "sesame-open-sesame";

    /// What calls of gRPC are for.
    pub(crate) const CALL: &str = "/bench.Echo/Call";

    /// The path of the many routes' nth.
    pub(crate) fn path(number: usize) -> String {
        format!("/api/v{}/service{number}", number % 10)
    }
}

/// Makes a certificate for the address and its key, on P-256: the files `cert.pem`, `key.pem` and `both.pem`.
pub(crate) fn certificate(dir: &Path) -> Result<(), String> {
    let openssl = programs::find("openssl").ok_or("openssl is not installed")?;
    let made = Command::new(openssl)
        .current_dir(dir)
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=bench.test",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("cannot run openssl: {error}"))?;
    if !made.success() {
        return Err(format!("openssl made no certificate: {made}"));
    }
    let (certificate, key) = (read(&dir.join("cert.pem"))?, read(&dir.join("key.pem"))?);
    write(&dir.join("both.pem"), &(certificate + &key))
}

pub(crate) fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_that_is_asked_for_is_one_of_the_many() {
        let number = (0..Setup::Full.routes()).find(|number| {
            let path = Setup::path(*number);
            Setup::PATH
                .strip_prefix(&path)
                .is_some_and(|rest| rest.starts_with('/'))
        });
        assert_eq!(number, Some(7777));
    }
}
