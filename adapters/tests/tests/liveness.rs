//! Links that break or fall silent (PEERS.md 22–26).

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_lite::future::zip;
use steadfast_adapter_tests::{
    Ends, Proxy, Reserved, accept, config, connect, ends, ends_with, listen, on_every_runtime, pass, recv, serve_at,
    serve_with, text,
};
use steadfast_driver::runtime::Runtime;
use steadfast_driver::{
    Change, CloseReason, Code, Config, Fate, LaneOptions, NotConfirmed, OnLoss, ProtocolCode, SendErrorKind, Socket,
    State,
};

on_every_runtime!(
    a_cut_link_costs_nothing,
    many_cuts_under_load_lose_repeat_and_reorder_nothing,
    a_half_open_link_is_taken_over,
    silence_ends_the_link_on_both_sides_in_time,
    an_idle_link_stays_up,
    a_restart_of_what_stands_between_costs_nothing,
    a_resume_before_the_first_message_and_later_ones_work,
    a_session_that_expired_gives_back_what_was_not_confirmed,
    after_a_loss_the_next_incarnation_starts_afresh,
    reconnect_now_does_not_wait,
    a_close_that_the_peer_does_not_answer_becomes_an_abort,
);

/// How often the link is cut under load.
const CUTS: u32 = 10;

/// A configuration that notices silence soon.
fn impatient() -> Config {
    let mut config = config();
    config.silence = Duration::from_millis(150);
    config
}

async fn a_cut_link_costs_nothing<R: Runtime>() {
    let listener = listen::<R>().await;
    let proxy = Proxy::to(&listener.local_url());
    let client = connect::<R>(&proxy.url(), config());
    let server = accept(&listener).await;
    client.send("before").await.unwrap();
    assert_eq!(text(&server).await, "before");
    proxy.cut();
    client.send("after").await.unwrap();
    server.send("too").await.unwrap();
    assert_eq!(text(&server).await, "after");
    assert_eq!(text(&client).await, "too");
    assert_eq!(client.stats().resumes, 1);
}

/// Sends numbers until enough links were cut, then finishes; answers how many.
async fn send_numbers(socket: &Socket, cuts: &Cell<u32>) -> u32 {
    let mut sent = 0;
    while cuts.get() < CUTS {
        socket.send(sent.to_string()).await.unwrap();
        sent += 1;
        if sent % 16 == 0 {
            futures_lite::future::yield_now().await;
        }
    }
    socket.finish().await.unwrap();
    sent
}

/// Receives numbers in order to the end; answers how many.
async fn receive_numbers(socket: &Socket) -> u32 {
    let mut received: u32 = 0;
    while let Some(next) = socket.recv().await {
        assert_eq!(next.message().payload, received.to_string());
        received += 1;
    }
    received
}

async fn many_cuts_under_load_lose_repeat_and_reorder_nothing<R: Runtime>() {
    let listener = listen::<R>().await;
    let proxy = Proxy::to(&listener.local_url());
    let mut config = config();
    config.send_buffer = 200_000;
    config.max_message = 10_000;
    let client = connect::<R>(&proxy.url(), config);
    let server = accept(&listener).await;
    let cuts = Cell::new(0);
    let cutting = async {
        // Each cut falls into the middle of the exchange: the link is up again and messages pass.
        while cuts.get() < CUTS {
            client.ready().await.unwrap();
            let resumed = client.stats().bytes_received;
            while client.stats().bytes_received < resumed + 2000 {
                futures_lite::future::yield_now().await;
            }
            proxy.cut();
            cuts.set(cuts.get() + 1);
        }
    };
    let up = zip(send_numbers(&client, &cuts), receive_numbers(&server));
    let down = zip(send_numbers(&server, &cuts), receive_numbers(&client));
    let ((up, down), ()) = zip(zip(up, down), cutting).await;
    assert_eq!((up.0, down.0), (up.1, down.1));
    assert!(client.stats().resumes > 0);
}

async fn a_half_open_link_is_taken_over<R: Runtime>() {
    let listener = listen::<R>().await;
    let proxy = Proxy::to(&listener.local_url());
    let client = connect::<R>(&proxy.url(), config());
    let server = accept(&listener).await;
    client.ready().await.unwrap();
    proxy.stall();
    // The server does not know that the link is dead, and writes into it.
    server.send("in doubt").await.unwrap();
    client.reconnect_now();
    assert_eq!(text(&client).await, "in doubt");
    client.send("here again").await.unwrap();
    assert_eq!(text(&server).await, "here again");
    assert_eq!((listener.len(), proxy.opened()), (1, 2));
}

async fn silence_ends_the_link_on_both_sides_in_time<R: Runtime>() {
    let listener = serve_with::<R>(impatient()).await;
    let proxy = Proxy::to(&listener.local_url());
    let mut manual = impatient();
    manual.reconnect = false;
    let client = connect::<R>(&proxy.url(), manual);
    let server = accept(&listener).await;
    client.ready().await.unwrap();
    let mut changes = client.changes().from_now();
    proxy.stall();
    let started = Instant::now();
    zip(client.wait_state(State::Disconnected), server.wait_state(State::Disconnected)).await.0.unwrap();
    let took = started.elapsed();
    assert!((Duration::from_millis(90)..Duration::from_millis(1000)).contains(&took), "{took:?}");
    let loss = loop {
        if let Some(Change::LinkLost(loss)) = changes.next().await {
            break loss;
        }
    };
    assert_eq!(loss.reason.code, Code::Protocol(ProtocolCode::Silence));
    client.connect();
    client.send("back").await.unwrap();
    assert_eq!(text(&server).await, "back");
}

