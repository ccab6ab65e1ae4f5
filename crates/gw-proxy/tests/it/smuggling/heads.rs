//! Request lines and headers.

use super::Fate::{Last, Passed, Refused};
use super::{Bench, Fate};

const H: &str = "Host: a.test\r\n";

/// Request lines, with a host behind them.
const LINES: &[(&str, &str, Fate)] = &[
    ("a bare line feed", "GET / HTTP/1.1\n", Refused(400)),
    ("a bare carriage return", "GET / HTTP/1.1\r", Refused(400)),
    ("a carriage return within", "GET /\r HTTP/1.1\r\n", Refused(400)),
    (
        "one empty line before",
        "\r\nGET / HTTP/1.1\r\n",
        Passed(&["GET / HTTP/1.1\r\n"], ""),
    ),
    (
        "two empty lines before",
        "\r\n\r\nGET / HTTP/1.1\r\n",
        Refused(400),
    ),
    ("a bare line feed before", "\nGET / HTTP/1.1\r\n", Refused(400)),
    ("a space before", " GET / HTTP/1.1\r\n", Refused(400)),
    ("two spaces", "GET  / HTTP/1.1\r\n", Refused(400)),
    (
        "two spaces before the version",
        "GET /  HTTP/1.1\r\n",
        Refused(400),
    ),
    ("a tab", "GET\t/ HTTP/1.1\r\n", Refused(400)),
    ("a tab before the version", "GET /\tHTTP/1.1\r\n", Refused(400)),
    ("a vertical tab", "GET /\x0bHTTP/1.1\r\n", Refused(400)),
    ("a space at the end", "GET / HTTP/1.1 \r\n", Refused(400)),
    ("a space in the target", "GET /a b HTTP/1.1\r\n", Refused(400)),
    ("no version", "GET /\r\n", Refused(400)),
    ("no target", "GET HTTP/1.1\r\n", Refused(400)),
    ("an empty target", "GET  HTTP/1.1\r\n", Refused(400)),
    ("HTTP/1.2", "GET / HTTP/1.2\r\n", Refused(400)),
    ("HTTP/2.0", "GET / HTTP/2.0\r\n", Refused(400)),
    ("HTTP/0.9", "GET / HTTP/0.9\r\n", Refused(400)),
    ("HTTP/1.10", "GET / HTTP/1.10\r\n", Refused(400)),
    ("HTTP/01.1", "GET / HTTP/01.1\r\n", Refused(400)),
    ("HTTP/1", "GET / HTTP/1\r\n", Refused(400)),
    ("HTTP/1.", "GET / HTTP/1.\r\n", Refused(400)),
    ("http/1.1", "GET / http/1.1\r\n", Refused(400)),
    ("HTTPS/1.1", "GET / HTTPS/1.1\r\n", Refused(400)),
    ("HTTP 1.1", "GET / HTTP 1.1\r\n", Refused(400)),
    ("a method with a colon", "GE:T / HTTP/1.1\r\n", Refused(400)),
    ("a method in brackets", "(GET) / HTTP/1.1\r\n", Refused(400)),
    ("a method with a NUL", "G\0ET / HTTP/1.1\r\n", Refused(400)),
    (
        "a method that is none but may be",
        "get / HTTP/1.1\r\n",
        Passed(&["get / HTTP/1.1\r\n"], ""),
    ),
    ("CONNECT", "CONNECT a.test:80 HTTP/1.1\r\n", Refused(405)),
    ("CONNECT to a path", "CONNECT / HTTP/1.1\r\n", Refused(405)),
    ("TRACE", "TRACE / HTTP/1.1\r\n", Refused(405)),
    (
        "a target that is an authority",
        "GET a.test HTTP/1.1\r\n",
        Refused(400),
    ),
    (
        "an authority with a port",
        "GET a.test:80 HTTP/1.1\r\n",
        Refused(400),
    ),
    (
        "a target without a slash",
        "GET admin/x HTTP/1.1\r\n",
        Refused(400),
    ),
    ("only a query", "GET ?x=1 HTTP/1.1\r\n", Refused(400)),
    ("an asterisk", "GET * HTTP/1.1\r\n", Refused(400)),
    (
        "an asterisk with a query",
        "OPTIONS *?x HTTP/1.1\r\n",
        Refused(400),
    ),
    (
        "an asterisk for all of the server",
        "OPTIONS * HTTP/1.1\r\n",
        Refused(405),
    ),
    ("a fragment", "GET /a#b HTTP/1.1\r\n", Refused(400)),
    (
        "a fragment behind a query",
        "GET /a?b#/../c HTTP/1.1\r\n",
        Refused(400),
    ),
    ("a NUL in the target", "GET /a\0b HTTP/1.1\r\n", Refused(400)),
    ("an escaped NUL", "GET /a%00b HTTP/1.1\r\n", Refused(400)),
    ("a broken escape", "GET /a%zz HTTP/1.1\r\n", Refused(400)),
    ("DEL in the target", "GET /a\x7fb HTTP/1.1\r\n", Refused(400)),
    (
        "escaped line ends",
        "GET /a%0d%0aX:y HTTP/1.1\r\n",
        Passed(&["GET /a%0D%0AX:y HTTP/1.1\r\n"], "\r\nX:"),
    ),
    (
        "absolute",
        "GET http://b.test/x HTTP/1.1\r\n",
        Passed(&["GET /x HTTP/1.1\r\n", "x-forwarded-host: b.test"], "http://"),
    ),
    (
        "absolute without a path",
        "GET http://b.test HTTP/1.1\r\n",
        Passed(&["GET / HTTP/1.1\r\n"], "http://"),
    ),
    (
        "absolute with a query only",
        "GET http://b.test?x HTTP/1.1\r\n",
        Passed(&["GET /?x HTTP/1.1\r\n"], "http://"),
    ),
    (
        "absolute with a user",
        "GET http://u:p@b.test/ HTTP/1.1\r\n",
        Refused(400),
    ),
    (
        "absolute of another scheme",
        "GET ftp://b.test/ HTTP/1.1\r\n",
        Refused(400),
    ),
    (
        "absolute without a host",
        "GET http:///x HTTP/1.1\r\n",
        Refused(400),
    ),
    (
        "absolute with too high a port",
        "GET http://b.test:65536/ HTTP/1.1\r\n",
        Refused(400),
    ),
    ("a file", "GET file:///etc/passwd HTTP/1.1\r\n", Refused(400)),
    (
        "two slashes",
        "GET //b.test/x HTTP/1.1\r\n",
        Passed(&["GET /b.test/x HTTP/1.1\r\n"], ""),
    ),
];

