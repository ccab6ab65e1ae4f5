//! Host patterns and the index over them.

use super::{Authority, HostError, HostPattern};

#[test]
fn patterns_are_written_in_one_form() {
    let cases = [
        ("example.com", "example.com"),
        ("Example.COM.", "example.com"),
        ("example.com:8443", "example.com:8443"),
        ("*.Example.com", "*.example.com"),
        ("*.example.com:80", "*.example.com:80"),
        ("example.*", "example.*"),
        ("example.*:80", "example.*:80"),
        ("*", "*"),
        ("*:80", "*:80"),
        ("10.0.0.1", "10.0.0.1"),
        ("my_host-1", "my_host-1"),
        ("::1", "[::1]"),
        ("[::1]", "[::1]"),
        ("[0:0::1]:80", "[::1]:80"),
        ("2001:DB8::1", "[2001:db8::1]"),
    ];
    for (text, canonical) in cases {
        let pattern: HostPattern = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(pattern.to_string(), canonical, "{text}");
        assert_eq!(canonical.parse(), Ok(pattern), "{text}");
    }
}

#[test]
fn mistakes_are_named() {
    let text = Box::<str>::from;
    let cases = [
        ("", HostError::Empty { text: text("") }),
        (".", HostError::Empty { text: text(".") }),
        (":80", HostError::Empty { text: text(":80") }),
        ("*.", HostError::Wildcard { text: text("*.") }),
        ("a.com:", HostError::Port { text: text("a.com:") }),
        (
            "a.com:0",
            HostError::Port {
                text: text("a.com:0"),
            },
        ),
        (
            "a.com:65536",
            HostError::Port {
                text: text("a.com:65536"),
            },
        ),
        (
            "a.com:+1",
            HostError::Port {
                text: text("a.com:+1"),
            },
        ),
        (
            "a.*.com",
            HostError::Wildcard {
                text: text("a.*.com"),
            },
        ),
        ("*a.com", HostError::Wildcard { text: text("*a.com") }),
        ("a*", HostError::Wildcard { text: text("a*") }),
        ("*.a.*", HostError::Wildcard { text: text("*.a.*") }),
        (
            "a b",
            HostError::Character {
                text: text("a b"),
                found: ' ',
            },
        ),
        (
            "http://a",
            HostError::Port {
                text: text("http://a"),
            },
        ),
        (
            "a/b",
            HostError::Character {
                text: text("a/b"),
                found: '/',
            },
        ),
        (
            "me@a.com",
            HostError::Character {
                text: text("me@a.com"),
                found: '@',
            },
        ),
        ("[::1", HostError::Address { text: text("[::1") }),
        ("[::g]", HostError::Address { text: text("[::g]") }),
        (
            "[::1]80",
            HostError::Address {
                text: text("[::1]80"),
            },
        ),
        (
            "[::1]:x",
            HostError::Port {
                text: text("[::1]:x"),
            },
        ),
    ];
    for (pattern, error) in cases {
        assert_eq!(pattern.parse::<HostPattern>(), Err(error), "{pattern}");
    }
    let long = "a".repeat(300);
    assert_eq!(
        long.parse::<HostPattern>(),
        Err(HostError::TooLong { length: 300 })
    );
}

#[test]
fn a_request_names_its_host_in_many_ways() {
    let cases = [
        ("a.com", Some(("a.com", None))),
        ("A.Com.", Some(("a.com", None))),
        ("a.com:80", Some(("a.com", Some(80)))),
        ("a.com.:80", Some(("a.com", Some(80)))),
        ("a.com:", Some(("a.com", None))),
        (".a.com", Some((".a.com", None))),
        ("[::1]", Some(("[::1]", None))),
        ("[0::0:1]:8080", Some(("[::1]", Some(8080)))),
        ("::1", Some(("[::1]", None))),
        ("2001:DB8::1", Some(("[2001:db8::1]", None))),
        ("", None),
        (":80", None),
        (".", None),
        ("me@a.com", None),
        ("a.com:x", None),
        ("a.com:99999", None),
        ("a:b:80", None),
        ("[::1", None),
        ("[::1]x", None),
        ("[a.com]", None),
    ];
    for (raw, expected) in cases {
        let parsed = Authority::parse(raw);
        let got = parsed
            .as_ref()
            .map(|host| (std::str::from_utf8(host.name()).unwrap(), host.explicit_port));
        assert_eq!(got, expected, "{raw:?}");
    }
}

#[test]
fn names_match_by_kind() {
    let cases = [
        ("a.com", "A.com", true),
        ("a.com", "b.a.com", false),
        ("*.a.com", "b.a.com", true),
        ("*.a.com", "c.b.a.com", true),
        ("*.a.com", ".a.com", true),
        ("*.a.com", "a.com", false),
        ("*.a.com", "xa.com", false),
        ("a.*", "a.co.uk", true),
        ("a.*", "a.", false),
        ("a.*", "a", false),
        ("a.*", "aa.com", false),
        ("*", "a", true),
        ("*", "", false),
    ];
    for (pattern, name, matches) in cases {
        assert_eq!(
            pattern
                .parse::<HostPattern>()
                .unwrap()
                .matches_bytes(name.to_ascii_lowercase().as_bytes()),
            matches,
            "{pattern} {name}"
        );
    }
}

#[test]
fn patterns_cover_and_meet_others() {
    // Whether the first covers the second, whether the second covers the first, whether they meet.
    let cases = [
        ("a.com", "a.com", true, true, true),
        ("a.com", "b.com", false, false, false),
        ("a.com", "a.com:80", true, false, true),
        ("a.com:81", "a.com:80", false, false, false),
        ("*.a.com", "b.a.com", true, false, true),
        ("*.a.com", "a.com", false, false, false),
        ("*.com", "*.a.com", true, false, true),
        ("*.com:80", "*.a.com", false, false, true),
        ("*.com", "*.org", false, false, false),
        ("a.*", "a.b.*", true, false, true),
        ("a.*", "a.com", true, false, true),
        ("a.*", "*.com", false, false, true),
        ("*", "*.com", true, false, true),
        ("*", "a.*", true, false, true),
        ("*:80", "*", false, true, true),
    ];
    for (one, other, forth, back, both) in cases {
        let [first, second] = [one, other].map(|text| text.parse::<HostPattern>().unwrap());
        let covers = (first.covers(&second), second.covers(&first));
        assert_eq!(covers, (forth, back), "{one}; {other}");
        assert_eq!(
            (first.meets(&second), second.meets(&first)),
            (both, both),
            "{one}; {other}"
        );
    }
}
