//! Where the points of a ring are, and the ring in their order.

use std::net::SocketAddr;

use super::Ring;
use crate::TargetIdx;
use crate::hash::Crc;
use crate::policy::Identity;

/// What a target's points begin with: the hash of its name, not yet finished.
pub(super) fn base(identity: Identity, name: &str) -> Crc {
    match identity {
        Identity::NginxText => nginx(name),
        Identity::SocketAddr => match name.parse::<SocketAddr>() {
            Ok(addr) => parted(
                addr.ip().to_string().as_bytes(),
                addr.port().to_string().as_bytes(),
            ),
            Err(_) => nginx(name),
        },
        Identity::Raw => Crc::new().update(name.as_bytes()),
    }
}

/// nginx goes back from the end over digits; a colon before them parts host and port. Brackets stay.
fn nginx(name: &str) -> Crc {
    if let Some((scheme, path)) = name.split_at_checked(5)
        && scheme.eq_ignore_ascii_case("unix:")
    {
        return parted(path.as_bytes(), b"");
    }
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (name, ""),
    };
    parted(host.as_bytes(), port.as_bytes())
}

fn parted(host: &[u8], port: &[u8]) -> Crc {
    Crc::new().update(host).update(&[0]).update(port)
}

/// A ring of so many points for each base.
pub(super) fn ring(sources: &[(TargetIdx, Crc, u64)], steps: usize) -> Ring {
    let count: u64 = sources.iter().map(|(_, _, points)| points).sum();
    // About two points share their first bits.
    let bits = (count / 2).max(1).ilog2().min(22);
    let shift = 32 - bits;
    let points = scattered(sources, bits, count as usize);

    let mut index: Vec<u32> = Vec::with_capacity((1 << bits) + 1);
    let mut kept: Vec<u64> = Vec::with_capacity(points.len());
    let mut last = None;
    for point in points {
        let (place, source) = ((point >> 32) as u32, point as u32);
        // Of those at one place the first remains.
        if last == Some(place) {
            continue;
        }
        last = Some(place);
        index.resize(
            index.len().max((u64::from(place) >> shift) as usize + 1),
            kept.len() as u32,
        );
        kept.push((u64::from(place) << 32) | u64::from(sources[source as usize].0.0));
    }
    index.resize((1 << bits) + 1, kept.len() as u32);
    Ring {
        points: kept.into(),
        index: index.into(),
        shift,
        steps,
    }
}

/// The points in order, each its place and below it the number of its source. Sorted by the first bits into heaps of a few,
/// then each heap: a third of the time of sorting them all.
fn scattered(sources: &[(TargetIdx, Crc, u64)], bits: u32, count: usize) -> Vec<u64> {
    let mut places: Vec<u32> = Vec::with_capacity(count);
    for (_, base, points) in sources {
        let mut last = 0;
        places.extend((0..*points).map(|_| {
            last = base.word(last).finish();
            last
        }));
    }
    let heap = |place: u32| (u64::from(place) >> (32 - bits)) as usize;
    // Where each heap ends, and while it is filled where its next point goes.
    let mut next = vec![0_u32; (1 << bits) + 1];
    for &place in &places {
        next[heap(place) + 1] += 1;
    }
    for i in 1..next.len() {
        next[i] += next[i - 1];
    }
    let ends: Vec<u32> = next[1..].to_vec();
    let mut points = vec![0; places.len()];
    let mut rest = places.as_slice();
    for (number, (_, _, own)) in (0_u64..).zip(sources) {
        let (these, others) = rest.split_at(*own as usize);
        rest = others;
        for &place in these {
            let next = &mut next[heap(place)];
            points[*next as usize] = (u64::from(place) << 32) | number;
            *next += 1;
        }
    }
    let mut start = 0;
    for end in ends {
        points[start..end as usize].sort_unstable();
        start = end as usize;
    }
    points
}
