//! Which harm falls, and when: a function of the seed.

use std::time::Duration;

use tokio::time::Instant;

/// One of the two ways through the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// What is done to a link.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Harm {
    /// Both connections are reset.
    Reset,
    /// Of the next piece that goes this way only a part arrives (0 to 1 of it), then both connections are closed.
    Truncate(Way, f64),
    /// Both connections stay open and nothing passes: one way, or (`None`) neither.
    Stall(Option<Way>),
}

/// How many links were harmed, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cuts {
    pub(crate) resets: u64,
    pub(crate) truncations: u64,
    pub(crate) stalls: u64,
}

impl Cuts {
    pub(crate) fn total(self) -> u64 {
        self.resets + self.truncations + self.stalls
    }
}

/// One in so many harms falls at once, into the handshake.
const EARLY: u64 = 8;

/// Decides which link is harmed when.
///
/// Harm number n, its kind and how long a link lives before it, is given by the seed alone. A link that ends by itself
/// hands its harm on to the next one, so that harm does not become rarer when links end for other reasons.
pub(crate) struct Schedule {
    seed: u64,
    mean: Duration,
    cuts: Cuts,
    /// When the next harm falls; set by the first link that waits for it.
    due: Option<Instant>,
    newest: Option<u64>,
}

impl Schedule {
    /// `mean` is how long a link lives in the mean before it is harmed.
    pub(crate) fn new(seed: u64, mean: Duration) -> Schedule {
        Schedule { seed, mean, cuts: Cuts::default(), due: None, newest: None }
    }

    pub(crate) fn cuts(&self) -> Cuts {
        self.cuts
    }

    /// A new link is up: harm is its due from now on, and no longer an older link's.
    pub(crate) fn link_up(&mut self, link: u64) {
        self.newest = Some(link);
    }

    /// When the harm for this link falls; `None` when a newer link has taken its place.
    pub(crate) fn due(&mut self, link: u64, now: Instant) -> Option<Instant> {
        if self.newest != Some(link) {
            return None;
        }
        let (life, _) = self.harm(self.cuts.total());
        Some(*self.due.get_or_insert(now + life))
    }

    /// The harm that falls on this link now; it is counted. `None` when a newer link has taken its place.
    pub(crate) fn strike(&mut self, link: u64) -> Option<Harm> {
        if self.newest != Some(link) {
            return None;
        }
        let (_, harm) = self.harm(self.cuts.total());
        match harm {
            Harm::Reset => self.cuts.resets += 1,
            Harm::Truncate(..) => self.cuts.truncations += 1,
            Harm::Stall(_) => self.cuts.stalls += 1,
        }
        (self.due, self.newest) = (None, None);
        Some(harm)
    }

    /// How long the link lives before harm `number`, and what the harm is. One in [`EARLY`] lives not at all; the others
    /// are spread evenly from 0.4 of the mean upwards, so that the mean over all is kept and no life is twice as long.
    fn harm(&self, number: u64) -> (Duration, Harm) {
        let mut rng = fastrand::Rng::with_seed(super::mix(self.seed, number));
        let life = if number % EARLY == EARLY - 1 {
            0.0
        } else {
            let mean = EARLY as f64 / (EARLY - 1) as f64;
            0.4 + rng.f64() * 2.0 * (mean - 0.4)
        };
        let way = if rng.bool() { Way::ToServer } else { Way::ToClient };
        let harm = match rng.u8(0..3) {
            0 => Harm::Reset,
            1 => Harm::Truncate(way, rng.f64()),
            _ => Harm::Stall(rng.bool().then_some(way)),
        };
        (self.mean.mul_f64(life), harm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEAN: Duration = Duration::from_millis(100);

    fn lives(seed: u64) -> Vec<(Duration, Harm)> {
        let schedule = Schedule::new(seed, MEAN);
        (0..8000).map(|number| schedule.harm(number)).collect()
    }

    #[test]
    fn the_seed_gives_the_plan() {
        assert_eq!(lives(1), lives(1));
        assert_ne!(lives(1), lives(2));
    }

    #[test]
    fn the_mean_life_is_kept_and_no_life_is_twice_the_mean() {
        let lives = lives(3);
        let mean = lives.iter().map(|(life, _)| life).sum::<Duration>() / 8000;
        assert!(mean.abs_diff(MEAN) < MEAN / 20, "{mean:?}");
        assert!(lives.iter().all(|(life, _)| *life < 2 * MEAN));
    }

    #[test]
    fn every_kind_of_harm_comes() {
        let lives = lives(4);
        let share = |is: fn(&Harm) -> bool| lives.iter().filter(|(_, harm)| is(harm)).count();
        assert!(share(|harm| matches!(harm, Harm::Reset)) > 2000);
        assert!(share(|harm| matches!(harm, Harm::Truncate(Way::ToServer, _))) > 1000);
        assert!(share(|harm| matches!(harm, Harm::Truncate(Way::ToClient, _))) > 1000);
        assert!(share(|harm| matches!(harm, Harm::Stall(None))) > 1000);
        assert!(share(|harm| matches!(harm, Harm::Stall(Some(_)))) > 1000);
    }

    #[test]
    fn a_link_is_harmed_once_and_an_unharmed_one_hands_its_harm_on() {
        let mut schedule = Schedule::new(5, MEAN);
        let start = Instant::now();
        schedule.link_up(1);
        let due = schedule.due(1, start);
        schedule.link_up(2);
        assert_eq!(schedule.due(1, start), None);
        assert_eq!(schedule.strike(1), None);
        assert_eq!(schedule.due(2, start + MEAN), due);
        assert!(schedule.strike(2).is_some());
        assert_eq!(schedule.strike(2), None);
        assert_eq!(schedule.cuts().total(), 1);
    }
}
