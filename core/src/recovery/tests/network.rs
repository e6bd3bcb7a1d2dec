//! One direction of a path in virtual time: a bottleneck with a drop-tail queue, delay, loss, lateness and duplication.

/// Numbers that look random and follow from a seed.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_add(0x5851_F42D_4C95_7F2D))
    }

    /// The generator splitmix64.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Whether something happens that happens so many times in a million.
    pub(super) fn chance(&mut self, millionths: u64) -> bool {
        self.next() % 1_000_000 < millionths
    }
}

/// When a host gets the processor: in each period for a while, at a time that follows from the period's number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slices {
    /// Microseconds of a period, and for how many of them the host is held up.
    pub(super) period: u64,
    pub(super) held: u64,
    pub(super) seed: u64,
}

impl Slices {
    /// All the time.
    pub(super) const ALL: Slices = Slices { period: 1, held: 0, seed: 0 };

    /// When the host can do what is due at a time.
    pub(super) fn awake(&self, at: u64) -> u64 {
        if self.held == 0 || at == u64::MAX {
            return at;
        }
        let number = at / self.period;
        let start = number * self.period + Random::new(self.seed ^ number).next() % (self.period - self.held);
        if (start..start + self.held).contains(&at) { start + self.held } else { at }
    }
}

/// How packets are lost.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    /// Each packet by itself, so many in a million.
    Independent(u64),
    /// In bursts (Gilbert–Elliott): no packet in the good state, all in the bad one. In millionths per packet: from good to bad, and back.
    Bursts { begin: u64, end: u64 },
}

/// What a direction is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    /// Bits per second.
    pub(super) rate: u64,
    /// Bytes that the queue in front of the bottleneck holds.
    pub(super) queue: u64,
    /// Microseconds from one end to the other, without queue.
    pub(super) delay: u64,
    pub(super) loss: Loss,
    /// So many packets in a million are late by up to so many microseconds.
    pub(super) late: (u64, u64),
    /// So many packets in a million come twice.
    pub(super) twice: u64,
}

impl Conditions {
    /// A path of 100 Mbit/s and half of a round trip of 50 ms with a queue of one bandwidth-delay product.
    pub(super) fn usual(loss_percent: u64) -> Conditions {
        Conditions {
            rate: 100_000_000,
            queue: 625_000,
            delay: 25_000,
            loss: Loss::Independent(loss_percent * 10_000),
            late: (0, 0),
            twice: 0,
        }
    }
}

/// One direction, shared by all flows.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    pub(super) conditions: Conditions,
    random: Random,
    /// Nanoseconds until the bottleneck has served what is queued.
    free_at: u64,
    bad: bool,
    /// Bytes that entered, packets that the queue had no room for.
    pub(super) bytes: u64,
    pub(super) overflows: u64,
}

impl Channel {
    pub(super) fn new(conditions: Conditions, seed: u64) -> Channel {
        Channel { conditions, random: Random::new(seed), free_at: 0, bad: false, bytes: 0, overflows: 0 }
    }

    /// When a packet that enters at `now` comes out, in microseconds.
    pub(super) fn carry(&mut self, now: u64, bytes: u64, mut arrives: impl FnMut(u64)) {
        let Conditions { rate, queue, delay, loss, late, twice } = self.conditions;
        self.bytes += bytes;
        let now = now * 1000;
        let start = self.free_at.max(now);
        if (start - now) * rate / 8_000_000_000 + bytes > queue {
            self.overflows += 1;
            return;
        }
        self.free_at = start + bytes * 8_000_000_000 / rate;
        if self.is_lost(loss) {
            return;
        }
        let copies = if self.random.chance(twice) { 2 } else { 1 };
        for _ in 0..copies {
            let lateness = if self.random.chance(late.0) { self.random.next() % late.1 } else { 0 };
            arrives(self.free_at.div_ceil(1000) + delay + lateness);
        }
    }

    fn is_lost(&mut self, loss: Loss) -> bool {
        match loss {
            Loss::Independent(millionths) => self.random.chance(millionths),
            Loss::Bursts { begin, end } => {
                if self.random.chance(if self.bad { end } else { begin }) {
                    self.bad = !self.bad;
                }
                self.bad
            }
        }
    }
}