async fn an_idle_link_stays_up<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends_with::<R>(impatient(), impatient()).await;
    let mut changes = client.changes().from_now();
    let idle = async {
        pass::<R>(Duration::from_millis(600)).await;
        None
    };
    assert_eq!(futures_lite::future::or(changes.next(), idle).await, None);
    assert_eq!((client.stats().resumes, server.stats().resumes), (0, 0));
}

async fn a_restart_of_what_stands_between_costs_nothing<R: Runtime>() {
    let listener = listen::<R>().await;
    let mut proxy = Proxy::to(&listener.local_url());
    let client = connect::<R>(&proxy.url(), config());
    let server = accept(&listener).await;
    for round in 0..3 {
        client.send(format!("up {round}")).await.unwrap();
        server.send(format!("down {round}")).await.unwrap();
        proxy.stop();
        client.send(format!("up {round} at the very moment")).await.unwrap();
        server.send(format!("down {round} at the very moment")).await.unwrap();
        proxy.start();
        for moment in ["", " at the very moment"] {
            assert_eq!(text(&server).await, format!("up {round}{moment}"));
            assert_eq!(text(&client).await, format!("down {round}{moment}"));
        }
    }
    assert_eq!(listener.len(), 1);
}

async fn a_resume_before_the_first_message_and_later_ones_work<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    for round in 0..5_u64 {
        client.reconnect_now();
        client.ready().await.unwrap();
        assert_eq!(client.stats().resumes, round + 1);
        if round > 0 {
            client.send(round.to_string()).await.unwrap();
            assert_eq!(text(&server).await, round.to_string());
        }
    }
}

async fn a_session_that_expired_gives_back_what_was_not_confirmed<R: Runtime>() {
    let mut forgetful = config();
    forgetful.retention = Duration::from_millis(50);
    let mut manual = config();
    manual.reconnect = false;
    let Ends { client, server, listener: _listener } = ends_with::<R>(manual, forgetful).await;
    client.send("taken").await.unwrap();
    assert_eq!(text(&server).await, "taken");
    client.confirmed().await.unwrap();
    client.disconnect();
    client.send("one").await.unwrap();
    client.send("two").await.unwrap();
    assert!(!server.closed().await.clean);
    client.connect();
    let closed = client.closed().await;
    assert_eq!(closed.unconfirmed, 2);
    let returned: Vec<_> = client.take_unconfirmed().into_iter().map(|one| (one.message.payload, one.fate)).collect();
    // They went out behind the HELLO that was refused.
    assert_eq!(returned, [("one".into(), Fate::InDoubt), ("two".into(), Fate::InDoubt)]);
}

async fn after_a_loss_the_next_incarnation_starts_afresh<R: Runtime>() {
    let (first, second) = (listen::<R>().await, listen::<R>().await);
    let proxy = Proxy::to(&first.local_url());
    let mut config = config();
    config.on_loss = OnLoss::Reopen;
    let client = connect::<R>(&proxy.url(), config);
    let _forgotten = accept(&first).await;
    client.ready().await.unwrap();
    client.send("nobody takes it").await.unwrap();
    let lane = client.open_lane(LaneOptions::default()).await.unwrap();
    let (session, incarnation) = (client.session_id(), client.incarnation());
    // A server that knows nothing of the session takes the place of the first.
    proxy.lead_to(&second.local_url());
    proxy.cut();
    let lost = client.lost().await.unwrap();
    assert_eq!((lost.incarnation, lost.unconfirmed), (incarnation, 1));
    assert_eq!(lost.reason.code, Code::Protocol(ProtocolCode::UnknownSession));
    assert_eq!(client.try_send("too early").unwrap_err().kind, SendErrorKind::Lost);
    assert!(lane.recv().await.is_none());
    for of_the_lost in [client.confirmed().await, lane.confirmed().await] {
        assert_eq!(of_the_lost, Err(NotConfirmed::Lost));
    }
    let returned: Vec<_> = client.take_unconfirmed().into_iter().map(|one| (one.message.payload, one.fate)).collect();
    assert_eq!(returned, [("nobody takes it".into(), Fate::InDoubt)]);
    assert_eq!(lane.confirmed().await, Err(NotConfirmed::Lost));
    for index in 0..8 {
        client.send(format!("message {index}")).await.unwrap();
    }
    let server = accept(&second).await;
    for index in 0..8 {
        assert_eq!(text(&server).await, format!("message {index}"));
    }
    assert_ne!((client.session_id(), client.incarnation()), (session, incarnation));
}

async fn reconnect_now_does_not_wait<R: Runtime>() {
    let reserved = Reserved::default();
    let mut patient = config();
    patient.redial_base = Duration::from_secs(3600);
    patient.redial_max = Duration::from_secs(3600);
    let client = connect::<R>(&reserved.url(), patient);
    let mut changes = client.changes();
    while !matches!(changes.next().await, Some(Change::LinkLost(_))) {}
    let listener = serve_at::<R>(&reserved.url()).await;
    client.reconnect_now();
    let server = accept(&listener).await;
    client.send("at once").await.unwrap();
    assert_eq!(recv(&server).await, "at once");
}

async fn a_close_that_the_peer_does_not_answer_becomes_an_abort<R: Runtime>() {
    let listener = listen::<R>().await;
    let proxy = Proxy::to(&listener.local_url());
    let mut config = config();
    config.close_timeout = Duration::from_millis(200);
    let client = connect::<R>(&proxy.url(), config);
    let _server = accept(&listener).await;
    client.ready().await.unwrap();
    proxy.stall();
    client.send("into the void").await.unwrap();
    let started = Instant::now();
    let closed = client.close(CloseReason::app(0, "")).await;
    assert!((Duration::from_millis(200)..Duration::from_secs(2)).contains(&started.elapsed()));
    assert_eq!((closed.clean, closed.unconfirmed), (false, 1));
}
