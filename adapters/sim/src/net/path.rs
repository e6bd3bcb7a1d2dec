//! One direction of a way through the network, in one description.

use std::fmt;
use std::time::Duration;

use crate::net::{Bottleneck, BurstLoss, Carriage, Corrupt, Delay, Duplicate, Loss, Mtu, Network, NodeId, Reorder};
use crate::rng::Rng;

/// One direction of a way through the network: what it is like, to be made into nodes. By default it does nothing.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Path {
    /// The time that the way takes, behind the bottleneck.
    pub delay: Duration,
    /// How much longer it may take, drawn evenly for each packet; packets stay in order.
    pub jitter: Duration,
    /// The bottleneck: bytes a second, and the bytes of the queue before it.
    pub bottleneck: Option<(u64, usize)>,
    /// The most bytes of a datagram.
    pub mtu: Option<usize>,
    /// The share of datagrams that are lost, each for itself.
    pub loss: f64,
    /// The share of datagrams that are lost in bursts ([`BurstLoss::with_mean`], [`BurstLoss::BURST`] at a time).
    pub burst_loss: f64,
    /// The share of datagrams that are held back, and the longest time.
    pub reorder: (f64, Duration),
    /// The share of datagrams that are doubled.
    pub duplicate: f64,
    /// The share of datagrams that are changed.
    pub corrupt: f64,
}

/// A path that cannot be.
#[derive(Clone, PartialEq, Debug)]
pub struct PathError {
    /// Which part of it.
    pub what: &'static str,
    /// Why.
    pub problem: String,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what, self.problem)
    }
}

impl std::error::Error for PathError {}

impl Path {
    /// Whether packets of this kind can take it.
    ///
    /// # Errors
    /// For a share that is not within 0 to 1, a rate of 0, and for [`Carriage::Segment`] anything that a stream cannot
    /// have: a stream is ordered and lossless while its link lives, and what loss below it does is delay and rate.
    pub fn check(&self, carriage: Carriage) -> Result<(), PathError> {
        let shares = [
            ("loss", self.loss),
            ("burst-loss", self.burst_loss),
            ("reorder", self.reorder.0),
            ("duplicate", self.duplicate),
            ("corrupt", self.corrupt),
        ];
        for (what, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return Err(PathError { what, problem: format!("is {share}, and a share is within 0 to 1") });
            }
            if share > 0.0 && carriage == Carriage::Segment {
                let problem = "is for datagram links: a stream link is ordered and lossless until it is cut".into();
                return Err(PathError { what, problem });
            }
        }
        match self.bottleneck {
            Some((0, _)) => Err(PathError { what: "rate", problem: "is 0 bytes a second".into() }),
            _ => Ok(()),
        }
    }

    /// A way of the generator's choice, for datagrams: any composition of all that it can have, also of nothing.
    pub fn rough(rng: &mut Rng) -> Path {
        let micros = Duration::from_micros;
        let share = |rng: &mut Rng, percent, most| match rng.percent(percent) {
            true => rng.number(1..=most) as f64 / 1000.0,
            false => 0.0,
        };
        Path {
            delay: micros(*rng.pick(&[0, 0, 1_000, 30_000, 150_000])),
            jitter: micros(*rng.pick(&[0, 0, 500, 20_000])),
            bottleneck: rng
                .percent(30)
                .then(|| (*rng.pick(&[30_000, 300_000, 5_000_000]), *rng.pick(&[3_000, 30_000, 500_000]))),
            mtu: rng.percent(10).then(|| rng.size(1_200..=9_000)),
            loss: share(rng, 40, 300),
            burst_loss: share(rng, 25, 200),
            reorder: (share(rng, 30, 300), micros(*rng.pick(&[1_000, 10_000, 100_000]))),
            duplicate: share(rng, 30, 200),
            corrupt: share(rng, 20, 100),
        }
    }

    /// Adds its nodes to a network, in the order in which packets pass them: first what a packet is too long for, then the
    /// bottleneck, behind it what loses, doubles and changes (so what is lost has taken its time on the line, and a copy
    /// has not), then the way itself, and what holds packets back.
    ///
    /// # Errors
    /// As [`Path::check`].
    pub fn build(&self, network: &mut Network, carriage: Carriage) -> Result<Vec<NodeId>, PathError> {
        self.check(carriage)?;
        let mut nodes = Vec::new();
        nodes.extend(self.mtu.map(|bytes| network.add(Mtu { bytes })));
        if let Some((rate, queue)) = self.bottleneck {
            nodes.push(network.add(Bottleneck::new(Some(rate), queue)));
        }
        nodes.extend((self.loss > 0.0).then(|| network.add(Loss { probability: self.loss })));
        if self.burst_loss > 0.0 {
            nodes.push(network.add(BurstLoss::with_mean(self.burst_loss, BurstLoss::BURST)));
        }
        nodes.extend((self.duplicate > 0.0).then(|| network.add(Duplicate { probability: self.duplicate })));
        nodes.extend((self.corrupt > 0.0).then(|| network.add(Corrupt { probability: self.corrupt })));
        if self.delay + self.jitter > Duration::ZERO {
            nodes.push(network.add(Delay::with_jitter(self.delay, self.jitter)));
        }
        let (probability, delay) = self.reorder;
        nodes.extend((probability > 0.0).then(|| network.add(Reorder { probability, delay })));
        Ok(nodes)
    }
}
