//! Addresses of clients: one address or a CIDR block, and sets of them.

use std::{cmp::Reverse, fmt, net::IpAddr, str::FromStr};

/// An IPv4 or IPv6 address, or a CIDR block of them.
///
/// Host bits are masked. An IPv4 address inside IPv6 (`::ffff:10.0.0.1`) is that IPv4 address, here and in requests.
/// `0.0.0.0/0` is every IPv4 address and no other; `::/0` likewise.
///
/// ```
/// use gw_router::Cidr;
///
/// let block: Cidr = "10.1.2.3/8".parse()?;
/// assert_eq!(block.to_string(), "10.0.0.0/8");
/// assert!(block.contains("::ffff:10.9.9.9".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// Invariant: canonical, and the bits behind the prefix are 0.
    network: IpAddr,
    prefix: u8,
}

/// Why a text is not a [`Cidr`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidrError {
    /// It is something else.
    #[error(
        "remote address `{text}` is neither an address nor a CIDR; write it as `10.0.0.0/8` or `fe80::/10`"
    )]
    NotAnAddress {
        /// The text.
        text: Box<str>,
    },
    /// What follows the slash is not a number of bits, or there are not as many.
    #[error(
        "remote address `{text}` has a prefix that is not a number from 0 to {limit}; correct or drop it"
    )]
    Prefix {
        /// The text.
        text: Box<str>,
        /// The number of bits in an address of this family.
        limit: u8,
    },
}

/// Many addresses and blocks, asked at once which of them an address is in.
///
/// A question costs a binary search for every prefix length that occurs, however many blocks there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CidrSet {
    /// Longest prefix first, then by network; none twice.
    blocks: Box<[Cidr]>,
}

impl Cidr {
    /// Whether an address is this one, or in this block.
    pub fn contains(&self, address: IpAddr) -> bool {
        mask(address.to_canonical(), self.prefix) == Some(self.network)
    }

    /// Whether all addresses of another block are in this one.
    pub(crate) fn covers(&self, other: Self) -> bool {
        self.prefix <= other.prefix && mask(other.network, self.prefix) == Some(self.network)
    }

    /// The first address of the block.
    pub fn network(&self) -> IpAddr {
        self.network
    }

    /// The number of bits that all addresses of the block share.
    pub fn prefix_len(&self) -> u8 {
        self.prefix
    }
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Self {
        let network = address.to_canonical();
        Self {
            network,
            prefix: width(network),
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| CidrError::NotAnAddress { text: text.into() })?;
        let Some(prefix) = prefix else {
            return Ok(address.into());
        };
        let limit = width(address);
        let wrong = || CidrError::Prefix {
            text: text.into(),
            limit,
        };
        let prefix = parse_prefix(prefix).ok_or_else(wrong)?;
        let canonical = address.to_canonical();
        // A block of IPv4 inside IPv6 that is wider than all of IPv4 is left as it is written.
        let inside = prefix.checked_sub(limit - width(canonical));
        let (address, prefix) = inside.map_or((address, prefix), |inside| (canonical, inside));
        let network = mask(address, prefix).ok_or_else(wrong)?;
        Ok(Self { network, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == width(self.network) {
            write!(f, "{}", self.network)
        } else {
            write!(f, "{}/{}", self.network, self.prefix)
        }
    }
}

impl CidrSet {
    /// Whether any block contains this address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.longest_match(address).is_some()
    }

    /// The narrowest block that contains this address.
    pub fn longest_match(&self, address: IpAddr) -> Option<Cidr> {
        let address = address.to_canonical();
        let mut rest = &*self.blocks;
        while let Some(Cidr { prefix, .. }) = rest.first() {
            let end = rest.partition_point(|block| block.prefix == *prefix);
            let (same, shorter) = rest.split_at(end);
            if let Some(network) = mask(address, *prefix)
                && let Ok(at) = same.binary_search_by_key(&network, |block| block.network)
            {
                return same.get(at).copied();
            }
            rest = shorter;
        }
        None
    }

    /// The blocks, the narrowest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Cidr> {
        self.blocks.iter().copied()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

impl FromIterator<Cidr> for CidrSet {
    fn from_iter<I: IntoIterator<Item = Cidr>>(blocks: I) -> Self {
        let mut blocks: Vec<Cidr> = blocks.into_iter().collect();
        blocks.sort_unstable_by_key(|block| (Reverse(block.prefix), block.network));
        blocks.dedup();
        Self {
            blocks: blocks.into(),
        }
    }
}

/// The number of bits in an address of this family.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with all bits behind the prefix cleared; `None` where it has fewer bits than that.
fn mask(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    let behind = u32::from(width(address).checked_sub(prefix)?);
    Some(match address {
        IpAddr::V4(address) => {
            let bits = u32::MAX.checked_shl(behind).unwrap_or(0);
            IpAddr::V4((address.to_bits() & bits).into())
        }
        IpAddr::V6(address) => {
            let bits = u128::MAX.checked_shl(behind).unwrap_or(0);
            IpAddr::V6((address.to_bits() & bits).into())
        }
    })
}

/// Plain decimal digits: no sign, and no leading zero, which some read as octal.
fn parse_prefix(text: &str) -> Option<u8> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::{Cidr, CidrError, CidrSet};

    #[test]
    fn texts_take_one_form() {
        let cases = [
            ("127.0.0.1", "127.0.0.1", 32),
            ("127.0.0.1/32", "127.0.0.1", 32),
            ("10.1.2.3/8", "10.0.0.0/8", 8),
            ("10.1.2.255/25", "10.1.2.128/25", 25),
            ("1.2.3.4/0", "0.0.0.0/0", 0),
            ("::1", "::1", 128),
            ("fe80:fe80::1/64", "fe80:fe80::/64", 64),
            ("FE80::/10", "fe80::/10", 10),
            ("febf::1/10", "fe80::/10", 10),
            ("1::/0", "::/0", 0),
            ("::ffff:10.1.2.3", "10.1.2.3", 32),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8", 8),
            ("::ffff:10.1.2.3/96", "0.0.0.0/0", 0),
            ("::ffff:10.1.2.3/95", "::fffe:0:0/95", 95),
            ("::10.1.2.3", "::a01:203", 128),
        ];
        for (text, expected, prefix) in cases {
            let cidr: Cidr = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(cidr.to_string(), expected, "{text}");
            assert_eq!(cidr.prefix_len(), prefix, "{text}");
            assert_eq!(expected.parse(), Ok(cidr), "{text}: a second time");
        }
    }

    #[test]
    fn addresses_are_in_blocks_of_their_family() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.255.0.1", true),
            ("::ffff:10.0.0.0/104", "10.255.0.1", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "::1", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::ffff:255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("::/0", "1.2.3.4", false),
            ("::/0", "::ffff:1.2.3.4", false),
            ("fe80:fe80::/64", "fe80:fe80::1:2", true),
            ("fe80:fe80::/64", "fe80:fe81::1:2", false),
            ("::a01:203", "10.1.2.3", false),
        ];
        for (cidr, address, expected) in cases {
            let cidr: Cidr = cidr.parse().unwrap();
            assert_eq!(
                cidr.contains(address.parse().unwrap()),
                expected,
                "{cidr} {address}"
            );
        }
    }

