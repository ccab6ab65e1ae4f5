//! A small seeded generator for choices that need chance, not secrecy.

/// A seeded generator of evenly spread numbers (SplitMix64). Not for secrets.
///
/// The caller owns it, one per worker, so that a pick shares no generator between cores and a test can repeat itself.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator that yields the same numbers for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, or 0 if the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        scale(self.next_u64(), bound)
    }
}

/// 2⁶⁴ divided by the golden ratio: its multiples fall evenly over the 64-bit range however many one takes.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Maps an even 64-bit number to an even number below `bound`.
pub(crate) fn scale(even: u64, bound: u64) -> u64 {
    // The high half of the product is below `bound`, so the cast loses nothing.
    ((u128::from(even) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_itself_for_the_same_seed_only() {
        let take = |seed| {
            let mut rng = Rng::seeded(seed);
            std::array::from_fn::<u64, 8, _>(|_| rng.next_u64())
        };
        assert_eq!(take(0), take(0));
        assert_ne!(take(0), take(1));
        // The published first output of SplitMix64 for seed 0.
        assert_eq!(take(0)[0], 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn below_stays_below_and_reaches_every_number() {
        let mut rng = Rng::seeded(1);
        let mut seen = [0_u32; 7];
        for _ in 0..7_000 {
            seen[rng.below(7) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
    }
}
