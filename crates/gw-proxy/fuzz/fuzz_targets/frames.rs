//! Frames of HTTP/2 in any portions: the same heads as at once, and nothing panics.

#![no_main]

use std::convert::Infallible;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;

#[path = "../../src/io/frames.rs"]
#[allow(dead_code, unreachable_pub, reason = "the target takes a part of it")]
mod frames;

use frames::{FrameLimits, Frames, Head, Heads};

fn heads(portions: &[&[u8]]) -> (Vec<Head>, Heads) {
    let mut state = Heads::after(0);
    let mut all = Vec::new();
    for portion in portions {
        let Ok(()) = state.each(portion, |head| {
            all.push(head);
            Ok::<_, Infallible>(())
        });
    }
    (all, state)
}

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (bytes, cuts) = input;
    let mut portions = Vec::new();
    let mut rest = &bytes[..];
    for cut in cuts {
        let (portion, more) = rest.split_at(usize::from(cut).min(rest.len()));
        portions.push(portion);
        rest = more;
    }
    portions.push(rest);
    assert_eq!(heads(&portions), heads(&[&bytes]));
    let now = Instant::now();
    let (mut one, mut other) = (Frames::new(FrameLimits::default()), Frames::new(FrameLimits::default()));
    let at_once = one.read(&bytes, || now);
    // Nobody reads on after a flood.
    let read = |all: Result<(), _>, portion: &&[u8]| all.and_then(|()| other.read(portion, || now));
    assert_eq!(at_once, portions.iter().fold(Ok(()), read));
    for portion in portions {
        let _unless_reset_too_often = one.wrote(portion, || now);
    }
    one.farewell();
});
