//! Addresses that change, unnoticed or not, and who holds the session then.

use super::*;

/// Nobody tells a client that its address has changed on the way; what it goes on writing must not keep it from noticing.
#[test]
fn however_often_a_client_writes_it_notices_soon_that_it_is_not_heard_any_more() {
    for (seed, interval) in [5, 20, 50, 100, 200, 300, 600, 1000, 1500].into_iter().enumerate() {
        for answers in [false, true] {
            let mut scene = Scene::pair(seed as u64);
            let (interval, from) = (interval * MILLISECOND, scene.world.now());
            // The server may be heard on as before, where it writes without a pause.
            scene.silence(Side::Server, 60 * SECOND);
            if !answers {
                scene.silence(Side::Client, 60 * SECOND);
            }
            while scene.world.state(scene.client) == State::Ready {
                scene.world.send(scene.client, "up").unwrap();
                scene.world.send(scene.server, "down").unwrap();
                scene.run_for(interval);
                scene.world.texts(scene.client);
                let time = scene.world.now().since(from);
                let most = if answers { 7 * SECOND } else { 4 * SECOND };
                assert!(time <= most, "written every {interval:?}, answered: {answers}: {time:?}");
            }
        }
    }
}

#[test]
fn a_client_from_another_address_takes_over_and_its_former_one_is_not_heard() {
    for seed in 0..10 {
        let mut scene = Scene::new(seed, tolerating(SECOND));
        scene.lay(&Path { loss: 0.1, ..Path::default() });
        scene.world.start_tape();
        let old = scene.world.link_of(scene.client).unwrap();
        scene.world.send(scene.client, "before").unwrap();
        let overheard = scene.world.tape(old, Side::Server).to_vec();
        // Half open: the client knows that its address is gone, or does not.
        if seed % 2 == 0 {
            scene.world.break_link(old, Break::HalfOpen(Side::Client));
        } else {
            scene.world.rebind(old);
        }
        scene.world.send(scene.client, "after").unwrap();
        scene.world.send(scene.server, "answer").unwrap();
        scene.run_for(20 * SECOND);
        assert_eq!(scene.world.socket(scene.client).stats().resumes, 1, "seed {seed}");
        scene.world.inject(old, Side::Server, overheard.clone());
        let new = scene.world.link_of(scene.client).unwrap();
        assert_ne!(new, old);
        scene.world.inject(new, Side::Server, overheard);
        scene.run_for(SECOND);
        assert_eq!(scene.texts(), [vec!["before".to_owned(), "after".into()], vec!["answer".into()]], "seed {seed}");
        assert_eq!(scene.world.state(scene.client), State::Ready);
        assert_eq!(scene.world.server(scene.server_ix()).len(), 1);
    }
}

#[test]
fn a_router_that_restarts_between_the_two_loses_and_doubles_nothing() {
    for seed in 0..10 {
        let mut scene = Scene::new(seed, tolerating(SECOND));
        let mut seen = [Vec::new(), Vec::new()];
        for round in 0..6 {
            // Shorter than the silence that is tolerated, or longer; with one address for the client afterwards, or another.
            let away = [10, 300, 2_500][round % 3] * MILLISECOND;
            for number in 0..10 {
                scene.world.send(scene.client, format!("up {}", round * 10 + number)).unwrap();
                scene.world.send(scene.server, format!("down {}", round * 10 + number)).unwrap();
                if number == 5 {
                    scene.silence_both(away);
                    let link = scene.world.link_of(scene.client).filter(|_| round % 2 == 1);
                    link.map(|link| scene.world.rebind(link));
                }
                let pause = scene.world.rng().below(7_000);
                scene.run_for(Duration::from_micros(pause));
            }
            scene.run_for(away + 5 * SECOND);
            seen.iter_mut().zip(scene.texts()).for_each(|(seen, texts)| seen.extend(texts));
        }
        assert_eq!(seen, [numbered("up", 60), numbered("down", 60)], "seed {seed}");
    }
}

