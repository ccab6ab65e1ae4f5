//! One look-up of one full name: aliases followed, types of records in order, services with their addresses.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::op::{DnsResponse, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType as Type};

use super::server::{Reply, Servers, Unanswered};
use super::{Answer, Records, Service};

/// What there is of one type of record.
enum Found {
    /// Where the aliases end, with the records there, for as many seconds; and what the server added.
    Records {
        list: Vec<RData>,
        ttl: u32,
        more: Vec<Record>,
    },
    NoData,
    NoName,
}

/// Bound: questions that one name may cost because of its aliases.
const ALIASES: usize = 8;
/// Bound: services that are taken of one name.
const SERVICES: usize = 256;

/// What a full name stands for, by the first of these types that it has; none if it has none.
pub(super) async fn lookup(
    servers: &Servers,
    name: &Name,
    order: &[Type],
) -> Result<Option<Answer>, Unanswered> {
    for &kind in order {
        match follow(servers, name, kind).await? {
            Found::NoName => return Ok(None),
            Found::NoData => {}
            Found::Records { list, ttl, more } if kind == Type::SRV => {
                if let Some(answer) = services(servers, &list, ttl, &more, order).await? {
                    return Ok(Some(answer));
                }
            }
            Found::Records { list, ttl, .. } => {
                let addresses = list.iter().filter_map(RData::ip_addr).collect();
                return Ok(Some(Answer::addresses(addresses, seconds(ttl))));
            }
        }
    }
    Ok(None)
}

/// The services with the addresses of their hosts, as the server added them or as it says when asked.
///
/// If one host cannot be looked up, neither can the name: what was known of it stays, and nothing is half known.
async fn services(
    servers: &Servers,
    list: &[RData],
    mut ttl: u32,
    more: &[Record],
    order: &[Type],
) -> Result<Option<Answer>, Unanswered> {
    let mut services = Vec::new();
    for record in list.iter().take(SERVICES) {
        let RData::SRV(record) = record else { continue };
        if record.target.is_root() {
            continue; // it says that there is no such service
        }
        let (addresses, holds) = match added(more, &record.target) {
            Some(added) => added,
            None => addresses(servers, &record.target, order).await?,
        };
        ttl = ttl.min(holds);
        services.extend(addresses.into_iter().map(|address| Service {
            priority: record.priority,
            address,
            port: record.port,
            weight: record.weight,
            host: record.target.to_ascii().trim_end_matches('.').into(),
        }));
    }
    let records = Records::Services(services);
    Ok((!records.is_empty()).then_some(Answer {
        records,
        ttl: seconds(ttl),
    }))
}

/// The IPv4 addresses that the server added, since it knew that they would be asked for.
fn added(more: &[Record], host: &Name) -> Option<(Vec<IpAddr>, u32)> {
    let own = |record: &&Record| record.name == *host && record.record_type() == Type::A;
    let ttl = more.iter().filter(own).map(|record| record.ttl).min()?;
    let addresses = more.iter().filter(own).filter_map(|record| record.data.ip_addr());
    Some((addresses.collect(), ttl))
}

async fn addresses(servers: &Servers, host: &Name, order: &[Type]) -> Result<(Vec<IpAddr>, u32), Unanswered> {
    for &kind in order.iter().filter(|&&kind| kind != Type::SRV) {
        match follow(servers, host, kind).await? {
            Found::Records { list, ttl, .. } => {
                return Ok((list.iter().filter_map(RData::ip_addr).collect(), ttl));
            }
            Found::NoData => {}
            Found::NoName => break,
        }
    }
    Ok((Vec::new(), u32::MAX))
}

/// The records of one type at the end of the name's aliases, valid for as long as all of them are.
async fn follow(servers: &Servers, name: &Name, kind: Type) -> Result<Found, Unanswered> {
    let mut name = name.clone();
    let mut ttl = u32::MAX;
    for _ in 0..ALIASES {
        let response = match servers.ask(&name, kind).await? {
            Reply::NoName => return Ok(Found::NoName),
            Reply::NoData => return Ok(Found::NoData),
            Reply::Answer(response) => response,
        };
        let asked = name.clone();
        let mut steps = 0;
        while let Some((next, holds)) = alias(&response, &name) {
            ttl = ttl.min(holds);
            name = next;
            steps += 1;
            // The circle may begin behind the name that was asked for.
            if name == asked || steps > response.answers.len() {
                return Err(circle(&name));
            }
        }
        let own = |record: &&Record| record.name == name && record.record_type() == kind;
        if let Some(holds) = response.answers.iter().filter(own).map(|record| record.ttl).min() {
            return Ok(Found::Records {
                list: response
                    .answers
                    .iter()
                    .filter(own)
                    .map(|record| record.data.clone())
                    .collect(),
                ttl: ttl.min(holds),
                more: response.additionals.clone(),
            });
        }
        if response.response_code == ResponseCode::NXDomain {
            return Ok(Found::NoName);
        }
        if name == asked {
            return Ok(Found::NoData);
        }
    }
    Err(circle(&name))
}

/// What the name is another name for.
fn alias(response: &DnsResponse, name: &Name) -> Option<(Name, u32)> {
    response.answers.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if record.name == *name => Some((target.0.clone(), record.ttl)),
        _ => None,
    })
}

fn circle(name: &Name) -> Unanswered {
    Unanswered::Refused(io::Error::other(format!("the aliases of `{name}` do not end")))
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}
