//! Heads and chunks that are taken and refused, in pieces of any size.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{Framing, Reading};

/// What is left of a stream once it has been looked at in pieces: what may be parsed, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Passed {
    bytes: Vec<u8>,
    heads: u32,
    why: Option<&'static str>,
    undecided: bool,
}

fn pass<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Passed {
    let mut framing = Framing::new();
    let mut passed = Passed {
        bytes: Vec::new(),
        heads: 0,
        why: None,
        undecided: false,
    };
    for piece in pieces {
        match framing.read(piece) {
            Reading::Whole => passed.bytes.extend(piece),
            Reading::Refused { at, instead, why } => {
                passed.bytes.extend(&piece[..at]);
                passed.bytes.extend(instead);
                passed.why = Some(why);
                break;
            }
            Reading::Undecided { at } => {
                passed.bytes.extend(&piece[..at]);
                break;
            }
        }
    }
    passed.undecided = framing.is_undecided();
    passed.heads = framing.heads();
    passed
}

fn whole(bytes: &[u8]) -> Passed {
    pass([bytes])
}

/// Requests in all the ways they may be written, and next to them the ways they may not.
const FINE: &[(&str, u32)] = &[
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
    ("\r\nGET / HTTP/1.1\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n", 2),
    (
        "POST / HTTP/1.1\r\nCONTENT-length:3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n",
        2,
    ),
    (
        "POST / HTTP/1.1\r\nContent-Length: \t 0 \t\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        2,
    ),
    (
        "POST / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n\n",
        1,
    ),
    (
        "POST / HTTP/1.1\r\nContent-Lengths: x\r\nContent-Lengt: x\r\nContent-Type: \r\n\r\n",
        1,
    ),
    (
        "POST / HTTP/1.1\r\ntransfer-ENCODING:\t Chunked \r\n\r\n00a\r\n0123456789\r\n0\r\n\r\nGET ",
        1,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA;x\r\n0123456789\r\n0 ; x=\"y\"\r\nA: b\r\n\r\nG",
        1,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n000000000000000A\r\n\n\n\n\n\n\n\n\n\n\n\r\n0\r\n\r\n",
        1,
    ),
];

const FLAWED: &[(&str, &str)] = &[
    ("\n", "bare"),
    ("\r\n\r\n", "empty line"),
    ("\rG", "carriage return"),
    ("GET / HTTP/1.1\n", "bare"),
    ("GET /#a HTTP/1.1\r\n", "fragment"),
    ("GET / HTTP/1.1\r\nA: b\n", "bare"),
    ("GET / HTTP/1.1\r\nA: b\r\n c\r\n", "white space"),
    ("GET / HTTP/1.1\r\n\n", "bare"),
    ("GET / HTTP/1.1\r\nA: b\r\n\rG", "carriage return"),
    ("GET / HTTP/1.1\r\nContent-Length: 1\n", "length"),
    ("GET / HTTP/1.1\r\nContent-Length: \r\n", "length"),
    ("GET / HTTP/1.1\r\nContent-Length: +1\r\n", "length"),
    ("GET / HTTP/1.1\r\nContent-Length: 01\r\n", "length"),
    ("GET / HTTP/1.1\r\nContent-Length: 1, 1\r\n", "length"),
    ("GET / HTTP/1.1\r\nContent-Length: 1 1\r\n", "length"),
    ("GET / HTTP/1.1\r\nContent-Length: 0x1\r\n", "length"),
    (
        "GET / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n",
        "length",
    ),
    (
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
        "twice",
    ),
    (
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "twice",
    ),
    (
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "twice",
    ),
    (
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "twice",
    ),
    ("GET / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n", "coding"),
    ("GET / HTTP/1.1\r\nTransfer-Encoding: chunkedx\r\n", "coding"),
    ("GET / HTTP/1.1\r\nTransfer-Encoding: chunke\r\n", "coding"),
    (
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n",
        "coding",
    ),
    ("GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n", "coding"),
    ("GET / HTTP/1.1\r\nTransfer-Encoding: \"chunked\"\r\n", "coding"),
    ("GET / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n", "coding"),
    ("GET / HTTP/1.1\r\nTransfer-Encoding:\r\n", "coding"),
];

