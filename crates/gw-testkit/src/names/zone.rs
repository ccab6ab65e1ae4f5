//! What a name server knows, and its messages on the wire (RFC 1035).

use std::collections::HashMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::Trouble;

/// The names of a server.
#[derive(Debug, Default)]
pub(super) struct Zone {
    entries: HashMap<String, Entry>,
    /// What names have that are not among them.
    others: Option<Entry>,
}

#[derive(Debug)]
enum Entry {
    Records { ttl: u32, list: Vec<Record> },
    Trouble(Trouble),
}

#[derive(Clone, Debug)]
enum Record {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(String),
    Srv([u16; 3], String),
}

/// What a message asks.
#[derive(Debug)]
pub(super) struct Question {
    id: [u8; 2],
    name: String,
    kind: u16,
    /// As it came, to be repeated in the answer.
    section: Vec<u8>,
}

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const INTERNET: u16 = 1;

/// Bound: aliases that one answer follows.
const ALIASES: usize = 8;

const NO_ERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

impl Zone {
    pub(super) fn set(&mut self, name: &str, ttl: u32, records: &[&str]) {
        self.entries.insert(name.to_owned(), Entry::parse(ttl, records));
    }

    pub(super) fn set_all(&mut self, ttl: u32, records: &[&str]) {
        self.others = Some(Entry::parse(ttl, records));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.entries.remove(name);
    }

    pub(super) fn fail(&mut self, name: &str, trouble: Trouble) {
        self.entries.insert(name.to_owned(), Entry::Trouble(trouble));
    }

    pub(super) fn answer(&self, question: &Question) -> Option<Vec<u8>> {
        let (mut records, mut name) = (Vec::new(), question.name.clone());
        for _ in 0..ALIASES {
            let (ttl, list) = match self.entries.get(&name).or(self.others.as_ref()) {
                Some(Entry::Records { ttl, list }) => (*ttl, list),
                Some(Entry::Trouble(Trouble::Silence)) => return None,
                Some(Entry::Trouble(Trouble::ServFail)) => return Some(question.reply(SERVFAIL, &[])),
                None => return Some(question.reply(NXDOMAIN, &records)),
            };
            let alias = list.iter().find_map(|record| match record {
                Record::Cname(target) if question.kind != CNAME => Some(target.clone()),
                _ => None,
            });
            let wanted = list
                .iter()
                .filter(|record| alias.is_some() || record.kind() == question.kind);
            records.extend(wanted.map(|record| (name.clone(), ttl, record.clone())));
            match alias {
                Some(target) => name = target,
                None => break,
            }
        }
        Some(question.reply(NO_ERROR, &records))
    }
}

impl Entry {
    fn parse(ttl: u32, records: &[&str]) -> Self {
        let list = records.iter().map(|text| Record::parse(text)).collect();
        Self::Records { ttl, list }
    }
}

impl Record {
    fn parse(text: &str) -> Self {
        let words: Vec<&str> = text.split(' ').collect();
        let number = |word: &str| {
            word.parse::<u16>()
                .unwrap_or_else(|_| panic!("bad number in `{text}`"))
        };
        match *words {
            ["A", address] => Self::A(
                address
                    .parse()
                    .unwrap_or_else(|_| panic!("bad address in `{text}`")),
            ),
            ["AAAA", address] => Self::Aaaa(
                address
                    .parse()
                    .unwrap_or_else(|_| panic!("bad address in `{text}`")),
            ),
            ["CNAME", target] => Self::Cname(target.to_owned()),
            ["SRV", priority, weight, port, host] => {
                Self::Srv([priority, weight, port].map(number), host.to_owned())
            }
            _ => panic!("no such record: `{text}`"),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::A(_) => A,
            Self::Aaaa(_) => AAAA,
            Self::Cname(_) => CNAME,
            Self::Srv(..) => SRV,
        }
    }

    fn data(&self) -> Vec<u8> {
        match self {
            Self::A(address) => address.octets().into(),
            Self::Aaaa(address) => address.octets().into(),
            Self::Cname(target) => encoded(target),
            Self::Srv(numbers, host) => {
                let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
                numbers.chain(encoded(host)).collect()
            }
        }
    }
}

impl Question {
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        const HEADER: usize = 12;
        let (mut name, mut at) = (Vec::new(), HEADER);
        loop {
            let length = usize::from(*message.get(at)?);
            let label = message.get(at + 1..at + 1 + length)?;
            at += 1 + length;
            if length == 0 {
                break;
            }
            name.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        }
        let &[high, low, _, _] = message.get(at..at + 4)? else {
            return None;
        };
        Some(Self {
            id: message.first_chunk().copied()?,
            name: name.join("."),
            kind: u16::from_be_bytes([high, low]),
            section: message.get(HEADER..at + 4)?.to_vec(),
        })
    }

    fn reply(&self, code: u8, records: &[(String, u32, Record)]) -> Vec<u8> {
        let count = u16::try_from(records.len()).expect("no test has so many records");
        let [high, low] = count.to_be_bytes();
        // An authoritative response to a query that may have wished for recursion.
        let mut reply = vec![self.id[0], self.id[1], 0x85, code, 0, 1, high, low, 0, 0, 0, 0];
        reply.extend(&self.section);
        for (name, ttl, record) in records {
            let data = record.data();
            let length = u16::try_from(data.len()).expect("names are short");
            reply.extend(encoded(name));
            reply.extend(record.kind().to_be_bytes());
            reply.extend(INTERNET.to_be_bytes());
            reply.extend(ttl.to_be_bytes());
            reply.extend(length.to_be_bytes());
            reply.extend(data);
        }
        reply
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            A => f.write_str("A")?,
            AAAA => f.write_str("AAAA")?,
            SRV => f.write_str("SRV")?,
            CNAME => f.write_str("CNAME")?,
            other => write!(f, "{other}")?,
        }
        write!(f, " {}", self.name)
    }
}

/// The beginning of an answer that says that there is more: it has no records.
pub(super) fn truncated(answer: &[u8]) -> Vec<u8> {
    const MORE: u8 = 0x02;
    let question = Question::parse(answer).expect("made here");
    let mut reply = question.reply(NO_ERROR, &[]);
    reply[2] |= MORE;
    reply
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).expect("labels are short"));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}
