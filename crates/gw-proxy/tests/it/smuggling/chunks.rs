//! Bodies in chunks.

use super::Fate::{Cut, Passed};
use super::{Bench, Fate};

const ROWS: &[(&str, &str, Fate)] = &[
    (
        "one chunk",
        "1\r\na\r\n0\r\n\r\n",
        Passed(
            &["transfer-encoding: chunked\r\n", "\r\n\r\n1\r\na\r\n0\r\n\r\n"],
            "content-length",
        ),
    ),
    (
        "capitals",
        "A\r\n0123456789\r\n0\r\n\r\n",
        Passed(&["0123456789"], ""),
    ),
    (
        "leading zeros",
        "0001\r\na\r\n000\r\n\r\n",
        Passed(&["\r\n\r\n1\r\na\r\n0\r\n\r\n"], "0001"),
    ),
    (
        "an extension",
        "1;x=y\r\na\r\n0\r\n\r\n",
        Passed(&["\r\n\r\n1\r\na\r\n0\r\n\r\n"], "x=y"),
    ),
    (
        "an extension with space",
        "1 ; x = \"y\"\r\na\r\n0;z\r\n\r\n",
        Passed(&["\r\n\r\n1\r\na\r\n0\r\n\r\n"], ";"),
    ),
    (
        "a request in a chunk",
        "26\r\nGET /inside HTTP/1.1\r\nHost: a.test\r\n\r\n\r\n0\r\n\r\n",
        Passed(&["\r\n\r\n26\r\nGET /inside"], ""),
    ),
    (
        "a trailer",
        "0\r\nX-A: b\r\n\r\n",
        Passed(&["transfer-encoding: chunked\r\n"], ""),
    ),
    (
        "a length in the trailers",
        "1\r\na\r\n0\r\nContent-Length: 9\r\n\r\n",
        Passed(&["a\r\n0\r\n\r\n"], "content-length"),
    ),
    (
        "a coding in the trailers",
        "1\r\na\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n",
        Passed(&["a\r\n0\r\n\r\n"], "gzip"),
    ),
    (
        "a host in the trailers",
        "1\r\na\r\n0\r\nHost: b.test\r\n\r\n",
        Passed(&["a\r\n0\r\n\r\n"], "b.test"),
    ),
    (
        "who calls in the trailers",
        "1\r\na\r\n0\r\nX-Consumer-Id: me\r\nX-Forwarded-For: 1.1.1.1\r\nAuthorization: x\r\n\r\n",
        Passed(&["a\r\n0\r\n\r\n"], "1.1.1.1"),
    ),
    ("a size that is none", "g\r\na\r\n0\r\n\r\n", Cut(400)),
    ("no size", "\r\na\r\n0\r\n\r\n", Cut(400)),
    ("a negative size", "-1\r\na\r\n0\r\n\r\n", Cut(400)),
    ("a size with a sign", "+1\r\na\r\n0\r\n\r\n", Cut(400)),
    ("a size with 0x", "0x1\r\na\r\n0\r\n\r\n", Cut(400)),
    ("a size with an underscore", "1_0\r\na\r\n0\r\n\r\n", Cut(400)),
    ("a size with a dot", "1.0\r\na\r\n0\r\n\r\n", Cut(400)),
    ("a size in quotes", "\"1\"\r\na\r\n0\r\n\r\n", Cut(400)),
    ("a size behind a space", " 1\r\na\r\n0\r\n\r\n", Cut(400)),
    ("a size behind a tab", "\t1\r\na\r\n0\r\n\r\n", Cut(400)),
    ("a size before a space", "1 \r\na\r\n0\r\n\r\n", Cut(400)),
    ("a size with a space within", "1 0\r\na\r\n0\r\n\r\n", Cut(400)),
    ("a size with a NUL", "1\0\r\na\r\n0\r\n\r\n", Cut(400)),
    (
        "a size behind a vertical tab",
        "\x0b1\r\na\r\n0\r\n\r\n",
        Cut(400),
    ),
    (
        "seventeen digits",
        "00000000000000001\r\na\r\n0\r\n\r\n",
        Cut(400),
    ),
    (
        "a size beyond 64 bits",
        "10000000000000001\r\na\r\n0\r\n\r\n",
        Cut(400),
    ),
    ("a size that ends in a line feed", "1\na\r\n0\r\n\r\n", Cut(400)),
    (
        "a size that ends in a carriage return",
        "1\ra\r\n0\r\n\r\n",
        Cut(400),
    ),
    ("two carriage returns", "1\r\r\na\r\n0\r\n\r\n", Cut(400)),
    ("an empty extension", "1;\r\na\r\n0\r\n\r\n", Cut(400)),
    ("an extension with a line feed", "1;x\na\r\n0\r\n\r\n", Cut(400)),
    (
        "an extension with a line feed within",
        "1;x\ny\r\na\r\n0\r\n\r\n",
        Cut(400),
    ),
    (
        "an extension with a carriage return",
        "1;x\ry\r\na\r\n0\r\n\r\n",
        Cut(400),
    ),
    (
        "an extension with a control",
        "1;x\x01\r\na\r\n0\r\n\r\n",
        Cut(400),
    ),
    ("an extension with a NUL", "1;\0\r\na\r\n0\r\n\r\n", Cut(400)),
    ("data longer than its chunk", "1\r\nab\r\n0\r\n\r\n", Cut(400)),
    ("data shorter than its chunk", "5\r\nab\r\nx\r\n", Cut(400)),
    ("no line end behind a chunk", "1\r\na0\r\n\r\n", Cut(400)),
    ("a line feed behind a chunk", "1\r\na\n0\r\n\r\n", Cut(400)),
    ("a carriage return behind a chunk", "1\r\na\r0\r\n\r\n", Cut(400)),
    (
        "the last chunk ends in a line feed",
        "1\r\na\r\n0\n\r\n",
        Cut(400),
    ),
    ("the body ends in a line feed", "1\r\na\r\n0\r\n\n", Cut(400)),
    (
        "a trailer that ends in a line feed",
        "1\r\na\r\n0\r\nX: y\n\r\n",
        Cut(400),
    ),
    ("a trailer without a colon", "1\r\na\r\n0\r\nX\r\n\r\n", Cut(400)),
    (
        "a trailer with a space before its colon",
        "1\r\na\r\n0\r\nX : y\r\n\r\n",
        Cut(400),
    ),
    ("a folded trailer", "1\r\na\r\n0\r\nX: y\r\n z\r\n\r\n", Cut(400)),
    (
        "a trailer that begins with a space",
        "1\r\na\r\n0\r\n X: y\r\n\r\n",
        Cut(400),
    ),
    ("a trailer with a NUL", "1\r\na\r\n0\r\nX: \0\r\n\r\n", Cut(400)),
];

const HEAD: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn chunks() {
    let bench = Bench::start().await;
    let row = |body: &str| format!("{HEAD}{body}").into_bytes();
    bench
        .check(ROWS.iter().map(|(name, body, fate)| (*name, row(body), *fate)))
        .await;
}

#[tokio::test]
async fn extensions_are_bounded() {
    let bench = Bench::start().await;
    let rows = [257, 64 << 10].map(|length| {
        let row = format!("{HEAD}1;{}\r\na\r\n0\r\n\r\n", "x".repeat(length + 1));
        ("a long extension", row.into_bytes(), Cut(400))
    });
    bench.check(rows).await;
}
