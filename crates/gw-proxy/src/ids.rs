//! What a request is called: a name of its own in headers, logs and error documents.

use bytes::BytesMut;
use http::HeaderValue;

/// 32 hexadecimal digits for each request, out of one allocation for many.
#[derive(Debug)]
pub(crate) struct Ids {
    random: fastrand::Rng,
    block: BytesMut,
}

impl Ids {
    pub(crate) fn new() -> Self {
        Self {
            random: fastrand::Rng::new(),
            block: BytesMut::new(),
        }
    }

    pub(crate) fn next(&mut self) -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        if self.block.capacity() < 32 {
            self.block = BytesMut::with_capacity(32 * 64);
        }
        let random = self.random.u128(..).to_ne_bytes();
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(random) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        self.block.extend_from_slice(&digits);
        let id = self.block.split().freeze();
        HeaderValue::from_maybe_shared(id).unwrap_or_else(|_| HeaderValue::from_static("0"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_32_digits_and_never_the_same() {
        let mut ids = Ids::new();
        let all: HashSet<_> = (0..1000)
            .map(|_| ids.next().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(all.len(), 1000);
        assert!(
            all.iter()
                .all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        );
    }
}
