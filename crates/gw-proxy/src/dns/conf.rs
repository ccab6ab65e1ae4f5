//! `resolv.conf`: which servers are asked, and under which names.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What a `resolv.conf` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conf {
    /// In the order they are asked.
    pub(super) servers: Vec<SocketAddr>,
    /// Domains that short names are looked for in.
    pub(super) search: Vec<Box<str>>,
    /// A name with so many dots is taken as it is first.
    pub(super) ndots: usize,
    /// How long one server may take.
    pub(super) timeout: Duration,
    /// How often all servers are gone through.
    pub(super) attempts: u32,
    /// Whether answers may be larger than 512 bytes over UDP.
    pub(super) edns0: bool,
}

/// The port of name servers.
pub(super) const PORT: u16 = 53;

impl Default for Conf {
    /// What holds without a file: the server is on this machine.
    fn default() -> Self {
        Self {
            servers: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))],
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            edns0: false,
        }
    }
}

impl Conf {
    /// Reads the text of a file. What it does not understand it skips, as the system does.
    pub(super) fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        let mut servers = Vec::new();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    servers.extend(address.map(|address| SocketAddr::new(address, PORT)));
                }
                // The last of these lines counts.
                Some("search" | "domain") => {
                    let domains = words.map(|domain| domain.trim_matches('.'));
                    conf.search = domains
                        .filter(|domain| !domain.is_empty())
                        .map(Into::into)
                        .collect();
                }
                Some("options") => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        if !servers.is_empty() {
            conf.servers = servers;
        }
        conf
    }

    /// With the bounds that the system has.
    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        let number = value.parse::<u32>();
        match (name, number) {
            ("ndots", Ok(number)) => self.ndots = number.min(15) as usize,
            ("timeout", Ok(number)) => self.timeout = Duration::from_secs(number.clamp(1, 30).into()),
            ("attempts", Ok(number)) => self.attempts = number.clamp(1, 5),
            ("edns0", _) => self.edns0 = true,
            _ => {}
        }
    }

    /// The full names that a name may stand for, the likeliest first.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let itself = format!("{name}.");
        let mut all: Vec<String> = self
            .search
            .iter()
            .map(|domain| format!("{name}.{domain}."))
            .collect();
        let dots = name.bytes().filter(|&byte| byte == b'.').count();
        if dots >= self.ndots {
            all.insert(0, itself);
        } else {
            all.push(itself);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_the_system_reads_it() {
        let conf = Conf::parse(
            "# a comment\nnameserver 10.0.0.1 ; and more\nnameserver fe80::1%eth0\nnameserver ::1\n\
             domain old.test\nsearch a.test. b.test\t.\noptions ndots:5 timeout:2 attempts:9 rotate edns0\n\
             options ndots:x\nsortlist 1.2.3.4\n",
        );
        let expected = Conf {
            servers: vec!["10.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()],
            search: vec!["a.test".into(), "b.test".into()],
            ndots: 5,
            timeout: Duration::from_secs(2),
            attempts: 5,
            edns0: true,
        };
        assert_eq!(conf, expected);
        assert_eq!(Conf::parse(""), Conf::default());
        let zeros = Conf::parse("options timeout:0 attempts:0 ndots:99");
        assert_eq!(
            (zeros.timeout, zeros.attempts, zeros.ndots),
            (Duration::from_secs(1), 1, 15)
        );
    }

    #[test]
    fn short_names_are_looked_for_in_the_domains_first_and_long_ones_last() {
        let conf = |text: &str| Conf::parse(text);
        for (text, name, expected) in [
            ("", "app", &["app."][..]),
            (
                "search a.test b.test",
                "app",
                &["app.a.test.", "app.b.test.", "app."],
            ),
            ("search a.test", "app.svc", &["app.svc.", "app.svc.a.test."]),
            (
                "search a.test\noptions ndots:2",
                "app.svc",
                &["app.svc.a.test.", "app.svc."],
            ),
            ("search a.test\noptions ndots:0", "app", &["app.", "app.a.test."]),
            ("search a.test", "app.", &["app."]),
        ] {
            assert_eq!(conf(text).candidates(name), expected, "{text} {name}");
        }
    }
}