/// Headers, behind `POST / HTTP/1.1` and a host, with what follows the head.
const HEADERS: &[(&str, &str, Fate)] = &[
    ("a bare line feed", "X: y\n\r\n", Refused(400)),
    ("a head that ends in a bare line feed", "X: y\r\n\n", Refused(400)),
    ("a bare carriage return", "X: y\rZ: z\r\n\r\n", Refused(400)),
    ("a fold", "X: y\r\n z\r\n\r\n", Refused(400)),
    ("a fold by tab", "X: y\r\n\tz\r\n\r\n", Refused(400)),
    (
        "a fold of a coding",
        "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a fold of a length",
        "Content-Length:\r\n 0\r\n\r\n",
        Refused(400),
    ),
    ("a space before the colon", "X : y\r\n\r\n", Refused(400)),
    ("a tab before the colon", "X\t: y\r\n\r\n", Refused(400)),
    (
        "a space before a length's colon",
        "Content-Length : 0\r\n\r\n",
        Refused(400),
    ),
    (
        "a space before a coding's colon",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    ("no colon", "X\r\n\r\n", Refused(400)),
    ("no name", ": y\r\n\r\n", Refused(400)),
    ("a name with a space", "X Y: z\r\n\r\n", Refused(400)),
    ("a name with brackets", "X(: y\r\n\r\n", Refused(400)),
    ("a name with a NUL", "X\0: y\r\n\r\n", Refused(400)),
    ("a value with a NUL", "X: a\0b\r\n\r\n", Refused(400)),
    ("a value with a control", "X: a\x01b\r\n\r\n", Refused(400)),
    ("a value with a vertical tab", "X: a\x0bb\r\n\r\n", Refused(400)),
    ("a value with DEL", "X: a\x7fb\r\n\r\n", Refused(400)),
    (
        "a tab in a value",
        "X: a\tb\r\n\r\n",
        Passed(&["x: a\tb\r\n"], ""),
    ),
    ("an empty value", "X:\r\n\r\n", Passed(&["x: \r\n"], "")),
    (
        "both lengths",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "both lengths, the other way",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "both lengths, one of nothing",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "two lengths",
        "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        Refused(400),
    ),
    (
        "the same length twice",
        "Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
        Refused(400),
    ),
    ("a list of lengths", "Content-Length: 1, 1\r\n\r\na", Refused(400)),
    (
        "a length with a sign",
        "Content-Length: +1\r\n\r\na",
        Refused(400),
    ),
    ("a negative length", "Content-Length: -1\r\n\r\n", Refused(400)),
    (
        "a hexadecimal length",
        "Content-Length: 0x1\r\n\r\na",
        Refused(400),
    ),
    ("hexadecimal digits", "Content-Length: a\r\n\r\n", Refused(400)),
    (
        "a length with an underscore",
        "Content-Length: 1_0\r\n\r\n",
        Refused(400),
    ),
    (
        "a length with a fraction",
        "Content-Length: 1.0\r\n\r\na",
        Refused(400),
    ),
    (
        "a length with an exponent",
        "Content-Length: 1e1\r\n\r\n",
        Refused(400),
    ),
    (
        "a length in quotes",
        "Content-Length: \"1\"\r\n\r\na",
        Refused(400),
    ),
    (
        "a length with a space within",
        "Content-Length: 1 0\r\n\r\n",
        Refused(400),
    ),
    (
        "a length with a comma",
        "Content-Length: 1,\r\n\r\na",
        Refused(400),
    ),
    (
        "a length with a semicolon",
        "Content-Length: 1;a\r\n\r\na",
        Refused(400),
    ),
    ("an empty length", "Content-Length:\r\n\r\n", Refused(400)),
    (
        "a length with a leading zero",
        "Content-Length: 01\r\n\r\na",
        Refused(400),
    ),
    (
        "a length beyond 64 bits",
        "Content-Length: 18446744073709551617\r\n\r\na",
        Refused(400),
    ),
    (
        "a length with a NUL",
        "Content-Length: 1\0\r\n\r\na",
        Refused(400),
    ),
    (
        "a length behind a vertical tab",
        "Content-Length:\x0b1\r\n\r\na",
        Refused(400),
    ),
    (
        "a length in digits of another script",
        "Content-Length: \u{661}\r\n\r\na",
        Refused(400),
    ),
    (
        "a length with space around",
        "Content-Length: \t 1 \t\r\n\r\na",
        Passed(&["content-length: 1\r\n", "\r\n\r\na"], ""),
    ),
    (
        "a length in capitals",
        "CONTENT-LENGTH:1\r\n\r\na",
        Passed(&["content-length: 1\r\n", "\r\n\r\na"], ""),
    ),
    (
        "a length of nothing",
        "Content-Length: 0\r\n\r\n",
        Passed(&["content-length: 0\r\n"], ""),
    ),
    (
        "no length at all",
        "\r\n",
        Passed(&["POST / HTTP/1.1\r\n"], "transfer-encoding"),
    ),
    (
        "an unknown coding",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    ("gzip", "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n", Refused(400)),
    (
        "gzip, chunked",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunked, identity",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    ("identity", "Transfer-Encoding: identity\r\n\r\n", Refused(400)),
    (
        "identity, chunked",
        "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunked, chunked",
        "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunked twice",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunked and another",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "another and chunked",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a list that begins with nothing",
        "Transfer-Encoding: , chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a list that ends with nothing",
        "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding behind a vertical tab",
        "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding behind a form feed",
        "Transfer-Encoding: \x0cchunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding with a NUL",
        "Transfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding with a parameter",
        "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding in quotes",
        "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding in other quotes",
        "Transfer-Encoding: 'chunked'\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding without a value",
        "Transfer-Encoding:\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding with a letter of another script",
        "Transfer-Encoding: chun\u{212a}ed\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding with space around",
        "Transfer-Encoding: \tCHUNKED \t\r\n\r\n1\r\na\r\n0\r\n\r\n",
        Passed(&["transfer-encoding: chunked\r\n"], "content-length"),
    ),
    (
        "a coding with an underscore",
        "Transfer_Encoding: chunked\r\nContent-Length: 1\r\n\r\na",
        Passed(&["content-length: 1\r\n"], "transfer_encoding"),
    ),
    (
        "a length with an underscore in its name",
        "Content_Length: 9\r\nContent-Length: 1\r\n\r\na",
        Passed(&["content-length: 1\r\n"], "content_length"),
    ),
    (
        "a name that only begins like a coding",
        "Transfer-Encodings: x\r\n\r\n",
        Passed(&["transfer-encodings: x\r\n"], ""),
    ),
    ("two hosts", "Host: b.test\r\n\r\n", Refused(400)),
    ("the same host twice", "Host: a.test\r\n\r\n", Refused(400)),
    (
        "Expect",
        "Content-Length: 1\r\nExpect: 100-continue\r\n\r\na",
        Passed(&["content-length: 1\r\n", "\r\n\r\na"], "expect"),
    ),
    (
        "an unknown expectation",
        "Content-Length: 1\r\nExpect: x\r\n\r\na",
        Passed(&["content-length: 1\r\n"], "expect"),
    ),
    (
        "Connection that names the host",
        "Connection: Host, Content-Length\r\nContent-Length: 1\r\n\r\na",
        Passed(&["content-length: 1\r\n", "host: "], ""),
    ),
    (
        "Connection that names who calls",
        "Connection: X-Forwarded-For, X-Real-IP, X-Forwarded-Proto, X-A\r\nX-A: 1\r\n\r\n",
        Passed(
            &[
                "x-forwarded-for: 127.0.0.1\r\n",
                "x-real-ip: 127.0.0.1\r\n",
                "x-forwarded-proto: http\r\n",
            ],
            "x-a: 1",
        ),
    ),
    (
        "Connection: close",
        "Connection: close\r\n\r\n",
        Last(&["POST / HTTP/1.1\r\n"], "connection: close"),
    ),
    (
        "an offer of HTTP/2",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        Passed(&["POST / HTTP/1.1\r\n"], "h2c"),
    ),
    (
        "settings of HTTP/2 that no Connection names",
        "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        Passed(&["POST / HTTP/1.1\r\n"], "upgrade: "),
    ),
    (
        "TE",
        "TE: trailers, deflate;q=0.5\r\nConnection: TE\r\n\r\n",
        Passed(&["te: trailers\r\n"], "deflate"),
    ),
    (
        "a method to be taken instead",
        "X-HTTP-Method-Override: DELETE\r\n\r\n",
        Passed(&["POST / HTTP/1.1\r\n"], "DELETE /"),
    ),
];

/// Whole heads.
const HEADS: &[(&str, &str, Fate)] = &[
    ("no host", "GET / HTTP/1.1\r\n\r\n", Refused(400)),
    ("an empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", Refused(400)),
    (
        "a host of spaces",
        "GET / HTTP/1.1\r\nHost:  \r\n\r\n",
        Refused(400),
    ),
    (
        "a host with a user",
        "GET / HTTP/1.1\r\nHost: u@a.test\r\n\r\n",
        Refused(400),
    ),
    (
        "a host with a path",
        "GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n",
        Refused(400),
    ),
    (
        "a host with a query",
        "GET / HTTP/1.1\r\nHost: a.test?x\r\n\r\n",
        Refused(400),
    ),
    (
        "a host with a comma",
        "GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n",
        Refused(400),
    ),
    (
        "a host with a space",
        "GET / HTTP/1.1\r\nHost: a.test b.test\r\n\r\n",
        Refused(400),
    ),
    (
        "a host with a backslash",
        "GET / HTTP/1.1\r\nHost: a.test\\b\r\n\r\n",
        Refused(400),
    ),
    (
        "a host with a scheme",
        "GET / HTTP/1.1\r\nHost: http://a.test\r\n\r\n",
        Refused(400),
    ),
    (
        "a host with two ports",
        "GET / HTTP/1.1\r\nHost: a.test:1:2\r\n\r\n",
        Refused(400),
    ),
    (
        "a host with too high a port",
        "GET / HTTP/1.1\r\nHost: a.test:65536\r\n\r\n",
        Refused(400),
    ),
    (
        "a host with a named port",
        "GET / HTTP/1.1\r\nHost: a.test:x\r\n\r\n",
        Refused(400),
    ),
    (
        "a host with no port behind its colon",
        "GET / HTTP/1.1\r\nHost: a.test:\r\n\r\n",
        Refused(400),
    ),
    (
        "an open bracket",
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        Refused(400),
    ),
    (
        "a folded host",
        "GET / HTTP/1.1\r\nHost:\r\n a.test\r\n\r\n",
        Refused(400),
    ),
    (
        "a space before the first header",
        "GET / HTTP/1.1\r\n Host: a.test\r\n\r\n",
        Refused(400),
    ),
    (
        "an absolute target against the host",
        "GET http://b.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        Passed(&["x-forwarded-host: b.test\r\n"], "evil"),
    ),
    (
        "an absolute target and two hosts",
        "GET http://b.test/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding in HTTP/1.0",
        "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "HTTP/1.0",
        "GET / HTTP/1.0\r\n\r\n",
        Last(&["GET / HTTP/1.1\r\n"], ""),
    ),
    (
        "HTTP/1.0 that stays",
        "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n",
        Passed(&["GET / HTTP/1.1\r\n"], ""),
    ),
    (
        "Expect in HTTP/1.0",
        "POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\na",
        Last(&["content-length: 1\r\n"], "expect"),
    ),
    (
        "a body of GET",
        "GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 38\r\n\r\nGET /inside HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Passed(&["content-length: 38\r\n"], ""),
    ),
    (
        "a response",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        Refused(400),
    ),
    ("TLS", "\x16\x03\x01\x02\r\n\r\n", Refused(400)),
    ("nothing but line ends", "\r\n\r\n\r\n\r\n", Refused(400)),
];

#[tokio::test]
async fn request_lines() {
    let bench = Bench::start().await;
    let rows = LINES
        .iter()
        .map(|(name, line, fate)| (*name, format!("{line}{H}\r\n").into_bytes(), *fate));
    bench.check(rows).await;
}

#[tokio::test]
async fn headers() {
    let bench = Bench::start().await;
    let row = |headers: &str| format!("POST / HTTP/1.1\r\n{H}{headers}").into_bytes();
    bench
        .check(
            HEADERS
                .iter()
                .map(|(name, headers, fate)| (*name, row(headers), *fate)),
        )
        .await;
}

#[tokio::test]
async fn heads() {
    let bench = Bench::start().await;
    bench
        .check(
            HEADS
                .iter()
                .map(|(name, head, fate)| (*name, head.as_bytes().to_vec(), *fate)),
        )
        .await;
}
