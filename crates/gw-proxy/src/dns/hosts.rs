//! A hosts file: names that no server is asked about.

use std::collections::HashMap;
use std::net::IpAddr;

/// The names of a hosts file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hosts(HashMap<Box<str>, Vec<IpAddr>>);

impl Hosts {
    /// Reads the text of a file: an address and its names a line, `#` begins a comment. What is no address is skipped.
    pub(super) fn parse(text: &str) -> Self {
        let mut hosts = Self::default();
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse) else {
                continue;
            };
            for name in words {
                hosts.0.entry(key(name)).or_default().push(address);
            }
        }
        hosts
    }

    /// The addresses of a name, if it is there: IPv4, or IPv6 where there is no IPv4.
    pub(super) fn find(&self, name: &str) -> Option<Vec<IpAddr>> {
        let all = self.0.get(&key(name))?;
        let v4: Vec<IpAddr> = all.iter().copied().filter(IpAddr::is_ipv4).collect();
        Some(if v4.is_empty() { all.clone() } else { v4 })
    }
}

fn key(name: &str) -> Box<str> {
    name.trim_end_matches('.').to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_as_the_system_finds_them() {
        let hosts = Hosts::parse(
            "\u{feff}127.0.0.1\tlocalhost here # there\n\
             \n# 10.0.0.9 no\n  10.0.0.1   App.Test app  \r\n10.0.0.2 app.test.\n::1 app.test six\n::2 six\n\
             10.0.0.300 bad\nnonsense\n10.0.0.3\n",
        );
        let found = |name: &str| -> Option<Vec<String>> {
            Some(hosts.find(name)?.iter().map(ToString::to_string).collect())
        };
        for (name, expected) in [
            ("localhost", Some(&["127.0.0.1"][..])),
            ("HERE", Some(&["127.0.0.1"])),
            ("there", None),
            ("app.test", Some(&["10.0.0.1", "10.0.0.2"])),
            ("app.test.", Some(&["10.0.0.1", "10.0.0.2"])),
            ("app", Some(&["10.0.0.1"])),
            ("six", Some(&["::1", "::2"])),
            ("no", None),
            ("bad", None),
            ("test", None),
        ] {
            let expected = expected.map(|list| list.iter().map(|&ip| ip.to_owned()).collect());
            assert_eq!(found(name), expected, "{name}");
        }
    }
}