const FLAWED_CHUNKS: &[(&str, &str)] = &[
    ("\r\n", "chunk"),
    ("g\r\n", "chunk"),
    ("-1\r\n", "chunk"),
    ("+1\r\n", "chunk"),
    ("0x1\r\n", "chunk"),
    (" 1\r\n", "chunk"),
    ("1 \r\n", "chunk"),
    ("1 2\r\n", "chunk"),
    ("1_0\r\n", "chunk"),
    ("1\n", "chunk"),
    ("1\rx", "carriage return"),
    ("00000000000000001\r\n", "chunk"),
    ("fffffffffffffffff\r\n", "chunk"),
    ("1;\r\n", "chunk"),
    ("1;;a\r\n", "chunk"),
    ("1;a\n", "chunk"),
    ("1;a\0b\r\n", "chunk"),
    ("1;a\x7fb\r\n", "chunk"),
    ("1;a\rb\r\n", "carriage return"),
    ("1\r\nab\r\n", "longer"),
    ("1\r\na\n", "longer"),
    ("1\r\na\r1", "longer"),
    ("1\r\na\r\n\r\n", "chunk"),
    ("0\r\n\n", "bare"),
    ("0\r\n a: b\r\n", "white space"),
    ("0\r\na: b\n\r\n", "bare"),
    ("0\r\na: b\r\n\rx", "carriage return"),
];

#[test]
fn requests_pass_as_they_are() {
    for (text, heads) in FINE {
        let passed = whole(text.as_bytes());
        assert_eq!((passed.why, passed.heads), (None, *heads), "{text:?}");
        assert_eq!(passed.bytes, text.as_bytes(), "{text:?}");
    }
}

#[test]
fn the_byte_at_fault_is_replaced_and_nothing_follows() {
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = FLAWED_CHUNKS
        .iter()
        .map(|(text, why)| (format!("{chunked}{text}"), why));
    let heads = FLAWED.iter().map(|(text, why)| ((*text).to_owned(), why));
    for (text, expected) in heads.chain(chunks) {
        let passed = whole(format!("{text}GET /smuggled HTTP/1.1\r\n\r\n").as_bytes());
        let why = passed.why.unwrap_or_else(|| panic!("{text:?} passed"));
        assert!(why.contains(expected), "{text:?}: {why}");
        assert!(!passed.bytes.windows(5).any(|part| part == b"/smug"), "{text:?}");
    }
}

#[test]
fn an_extension_has_its_bound() {
    for (length, passes) in [(256, true), (257, false)] {
        let mut text = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;".to_owned();
        write!(text, "{}\r\na\r\n0\r\n\r\n", "x".repeat(length + 1)).unwrap();
        assert_eq!(whole(text.as_bytes()).why.is_none(), passes, "{length}");
    }
}

#[test]
fn what_follows_an_upgrade_waits() {
    let upgrade = "GET / HTTP/1.1\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n";
    let more = "GET / HTTP/1.1\r\n\r\n";
    let mut framing = Framing::new();
    let read = framing.read(format!("{upgrade}{more}").as_bytes());
    assert_eq!(read, Reading::Undecided { at: upgrade.len() });
    assert!(framing.is_undecided());
    framing.decline();
    assert_eq!(framing.read(more.as_bytes()), Reading::Whole);
    assert_eq!(framing.heads(), 2);
    framing.read(upgrade.as_bytes());
    framing.end();
    assert_eq!(framing.read(b"\x81\n\0anything"), Reading::Whole);
    assert!(framing.is_over());
    let with_body = "GET / HTTP/1.1\r\nupgrade: websocket\r\ncontent-length: 1\r\n\r\nx";
    assert_eq!(
        Framing::new().read(format!("{with_body}{more}").as_bytes()),
        Reading::Whole
    );
}

#[test]
fn the_length_of_a_request_line_is_known_while_it_comes() {
    let mut framing = Framing::new();
    framing.read(b"\r\nGET /a");
    assert_eq!(framing.line(), 6);
    framing.read(b"b HTTP/1.1\r");
    framing.read(b"\nHost: a\r\n");
    assert_eq!(framing.line(), 17);
    framing.read(b"\r\nGE");
    assert_eq!(framing.line(), 2);
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "GET / HTTP/1.1\r\n",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        " ",
        "Content-Length:",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Upgrade: x\r\n",
        "a: b\r\n",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "3;a\r\n",
        "abc",
        ";",
        "#",
        "\0",
    ];
    let word = prop_oneof![
        8 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..3),
    ];
    prop::collection::vec(word, 0..12).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn the_verdict_does_not_depend_on_how_the_bytes_were_read(
        bytes in pieces(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let once = whole(&bytes);
        let singly = pass(bytes.chunks(1));
        prop_assert_eq!(&once, &singly);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let parts = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        prop_assert_eq!(&once, &pass(parts));
    }
}
