//! The messages of a connection are parted alike however their bytes are read, and as the parser behind parts them.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/framing.rs"]
#[allow(dead_code, reason = "the crate uses all of it")]
mod framing;

use framing::{Framing, Reading};

/// What may be parsed, how many heads were whole in it, and whether something was refused.
fn pass<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> (Vec<u8>, u32, bool) {
    let mut framing = Framing::new();
    let mut passed = Vec::new();
    for piece in pieces {
        match framing.read(piece) {
            Reading::Whole => passed.extend(piece),
            Reading::Refused { at, instead, .. } => {
                assert!(at < piece.len() && framing.is_over() && !instead.is_empty());
                passed.extend(&piece[..at]);
                return (passed, framing.heads(), true);
            }
            Reading::Undecided { at } => {
                assert!(framing.is_undecided());
                passed.extend(&piece[..at]);
                return (passed, framing.heads(), false);
            }
        }
    }
    (passed, framing.heads(), false)
}

/// How many heads a lenient reader finds, until it finds something that it does not take, and whether it did.
fn lenient(mut bytes: &[u8]) -> (u32, bool) {
    let mut heads = 0;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 256];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return (heads, true),
            Err(_) => return (heads, false),
        };
        heads += 1;
        bytes = &bytes[length..];
        let values = |name: &str| -> Vec<&[u8]> {
            let named = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
            named.map(|header| header.value).collect()
        };
        let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
        assert!(lengths.len() + codings.len() <= 1, "framed twice");
        if let [coding] = codings[..] {
            assert!(coding.eq_ignore_ascii_case(b"chunked"));
            match chunks(bytes) {
                Some(Some(rest)) => bytes = rest,
                Some(None) => return (heads, true),
                None => return (heads, false),
            }
        } else if let [length] = lengths[..] {
            let length: u64 = std::str::from_utf8(length).unwrap().parse().unwrap();
            match usize::try_from(length).ok().and_then(|length| bytes.get(length..)) {
                Some(rest) => bytes = rest,
                None => return (heads, true),
            }
        }
    }
}

/// What follows a body in chunks; `Some(None)` if it is not whole, `None` if it is none.
fn chunks(mut bytes: &[u8]) -> Option<Option<&[u8]>> {
    loop {
        let (start, size) = match httparse::parse_chunk_size(bytes).ok()? {
            httparse::Status::Complete(found) => found,
            httparse::Status::Partial => return Some(None),
        };
        bytes = &bytes[start..];
        if size == 0 {
            let mut trailers = [httparse::EMPTY_HEADER; 256];
            return match httparse::parse_headers(bytes, &mut trailers).ok()? {
                httparse::Status::Complete((length, _)) => Some(Some(&bytes[length..])),
                httparse::Status::Partial => Some(None),
            };
        }
        let Some(rest) = usize::try_from(size).ok().and_then(|size| bytes.get(size..)) else {
            return Some(None);
        };
        match rest {
            [] | [b'\r'] => return Some(None),
            [b'\r', b'\n', rest @ ..] => bytes = rest,
            _ => return None,
        }
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = pass(std::iter::once(bytes));
    assert_eq!(whole, pass(bytes.chunks(1)));
    assert_eq!(whole, pass(bytes.chunks(usize::from(cut).max(1))));
    let (passed, heads, _) = whole;
    let (found, takes_all) = lenient(&passed);
    assert!(found <= heads, "a head that was not seen: {found} instead of {heads}");
    assert!(found == heads || !takes_all, "a head that is none: {heads} instead of {found}");
});