#[test]
fn later_resumes_work_like_the_first_and_so_does_one_before_any_message() {
    for seed in 0..5 {
        let mut scene = Scene::new(seed, tolerating(2 * SECOND));
        scene.lay(&Path { loss: 0.2, ..Path::default() });
        for round in 0..6 {
            if round > 0 {
                scene.world.send(scene.client, format!("up {round}")).unwrap();
                scene.world.send(scene.server, format!("down {round}")).unwrap();
            }
            scene.world.with(scene.client, |socket, now| socket.reconnect_now(now));
            scene.run_for(5 * SECOND);
            let expected = [format!("up {round}"), format!("down {round}")].map(|text| vec![text]);
            assert_eq!(scene.texts(), if round > 0 { expected } else { [vec![], vec![]] }, "seed {seed}");
            assert!(scene.world.socket(scene.client).stats().resumes > round, "seed {seed}");
        }
    }
}

#[test]
fn ten_changes_of_address_during_thousands_of_messages_each_way_lose_none() {
    let mut scene = Scene::new(5, tolerating(500 * MILLISECOND));
    scene.lay(&Path { loss: 0.02, reorder: (0.05, 5 * MILLISECOND), duplicate: 0.02, ..Path::default() });
    let mut sent = 0;
    let mut seen = [0, 0];
    let mut read = |scene: &mut Scene| {
        for (seen, (texts, way)) in seen.iter_mut().zip(scene.texts().into_iter().zip(["up", "down"])) {
            for text in texts {
                assert_eq!(text, format!("{way} {seen}"));
                *seen += 1;
            }
        }
        seen
    };
    for round in 0..200 {
        for _ in 0..20 {
            scene.world.send(scene.client, format!("up {sent}")).unwrap();
            scene.world.send(scene.server, format!("down {sent}")).unwrap();
            sent += 1;
        }
        if round % 20 == 10 {
            let how = *scene.world.rng().pick(&Break::ALL);
            match scene.world.link_of(scene.client) {
                Some(link) if round % 40 == 10 => drop(scene.world.rebind(link)),
                Some(link) => scene.world.break_link(link, how),
                None => {}
            }
        }
        scene.run_for(50 * MILLISECOND);
        read(&mut scene);
    }
    scene.run_for(10 * SECOND);
    assert_eq!(read(&mut scene), [sent, sent]);
    assert!(scene.world.socket(scene.client).stats().resumes >= 9);
}

#[test]
fn of_two_holders_of_one_session_one_is_told_that_it_is_superseded() {
    for seed in 0..20 {
        let mut scene = Scene::new(seed, tolerating(2 * SECOND));
        scene.lay(&Path { loss: 0.1, duplicate: 0.1, reorder: (0.2, 30 * MILLISECOND), ..Path::default() });
        scene.world.send(scene.server, "for one").unwrap();
        let state = scene.world.freeze(scene.client);
        let double = scene.world.double(scene.client, &state);
        scene.run_for(60 * SECOND);
        let states = [scene.client, double].map(|end| scene.world.state(end));
        assert!(states == [State::Ready, State::Closed] || states == [State::Closed, State::Ready], "{states:?}");
        let [kept, gone] = if states[0] == State::Ready { [scene.client, double] } else { [double, scene.client] };
        let code = scene.world.closed(gone).and_then(|closed| closed.reason().map(|reason| reason.code));
        assert_eq!(code, Some(Code::Protocol(ProtocolCode::Superseded)), "seed {seed}");
        assert_eq!(scene.world.texts(kept), ["for one"], "seed {seed}");
        let dials = scene.world.dials().len();
        scene.run_for(120 * SECOND);
        assert_eq!(scene.world.dials().len(), dials, "no fight for the session");
    }
}

#[test]
fn a_reconnect_takes_tens_of_milliseconds() {
    let mut times = Vec::new();
    for seed in 0..49 {
        let mut scene = Scene::pair(seed);
        scene.lay(&Path { loss: 0.05, ..Path::default() });
        let (client, from) = (scene.client, scene.world.now());
        scene.world.with(client, |socket, now| socket.reconnect_now(now));
        scene.world.run_until("back", 5 * SECOND, |world| world.state(client) == State::Ready);
        times.push(scene.world.now().since(from));
    }
    times.sort();
    assert!(times[24] < 50 * MILLISECOND && times[48] < SECOND, "median {:?}, longest {:?}", times[24], times[48]);
}
