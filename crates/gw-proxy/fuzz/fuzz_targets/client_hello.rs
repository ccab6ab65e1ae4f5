//! Hellos of TLS in any portions: the same name as at once, and nothing panics.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/opening/hello.rs"]
#[allow(dead_code, unreachable_pub, reason = "the target takes a part of it")]
mod hello;

use hello::{Hello, Looked};

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (bytes, cuts) = input;
    let at_once = Hello::default().look(&bytes);
    let (mut reader, mut end, mut found) = (Hello::default(), 0, Looked::More);
    for cut in cuts.into_iter().map(usize::from).chain([bytes.len()]) {
        end = bytes.len().min(end + cut);
        found = reader.look(&bytes[..end]);
        // Nobody looks again once it is decided.
        if found != Looked::More {
            break;
        }
    }
    assert_eq!(found, at_once);
});
