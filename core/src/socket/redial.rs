//! When to dial again, and where (PROTOCOL.md §7.2).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::crypto::Rng;

/// The longest pause before the first attempt after a link that was ready.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The order of addresses and the growing, jittered pauses between attempts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Redial {
    addresses: Vec<Arc<str>>,
    current: usize,
    alternative: Option<Arc<str>>,
    failures: u32,
}

impl Redial {
    pub(crate) fn new(addresses: Vec<Arc<str>>) -> Redial {
        Redial { addresses, current: 0, alternative: None, failures: 0 }
    }

    /// Where the next attempt goes; `None` when there is no address at all (an adapter that brings links by itself).
    pub(crate) fn address(&self) -> Option<Arc<str>> {
        self.alternative.clone().or_else(|| self.addresses.get(self.current).cloned())
    }

    /// A handshake was completed: the pauses start over, and the next attempt goes to the same address.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The next attempts are made as if none had failed.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Whether the last attempt failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// An attempt failed: the next one goes to the next address.
    pub(crate) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        if self.alternative.take().is_none() && !self.addresses.is_empty() {
            self.current = (self.current + 1) % self.addresses.len();
        }
    }

    /// The server named another address; it is tried next, and given up when it fails.
    pub(crate) fn go_to(&mut self, address: &str) {
        self.failures = self.failures.saturating_add(1);
        self.alternative = (!address.is_empty()).then(|| address.into());
    }

    /// How long to wait before the next attempt: full jitter below a bound that doubles with each failure.
    pub(crate) fn pause(&self, config: &Config, rng: &mut Rng) -> Duration {
        let bound = match self.failures {
            0 => FIRST_PAUSE,
            n => config.redial_base.saturating_mul(1 << (n - 1).min(20)).min(config.redial_max),
        };
        let bound = bound.as_micros().min(u64::MAX as u128 - 1) as u64;
        Duration::from_micros(rng.below(bound + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn redial() -> Redial {
        Redial::new(vec!["a".into(), "b".into()])
    }

    #[test]
    fn pauses_double_up_to_the_cap_with_full_jitter() {
        let (mut redial, config, mut rng) = (redial(), Config::default(), Rng::new([7; 32]));
        let mut bound = FIRST_PAUSE;
        for failure in 0..40 {
            let pauses: Vec<Duration> = (0..200).map(|_| redial.pause(&config, &mut rng)).collect();
            assert!(pauses.iter().all(|pause| *pause <= bound), "failure {failure}");
            assert!(pauses.iter().any(|pause| *pause > bound * 3 / 4), "failure {failure}");
            assert!(pauses.iter().any(|pause| *pause < bound / 4), "failure {failure}");
            bound = if failure == 0 { config.redial_base } else { (bound * 2).min(config.redial_max) };
            redial.failed();
        }
        assert_eq!(bound, config.redial_max);
    }

    #[test]
    fn addresses_are_tried_in_order_and_the_one_that_worked_is_kept() {
        let mut redial = redial();
        let mut seen = vec![];
        for _ in 0..3 {
            seen.push(redial.address().unwrap());
            redial.failed();
        }
        assert_eq!(seen, ["a".into(), "b".into(), "a".into()] as [Arc<str>; 3]);
        redial.succeeded();
        assert_eq!(redial.address().as_deref(), Some("b"));
    }

    #[test]
    fn pauses_of_no_length_and_beyond_all_clocks_are_legal() {
        let (mut redial, mut config, mut rng) = (redial(), Config::default(), Rng::new([7; 32]));
        redial.failed();
        (config.redial_base, config.redial_max) = (Duration::ZERO, Duration::ZERO);
        assert_eq!(redial.pause(&config, &mut rng), Duration::ZERO);
        (config.redial_base, config.redial_max) = (Duration::MAX, Duration::MAX);
        redial.pause(&config, &mut rng);
    }

    #[test]
    fn an_alternative_is_tried_once() {
        let mut redial = redial();
        redial.go_to("elsewhere");
        assert_eq!(redial.address().as_deref(), Some("elsewhere"));
        redial.failed();
        assert_eq!(redial.address().as_deref(), Some("a"));
    }
}
