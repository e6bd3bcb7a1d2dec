//! A trace is the whole run: written down, read back and followed, whatever happens.

use std::time::Duration;

use steadfast::{Config, ServerConfig};
use steadfast_sim::net::{Carriage, Path};
use steadfast_sim::{ADDRESS, Conditions, Divergence, Rng, Side, Trace, Wires, World, by_hand};

/// Two clients that write on a network of the seed's choice, and somebody who keeps to no protocol.
fn run(mut world: World, seed: u64) -> Result<Trace, Box<Divergence>> {
    let mut rng = Rng::new(seed);
    let carriage = *rng.pick(&[Carriage::Segment, Carriage::Datagram]);
    let path = match carriage {
        Carriage::Segment => Path { delay: Duration::from_millis(20), ..Path::default() },
        Carriage::Datagram => Path::rough(&mut rng),
    };
    world.conditions = match carriage {
        Carriage::Segment => Conditions::rough(&mut rng),
        Carriage::Datagram => Conditions::rough_datagrams(&mut rng),
    };
    let to_server = path.build(world.network(), carriage).expect("a path that can be");
    let to_client = path.build(world.network(), carriage).expect("a path that can be");
    world.wire(Wires { to_server, to_client });
    let server = world.serve(ADDRESS, ServerConfig::default());
    let clients = [world.client(Config::default()), world.client(Config::default())];
    let raw = world.raw_link(server);
    for round in 0..20 {
        for client in clients {
            // A full buffer or a lost session is part of the run.
            let _ = world.send(client, rng.bytes(200));
        }
        let len = rng.size(0..=40);
        let garbage = rng.bytes(len);
        world.inject(raw, Side::Server, if round % 2 == 0 { by_hand::packet(&garbage) } else { garbage });
        world.run_for(Duration::from_millis(300));
        for link in world.live_links() {
            if carriage == Carriage::Datagram && rng.one_in(8) {
                world.rebind(link);
            }
        }
    }
    world.take_trace()
}

#[test]
fn any_run_is_read_back_and_followed() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        world.record();
        let trace = run(world, seed).expect("nothing to differ from");
        assert!(!trace.entries.is_empty(), "seed {seed}");
        let read: Trace = trace.to_string().parse().expect("what was written");
        assert!(read == trace, "seed {seed} is read back otherwise");
        assert_eq!(run(World::follow(&read), seed).map(drop), Ok(()), "seed {seed}");
    }
}
