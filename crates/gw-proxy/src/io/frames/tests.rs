//! Heads are found wherever the bytes are parted, floods are told from traffic.

use std::cell::Cell;
use std::convert::Infallible;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The same, of bytes that are all there.
fn oracle(mut bytes: &[u8]) -> Vec<Head> {
    let mut heads = Vec::new();
    while bytes.len() >= 9 {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        let is_reset = bytes[3] == RST_STREAM && length >= 4;
        if is_reset && bytes.len() < 13 {
            break;
        }
        let code = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        heads.push(Head {
            length,
            kind: bytes[3],
            flags: bytes[4],
            stream: code(5) & 0x7fff_ffff,
            code: if is_reset { code(9) } else { 0 },
        });
        bytes = bytes.get(9 + length as usize..).unwrap_or_default();
    }
    heads
}

fn found(portions: &[&[u8]]) -> (Vec<Head>, Heads) {
    let mut heads = Heads::after(0);
    let mut all = Vec::new();
    for portion in portions {
        let looked = heads.each(portion, |head| {
            all.push(head);
            Ok::<_, Infallible>(())
        });
        assert_eq!(looked, Ok(()));
    }
    (all, heads)
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let one = (0..12u8, any::<u8>(), any::<u32>(), vec(any::<u8>(), 0..40));
    vec(one, 0..20).prop_map(|frames| {
        let frames = frames
            .iter()
            .map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload));
        frames.collect::<Vec<_>>().concat()
    })
}

proptest! {
    #[test]
    fn heads_are_found_wherever_the_bytes_are_parted(bytes in frames(), cuts in vec(any::<prop::sample::Index>(), 0..30)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut portions = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([bytes.len()]) {
            portions.push(&bytes[from..cut]);
            from = cut;
        }
        let (heads, state) = found(&portions);
        prop_assert_eq!(heads, oracle(&bytes));
        prop_assert!(state.is_between());
    }

    #[test]
    fn any_bytes_are_read_alike_at_once_and_one_by_one(bytes in vec(any::<u8>(), 0..400)) {
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        let (heads, state) = found(&single);
        prop_assert_eq!((&heads, state), (&found(&[&bytes]).0, found(&[&bytes]).1));
        prop_assert_eq!(heads, oracle(&bytes));
    }
}

/// What comes of so many frames, all at one moment or one every so often.
fn flood(bytes: &[u8], count: u32, every: Duration) -> Option<u32> {
    let now = Cell::new(Instant::now());
    let mut frames = Frames::new(FrameLimits::default());
    frames
        .read(&[b'x'; PREFACE_LENGTH as usize], || now.get())
        .unwrap();
    (0..count).find(|_| {
        now.set(now.get() + every);
        frames.read(bytes, || now.get()).is_err()
    })
}

#[test]
fn each_kind_has_its_limit_in_a_second() {
    let limits = FrameLimits::default();
    for (bytes, limit) in [
        (frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), limits.resets),
        (frame(SETTINGS, 0, 0, &[]), limits.settings),
        (frame(SETTINGS, ACK, 0, &[]), limits.others),
        (frame(PING, 0, 0, &[0; 8]), limits.pings),
        (frame(DATA, 0, 1, &[]), limits.empty),
        (frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), limits.others),
        (frame(2, 0, 1, &[0; 5]), limits.others),
        (frame(9, 0, 1, &[]), limits.others),
        (frame(0x42, 0, 1, &[]), limits.others),
    ] {
        assert_eq!(
            flood(&bytes, 10 * limit, Duration::ZERO),
            Some(limit),
            "{bytes:?}"
        );
        let slow = Duration::from_secs(1) / limit;
        assert_eq!(flood(&bytes, 10 * limit, slow), None, "{bytes:?}");
    }
    for harmless in [
        frame(DATA, END_STREAM, 1, &[]),
        frame(DATA, 0, 1, b"x"),
        frame(HEADERS, 5, 1, b"x"),
    ] {
        assert_eq!(flood(&harmless, 100_000, Duration::ZERO), None, "{harmless:?}");
    }
}

#[test]
fn what_a_client_is_sent_makes_it_send() {
    let now = Instant::now();
    let mut frames = Frames::new(FrameLimits::default());
    frames.inbound = Heads::after(0);
    let update = [
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 4, 0]),
        frame(WINDOW_UPDATE, 0, 1, &[0, 0, 4, 0]),
    ]
    .concat();
    for _ in 0..100_000 {
        let (order, result) = frames.wrote(&frame(DATA, 0, 1, &[0; 4096]), || now);
        assert_eq!((order, result), (0, Ok(())));
        assert_eq!(frames.read(&update, || now), Ok(()));
    }
}

#[test]
fn streams_that_a_client_makes_us_reset_count_as_its_own() {
    let now = Instant::now();
    for (code, limit) in [(5u8, Some(200)), (1, Some(200)), (0, None), (2, None), (8, None)] {
        let mut frames = Frames::new(FrameLimits::default());
        let reset = frame(RST_STREAM, 0, 1, &[0, 0, 0, code]);
        let over = (0..1000).find(|_| frames.wrote(&reset, || now).1.is_err());
        assert_eq!(over, limit, "code {code}");
    }
}

#[test]
fn the_farewell_names_the_last_stream_and_waits_for_the_end_of_a_frame() {
    let now = Instant::now();
    let mut frames = Frames::new(FrameLimits::default());
    frames.inbound = Heads::after(0);
    frames.read(&frame(HEADERS, 5, 7, b"x"), || now).unwrap();
    let data = frame(DATA, 0, 7, b"hello");
    let (order, _) = frames.wrote(&data[..11], || now);
    assert_eq!((order, frames.farewell()), (0, None));
    assert_eq!(frames.wrote(&data[11..], || now), (0, Ok(())));
    let farewell = frame(GOAWAY, 0, 0, &[0, 0, 0, 7, 0, 0, 0, 11]);
    assert_eq!(frames.farewell().unwrap()[..], farewell[..]);
    assert_eq!(frames.wrote(&frame(PING, ACK, 0, &[0; 8]), || now), (17, Ok(())));
}