    #[test]
    fn broken_texts_are_refused() {
        for text in [
            "",
            "localhost",
            "10.0.0",
            "010.0.0.1",
            "10.0.0.1 ",
            "[::1]",
            "fe80::1%eth0",
            "/8",
            "a/8",
        ] {
            let error = CidrError::NotAnAddress { text: text.into() };
            assert_eq!(text.parse::<Cidr>(), Err(error), "{text}");
        }
        for (text, limit) in [
            ("10.0.0.0/", 32),
            ("10.0.0.0/33", 32),
            ("10.0.0.0/08", 32),
            ("10.0.0.0/+8", 32),
            ("10.0.0.0/8/8", 32),
            ("10.0.0.0/256", 32),
            ("::/129", 128),
            ("::ffff:1.2.3.4/129", 128),
            ("::/-1", 128),
        ] {
            let error = CidrError::Prefix {
                text: text.into(),
                limit,
            };
            assert_eq!(text.parse::<Cidr>(), Err(error), "{text}");
        }
        let error = "x".parse::<Cidr>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "remote address `x` is neither an address nor a CIDR; write it as `10.0.0.0/8` or `fe80::/10`"
        );
        let error = "::/129".parse::<Cidr>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "remote address `::/129` has a prefix that is not a number from 0 to 128; correct or drop it"
        );
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        // Few bits, so that blocks nest and addresses hit them.
        let small = || (0_u8..4, 0_u8..4);
        prop_oneof![
            small().prop_map(|(one, two)| IpAddr::from([10, one, 0, two])),
            small().prop_map(|(one, two)| IpAddr::from([0xfe80, u16::from(one), 0, 0, 0, 0, 0, two.into()])),
            small().prop_map(|(one, two)| {
                let low = u16::from_be_bytes([0, two]);
                IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x0a00 | u16::from(one), low])
            }),
        ]
    }

    fn cidr() -> impl Strategy<Value = Cidr> {
        (address(), 0_u8..=128).prop_map(|(address, prefix)| {
            let limit = if address.is_ipv4() { 32 } else { 128 };
            format!("{address}/{}", prefix.min(limit)).parse().unwrap()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn a_set_answers_as_its_blocks(blocks in proptest::collection::vec(cidr(), 0..12), address in address()) {
            let set: CidrSet = blocks.iter().copied().collect();
            let naive = blocks.iter().filter(|block| block.contains(address)).max_by_key(|block| block.prefix_len());
            prop_assert_eq!(set.longest_match(address), naive.copied());
            prop_assert_eq!(set.contains(address), naive.is_some());
        }
    }
}
