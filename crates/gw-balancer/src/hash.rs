//! Hashes that are the same on every machine and in every version: tables of several gateways must agree.

/// CRC-32 as nginx, zip and Ethernet have it.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !Crc::new().update(bytes).0
}

/// A CRC-32 under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crc(u32);

impl Crc {
    pub(crate) fn new() -> Self {
        Self(u32::MAX)
    }

    pub(crate) fn update(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let state = words
            .iter()
            .fold(self, |state, word| state.word(u32::from_le_bytes(*word)));
        let byte = |crc: u32, byte: &u8| TABLES[0][usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
        Self(rest.iter().fold(state.0, byte))
    }

    /// Goes on with four bytes, the lowest first.
    pub(crate) fn word(self, word: u32) -> Self {
        let [a, b, c, d] = (self.0 ^ word).to_le_bytes().map(usize::from);
        Self(TABLES[3][a] ^ TABLES[2][b] ^ TABLES[1][c] ^ TABLES[0][d])
    }

    pub(crate) fn finish(self) -> u32 {
        !self.0
    }
}

/// What a byte does to the remainder, with none to three bytes of zeros after it.
static TABLES: [[u32; 256]; 4] = tables();

const fn tables() -> [[u32; 256]; 4] {
    let mut tables = [[0; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut after = 1;
    while after < 4 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[after - 1][byte];
            tables[after][byte] = (crc >> 8) ^ tables[0][(crc & 0xff) as usize];
            byte += 1;
        }
        after += 1;
    }
    tables
}

/// XXH64 with seed 0.
pub(crate) fn xxh64(bytes: &[u8]) -> u64 {
    let (stripes, rest) = bytes.as_chunks::<32>();
    let hash = if stripes.is_empty() { P5 } else { merged(stripes) };
    let hash = tail(hash.wrapping_add(bytes.len() as u64), rest);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(P2);
    let hash = (hash ^ (hash >> 29)).wrapping_mul(P3);
    hash ^ (hash >> 32)
}

fn merged(stripes: &[[u8; 32]]) -> u64 {
    let mut lanes = [P1.wrapping_add(P2), P2, 0, 0_u64.wrapping_sub(P1)];
    for stripe in stripes {
        let (words, _) = stripe.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }
    let [a, b, c, d] = lanes;
    let sum = a.rotate_left(1).wrapping_add(b.rotate_left(7));
    let sum = sum
        .wrapping_add(c.rotate_left(12))
        .wrapping_add(d.rotate_left(18));
    lanes.iter().fold(sum, |hash, lane| {
        (hash ^ round(0, *lane)).wrapping_mul(P1).wrapping_add(P4)
    })
}

fn tail(hash: u64, rest: &[u8]) -> u64 {
    let (words, rest) = rest.as_chunks::<8>();
    let hash = words.iter().fold(hash, |hash, word| {
        let mixed = hash ^ round(0, u64::from_le_bytes(*word));
        mixed.rotate_left(27).wrapping_mul(P1).wrapping_add(P4)
    });
    let (halves, rest) = rest.as_chunks::<4>();
    let hash = halves.iter().fold(hash, |hash, half| {
        let mixed = hash ^ u64::from(u32::from_le_bytes(*half)).wrapping_mul(P1);
        mixed.rotate_left(23).wrapping_mul(P2).wrapping_add(P3)
    });
    rest.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte).wrapping_mul(P5))
            .rotate_left(11)
            .wrapping_mul(P1)
    })
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(P2))
        .rotate_left(31)
        .wrapping_mul(P1)
}

const P1: u64 = 0x9e37_79b1_85eb_ca87;
const P2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const P3: u64 = 0x1656_67b1_9e37_79f9;
const P4: u64 = 0x85eb_ca77_c2b2_ae63;
const P5: u64 = 0x27d4_eb2f_1656_67c5;

/// Stirs a number so that each of its bits changes about half of the result's (SplitMix64's last step).
pub(crate) fn mix(number: u64) -> u64 {
    let z = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_is_the_published_one() {
        for (bytes, expected) in [(&b""[..], 0), (b"123456789", 0xcbf4_3926), (b"a", 0xe8b7_be43)] {
            assert_eq!(crc32(bytes), expected, "{bytes:?}");
        }
        assert_eq!(Crc::new().update(b"12").update(b"3456789").finish(), 0xcbf4_3926);
    }

    #[test]
    fn xxh64_is_the_published_one() {
        // From the reference implementation's documentation and test vectors.
        for (text, expected) in [
            ("", 0xef46_db37_51d8_e999),
            ("a", 0xd24e_c4f1_a98c_6e5b),
            ("abc", 0x44bc_2cf5_ad77_0999),
            ("xxhash", 0x32dd_38952c4bc720),
            ("Nobody inspects the spammish repetition", 0xfbce_a83c_8a37_8bf1),
        ] {
            assert_eq!(xxh64(text.as_bytes()), expected, "{text}");
        }
    }
}
