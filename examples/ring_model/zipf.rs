//! The distribution of requested keys.

/// Draws the n-th key with a probability proportional to `1 / n^exponent`.
///
/// Uses rejection-inversion (Hörmann and Derflinger, "Rejection-inversion to generate variates from monotone discrete
/// distributions", 1996), which needs no table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zipf {
    keys: f64,
    exponent: f64,
    begin: f64,
    end: f64,
    /// The distance from an integer within which a draw is accepted without evaluating the curve.
    safe: f64,
}

impl Zipf {
    /// A distribution over `keys` keys, at least one, with a non-negative exponent.
    pub(crate) fn new(keys: u64, exponent: f64) -> Self {
        let keys = keys.max(1) as f64;
        let mut zipf = Self { keys, exponent, begin: 0.0, end: 0.0, safe: 0.0 };
        zipf.begin = zipf.area(1.5) - 1.0;
        zipf.end = zipf.area(keys + 0.5);
        zipf.safe = 2.0 - zipf.inverse(zipf.area(2.5) - zipf.height(2.0));
        zipf
    }

    /// Returns the next key; 0 is the most popular.
    pub(crate) fn draw(&self, random: &mut Random) -> u64 {
        loop {
            let area = self.end + random.unit() * (self.begin - self.end);
            let at = self.inverse(area);
            let rank = (at + 0.5).floor().clamp(1.0, self.keys);
            if rank - at <= self.safe || area >= self.area(rank + 0.5) - self.height(rank) {
                return whole(rank) - 1;
            }
        }
    }

    /// Returns the weight of the key with this rank; rank 1 is the most popular.
    pub(crate) fn height(&self, rank: f64) -> f64 {
        rank.powf(-self.exponent)
    }

    /// The integral of the weights.
    fn area(&self, at: f64) -> f64 {
        let logarithm = at.ln();
        expm1_over((1.0 - self.exponent) * logarithm) * logarithm
    }

    fn inverse(&self, area: f64) -> f64 {
        let at = (area * (1.0 - self.exponent)).max(-1.0);
        (ln1p_over(at) * area).exp()
    }
}

/// `(e^x - 1) / x`, accurate near 0.
fn expm1_over(at: f64) -> f64 {
    if at.abs() > 1e-8 { at.exp_m1() / at } else { 1.0 + at / 2.0 }
}

/// `ln(1 + x) / x`, accurate near 0.
fn ln1p_over(at: f64) -> f64 {
    if at.abs() > 1e-8 { at.ln_1p() / at } else { 1.0 - at / 2.0 }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank fits into u64")]
fn whole(rank: f64) -> u64 {
    rank as u64
}

/// A generator with the same numbers in every run (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequency_of_keys_matches_their_rank() {
        for exponent in [0.0, 0.7, 1.0, 1.3] {
            let zipf = Zipf::new(50, exponent);
            let mut random = Random(3);
            let mut drawn = [0_u32; 50];
            for _ in 0..200_000 {
                drawn[usize::try_from(zipf.draw(&mut random)).unwrap()] += 1;
            }
            let weights: Vec<f64> = (1..=50).map(|rank| f64::from(rank).powf(-exponent)).collect();
            let total: f64 = weights.iter().sum();
            for (rank, (has, weight)) in drawn.iter().zip(&weights).enumerate() {
                let expected = weight / total * 200_000.0;
                let error = (f64::from(*has) - expected).abs();
                assert!(error < 5.0 * expected.sqrt(), "{exponent}, rank {rank}: {has} of {expected}");
            }
        }
    }

    #[test]
    fn only_key_is_always_drawn() {
        assert_eq!(Zipf::new(1, 1.0).draw(&mut Random(1)), 0);
    }
}
