//! The formats: what a string must look like, and how to say that it does not.

use std::net::IpAddr;

/// A format of this crate: its name in a schema, the check, and what to say of a string that fails it.
pub(crate) struct Format {
    pub(crate) name: &'static str,
    pub(crate) accepts: fn(&str) -> bool,
    pub(crate) complaint: fn(&str) -> String,
}

/// The formats beside those of JSON Schema itself (`date-time`, `email`, `ipv4`, `uri`, ...).
pub(crate) const FORMATS: [Format; 6] = [
    Format {
        name: "uuid",
        accepts: is_uuid,
        complaint: |_| "expected a valid UUID".to_owned(),
    },
    Format {
        name: "hostname-or-ip",
        accepts: is_hostname_or_ip,
        complaint: hostname_complaint,
    },
    Format {
        name: "host-or-socket",
        accepts: |text| is_hostname_or_ip(text) || is_socket(text),
        complaint: |text| match text.starts_with("unix:") {
            true => format!(
                "invalid unix socket: {text}; expected unix: and an absolute path of at most 107 bytes"
            ),
            false => hostname_complaint(text),
        },
    },
    Format {
        name: "cidr",
        accepts: is_address_or_cidr,
        complaint: |text| format!("invalid ip or cidr range: '{text}'"),
    },
    Format {
        name: "regex",
        accepts: is_regex,
        complaint: regex_complaint,
    },
    Format {
        name: "header-name",
        accepts: is_header_name,
        complaint: header_complaint,
    },
];

/// What to say of a string that does not have the named format.
pub(crate) fn complaint(name: &str, text: &str) -> String {
    match FORMATS.iter().find(|format| format.name == name) {
        Some(format) => (format.complaint)(text),
        None => format!("expected a valid {name}"),
    }
}

fn is_uuid(text: &str) -> bool {
    let dashed = [8, 13, 18, 23];
    text.len() == 36
        && text.bytes().enumerate().all(|(i, byte)| {
            if dashed.contains(&i) {
                byte == b'-'
            } else {
                byte.is_ascii_hexdigit()
            }
        })
}

/// A host name (underscores are common in container names, so they are let through), an IPv4 address, or an IPv6
/// address with or without brackets; never with a port.
fn is_hostname_or_ip(text: &str) -> bool {
    if bare_address(text).parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // Four numbers are an address that failed to parse, not a name: `256.1.1.1`.
    let is_name = name
        .split('.')
        .next_back()
        .is_some_and(|last| !last.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && name.split('.').all(is_label) && (is_name || !name.contains('.'))
}

/// Whether a text is `unix:` and a path that a socket can have: absolute, no longer than the system takes, without characters
/// that only controls have. A colon would end it where a path of requests may follow.
#[must_use]
pub fn is_socket(text: &str) -> bool {
    const LONGEST: usize = 107;
    let path = text.strip_prefix("unix:");
    path.is_some_and(|path| {
        path.starts_with('/')
            && !path.ends_with('/')
            && path.len() <= LONGEST
            && !path.chars().any(|c| c.is_control() || c == ':')
    })
}

fn hostname_complaint(text: &str) -> String {
    let with_port = text.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok()
            && is_hostname_or_ip(host)
            && (!host.contains(':') || host.starts_with('['))
    });
    if with_port {
        "must not have a port".to_owned()
    } else {
        format!("invalid value: {text}")
    }
}

/// An address, or a network as `10.0.0.0/8`.
fn is_address_or_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return text.parse::<IpAddr>().is_ok();
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return false;
    };
    let is_plain = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    is_plain
        && length
            .parse::<u8>()
            .is_ok_and(|bits| bits <= if address.is_ipv4() { 32 } else { 128 })
}

fn is_regex(text: &str) -> bool {
    regex::Regex::new(text).is_ok()
}

fn regex_complaint(text: &str) -> String {
    let reason = regex::Regex::new(text)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    // The last line says what is wrong; those before draw where.
    let reason = reason
        .lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    format!("not a valid regex: {text} ({reason})")
}

