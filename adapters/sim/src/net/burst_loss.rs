//! Loss in bursts.

use steadfast::Time;

use crate::net::{Node, Packet, Verdict};
use crate::rng::Rng;

/// Loses datagrams in bursts: the model of Gilbert and Elliott (E. O. Elliott, "Estimates of error rates for codes on
/// burst-noise channels", 1963). The line is in a good or a bad state, each with a probability of loss of its own, and
/// after each datagram it changes with a probability that depends on where it is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BurstLoss {
    /// The probability of going from good to bad, after each datagram.
    pub to_bad: f64,
    /// The probability of going from bad to good, after each datagram.
    pub to_good: f64,
    /// The probability of loss in the good state.
    pub good_loss: f64,
    /// The probability of loss in the bad state.
    pub bad_loss: f64,
    /// Nothing has come to it yet, or in which state it is.
    is_bad: Option<bool>,
}

impl BurstLoss {
    /// How many datagrams a burst loses in the mean, where nothing else is said.
    pub const BURST: f64 = 8.0;

    /// The four probabilities of the model. In which state the line begins is drawn by how much of the time it is in each, in
    /// the long run; one that never changes is good.
    pub fn new(to_bad: f64, to_good: f64, good_loss: f64, bad_loss: f64) -> BurstLoss {
        BurstLoss { to_bad, to_good, good_loss, bad_loss, is_bad: None }
    }

    /// A line that loses all datagrams in the bad state and none in the good one, in the long run this share (0 to 1) of
    /// all, `burst` (at least 1) datagrams at a time in the mean, and more where the share cannot be had with so few.
    pub fn with_mean(share: f64, burst: f64) -> BurstLoss {
        // Neither of the two is more than 1.
        let to_good = (1.0 / burst.max(1.0)).min((1.0 - share) / share);
        let to_bad = if share < 1.0 { to_good * share / (1.0 - share) } else { 1.0 };
        BurstLoss::new(to_bad, to_good, 0.0, 1.0)
    }

    /// How much of the time it is in the bad state, in the long run.
    fn bad_share(&self) -> f64 {
        if self.to_bad > 0.0 { self.to_bad / (self.to_bad + self.to_good) } else { 0.0 }
    }
}

impl Node for BurstLoss {
    fn name(&self) -> &'static str {
        "burst-loss"
    }

    fn pass(&mut self, now: Time, packet: &mut Packet, chance: &mut Rng) -> Verdict {
        if !packet.is_datagram() {
            return Verdict::Forward(now);
        }
        let is_bad = self.is_bad.unwrap_or_else(|| chance.chance(self.bad_share()));
        let (loss, change) = if is_bad { (self.bad_loss, self.to_good) } else { (self.good_loss, self.to_bad) };
        let verdict = if chance.chance(loss) { Verdict::Lost } else { Verdict::Forward(now) };
        self.is_bad = Some(is_bad ^ chance.chance(change));
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_long_run_any_share_is_lost() {
        for (share, burst) in
            [(0.0, 8.0), (0.01, 8.0), (0.5, 1.0), (0.6, 1.0), (0.88, 8.0), (0.95, 8.0), (0.999, 8.0), (1.0, 8.0)]
        {
            let line = BurstLoss::with_mean(share, burst);
            assert!(line.to_bad <= 1.0 && line.to_good <= 1.0);
            let mean = line.bad_share();
            assert!((mean - share).abs() < 1e-9, "{mean} instead of {share}, {burst} at a time");
        }
    }
}
