//! Whom a hello of TLS is for, as far as it has come.

use std::fmt;

use tokio_rustls::rustls::server::Acceptor;

/// A hello that comes in portions.
#[derive(Default)]
pub(crate) struct Hello {
    /// How much of what has come has been looked at.
    seen: usize,
    acceptor: Acceptor,
}

/// What bytes of TLS tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// More is needed.
    More,
    /// A whole hello, and the server name in it, in small letters.
    Name(Option<Box<str>>),
    /// It is none.
    Nothing,
}

impl Hello {
    /// Looks at all that has `come` so far, of which it knows the beginning. Nobody looks again once it is decided.
    pub(crate) fn look(&mut self, come: &[u8]) -> Looked {
        let mut new = come.get(self.seen..).unwrap_or_default();
        self.seen = come.len();
        loop {
            if new.is_empty() {
                return Looked::More;
            }
            if self.acceptor.read_tls(&mut new).is_err() {
                return Looked::Nothing;
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                    return Looked::Name(name.map(Into::into));
                }
                Err(_) => return Looked::Nothing,
            }
        }
    }
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    /// What a client says first to a server of this name.
    fn hello(name: &'static str) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut said = Vec::new();
        client.write_tls(&mut said).unwrap();
        said
    }

    /// What is found in bytes that come in portions of these lengths, and how many of them were looked at for it.
    fn looked(bytes: &[u8], portions: &[usize]) -> (Looked, usize) {
        let (mut reader, mut end) = (Hello::default(), 0_usize);
        for portion in portions.iter().copied().chain([usize::MAX]) {
            end = bytes.len().min(end.saturating_add(portion));
            match reader.look(&bytes[..end]) {
                Looked::More => {}
                decided => return (decided, end),
            }
        }
        (Looked::More, end)
    }

    /// The same in records of TLS of at most so many bytes each.
    fn in_records(said: &[u8], most: usize) -> Vec<u8> {
        let (head, message) = said.split_at(5);
        let mut records = Vec::new();
        for part in message.chunks(most) {
            records.extend_from_slice(&head[..3]);
            records.extend_from_slice(&u16::try_from(part.len()).unwrap().to_be_bytes());
            records.extend_from_slice(part);
        }
        records
    }

    #[test]
    fn the_name_is_found_as_soon_as_the_hello_is_whole() {
        let said = hello("Shop.Example.test");
        let named = Looked::Name(Some("shop.example.test".into()));
        for end in 0..said.len() {
            assert_eq!(looked(&said[..end], &[]).0, Looked::More, "{end} bytes");
        }
        let ones = vec![1; said.len()];
        assert_eq!(looked(&said, &ones), (named.clone(), said.len()));
        for most in [1, 7, 100] {
            assert_eq!(
                looked(&in_records(&said, most), &[]).0,
                named,
                "in records of {most}"
            );
        }
        assert_eq!(looked(&hello("192.0.2.1"), &[]).0, Looked::Name(None));
        assert_eq!(looked(b"GET / HTTP/1.1\r\n\r\n", &[]).0, Looked::Nothing);
    }

    /// Bytes that are almost a hello, or nothing like one.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let said = Just(hello("a.test"));
        let changed = (
            said,
            prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            any::<prop::sample::Index>(),
            prop::collection::vec(any::<u8>(), 0..40),
            1_usize..300,
        )
            .prop_map(|(mut said, changes, cut, more, most)| {
                for (at, byte) in changes {
                    let at = at.index(said.len());
                    said[at] = byte;
                }
                let mut said = in_records(&said, most);
                said.truncate(cut.index(said.len() + 1));
                said.extend(more);
                said
            });
        prop_oneof![3 => changed, 1 => prop::collection::vec(any::<u8>(), 0..400)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// However bytes are parted, the end is the same, and what follows does not change it.
        #[test]
        fn the_verdict_does_not_depend_on_how_bytes_come(
            bytes in bytes(),
            portions in prop::collection::vec(0_usize..200, 0..8),
        ) {
            let (at_once, _) = looked(&bytes, &[]);
            let (in_portions, end) = looked(&bytes, &portions);
            prop_assert!(end <= bytes.len());
            prop_assert_eq!(&in_portions, &at_once);
            prop_assert_eq!(looked(&bytes[..end], &[]).0, at_once);
        }
    }
}