/// A token of RFC 9110.
fn is_header_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn header_complaint(text: &str) -> String {
    format!("bad header name '{text}', allowed characters are A-Z, a-z, 0-9, '_', and '-'")
}

fn bare_address(text: &str) -> &str {
    text.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .filter(|rest| rest.contains(':'))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, good: &[&str], bad: &[&str]) {
        let format = FORMATS.iter().find(|format| format.name == name).unwrap();
        for text in good {
            assert!((format.accepts)(text), "{name} takes {text:?}");
        }
        for text in bad {
            assert!(!(format.accepts)(text), "{name} refuses {text:?}");
        }
    }

    #[test]
    fn uuids() {
        check(
            "uuid",
            &[
                "8c2c6b5e-1f0a-4c55-9f6e-0d9a3d3b7e11",
                "8C2C6B5E-1F0A-4C55-9F6E-0D9A3D3B7E11",
            ],
            &[
                "",
                "8c2c6b5e1f0a4c559f6e0d9a3d3b7e11",
                "8c2c6b5e-1f0a-4c55-9f6e-0d9a3d3b7e1",
                "8c2c6b5e-1f0a-4c55-9f6e-0d9a3d3b7e1g",
            ],
        );
    }

    #[test]
    fn hosts() {
        let long = "a".repeat(64);
        check(
            "hostname-or-ip",
            &[
                "localhost",
                "api.example.com",
                "example.com.",
                "my_service",
                "127.0.0.1",
                "::1",
                "[::1]",
                "1password.com",
                "7",
            ],
            &[
                "",
                ".",
                "a..b",
                "-a.b",
                "a-.b",
                "a b",
                "a:80",
                "256.1.1.1",
                "[::1]:80",
                "[127.0.0.1]",
                "http://a",
                "a/b",
                &long,
            ],
        );
        assert_eq!(
            complaint("hostname-or-ip", "localhost:80"),
            "must not have a port"
        );
        assert_eq!(complaint("hostname-or-ip", "[::1]:80"), "must not have a port");
        assert_eq!(complaint("hostname-or-ip", "a b"), "invalid value: a b");
    }

    #[test]
    fn sockets() {
        let longest = format!("unix:/{}", "a".repeat(106));
        let longer = format!("{longest}a");
        check(
            "host-or-socket",
            &[
                "localhost",
                "::1",
                "unix:/run/app.sock",
                "unix:/run/my app/s",
                &longest,
            ],
            &[
                "a:80",
                "unix:",
                "unix:/",
                "unix:run/app.sock",
                "unix:/run/",
                "unix:/a:b",
                "unix:/a\n",
                &longer,
            ],
        );
        assert_eq!(complaint("host-or-socket", "a:80"), "must not have a port");
        assert_eq!(
            complaint("host-or-socket", "unix:x"),
            "invalid unix socket: unix:x; expected unix: and an absolute path of at most 107 bytes"
        );
    }

    #[test]
    fn networks() {
        check(
            "cidr",
            &["10.0.0.0/8", "10.0.0.1", "fe80::/10", "::1", "0.0.0.0/0"],
            &[
                "",
                "10.0.0.0/33",
                "fe80::/129",
                "10.0.0.0/",
                "10.0.0.0/+8",
                "10.0/8",
                "a/8",
            ],
        );
        assert_eq!(
            complaint("cidr", "10.0.0.0/33"),
            "invalid ip or cidr range: '10.0.0.0/33'"
        );
    }

    #[test]
    fn regexes() {
        check("regex", &["", "^/a(?<id>[0-9]+)$"], &["(", "a{2,1}", "[z-a]"]);
        assert_eq!(complaint("regex", "("), "not a valid regex: ( (unclosed group)");
    }

    #[test]
    fn header_names() {
        check(
            "header-name",
            &["x-env", "apikey", "X_Y.z"],
            &["", "a b", "a:", "é"],
        );
    }

    #[test]
    fn formats_of_json_schema_are_named() {
        assert_eq!(complaint("date-time", "now"), "expected a valid date-time");
    }
}
