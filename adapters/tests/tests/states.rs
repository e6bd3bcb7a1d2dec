//! Connecting and states (PEERS.md 1–8).

use std::net::TcpStream;
use std::time::{Duration, Instant};

use steadfast_adapter_tests::{
    Ends, LIMIT, Reserved, accept, config, connect, ends, listen, on_every_runtime, recv, serve_at, text, within,
};
use steadfast_driver::runtime::Runtime;
use steadfast_driver::{Change, CloseReason, Connector, Message, ReadyError, Received, Socket, State};

on_every_runtime!(
    every_change_of_state_is_told_in_order,
    disconnect_connects_again_and_what_was_written_meanwhile_arrives,
    without_reconnect_it_stays_disconnected_until_told_to_connect,
    a_client_started_before_the_server_connects_when_it_appears,
    an_ask_made_before_the_server_exists_is_answered_with_headers_both_ways,
    a_client_that_never_says_hello_does_not_delay_another,
    a_client_whose_open_is_not_decided_does_not_delay_another,
    waiting_for_ready_has_an_error_of_its_own_for_time,
    closing_while_connecting_does_not_come_back_to_life,
    aborting_while_connecting_does_not_come_back_to_life,
    attempts_back_off,
    a_rejected_client_is_told_why,
    an_incoming_client_that_is_dropped_is_rejected,
    a_client_goes_to_the_next_address,
);

async fn every_change_of_state_is_told_in_order<R: Runtime>() {
    let listener = listen::<R>().await;
    let client = connect::<R>(&listener.local_url(), config());
    let mut changes = client.changes();
    let server = accept(&listener).await;
    client.ready().await.unwrap();
    client.disconnect();
    assert_eq!(client.state(), State::Disconnected);
    client.ready().await.unwrap();
    client.close(CloseReason::app(7, "enough")).await;
    let mut states = Vec::new();
    let mut losses = Vec::new();
    while let Some(change) = changes.next().await {
        match change {
            Change::State(state) => states.push(state),
            Change::LinkLost(loss) => losses.push(loss),
            _ => {}
        }
    }
    use State::{Closed, Connecting, Disconnected, Ready};
    assert_eq!(states, [Connecting, Ready, Disconnected, Connecting, Ready, Closed]);
    assert_eq!(losses.len(), 1);
    assert!(losses[0].retry_in_micros.is_some(), "a client that reconnects says when");
    assert_eq!(server.closed().await.remote, Some(CloseReason::app(7, "enough")));
}

async fn disconnect_connects_again_and_what_was_written_meanwhile_arrives<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    let mut changes = client.changes().from_now();
    client.disconnect();
    client.send("meanwhile").await.unwrap();
    assert_eq!(text(&server).await, "meanwhile");
    let mut states = Vec::new();
    while states.last() != Some(&State::Ready) {
        if let Some(Change::State(state)) = changes.next().await {
            states.push(state);
        }
    }
    assert_eq!(states, [State::Disconnected, State::Connecting, State::Ready]);
}

async fn without_reconnect_it_stays_disconnected_until_told_to_connect<R: Runtime>() {
    let listener = listen::<R>().await;
    let mut config = config();
    config.reconnect = false;
    let client = connect::<R>(&listener.local_url(), config);
    let server = accept(&listener).await;
    client.ready().await.unwrap();
    let mut changes = client.changes().from_now();
    server.disconnect();
    let loss = loop {
        if let Some(Change::LinkLost(loss)) = changes.next().await {
            break loss;
        }
    };
    assert_eq!(loss.retry_in_micros, None);
    client.wait_state(State::Disconnected).await.unwrap();
    assert_eq!(client.ready_timeout(Duration::from_millis(50)).await, Err(ReadyError::Timeout));
    client.connect();
    client.ready().await.unwrap();
    client.send("back").await.unwrap();
    assert_eq!(text(&server).await, "back");
}

async fn a_client_started_before_the_server_connects_when_it_appears<R: Runtime>() {
    let reserved = Reserved::default();
    let client = connect::<R>(&reserved.url(), config());
    let message = Message::new("early").with_name("greeting").with_headers(r#"{"a":[1,"x"]}"#);
    client.send(message.clone()).await.unwrap();
    client.send(Message::new("plain")).await.unwrap();
    let mut changes = client.changes();
    loop {
        if let Some(Change::LinkLost(_)) = changes.next().await {
            break;
        }
    }
    let listener = serve_at::<R>(&reserved.url()).await;
    let server = accept(&listener).await;
    for expected in [message, Message::new("plain")] {
        match server.recv().await {
            Some(Received::Message(message)) => assert_eq!(message, expected),
            other => panic!("{other:?}"),
        }
    }
}

async fn an_ask_made_before_the_server_exists_is_answered_with_headers_both_ways<R: Runtime>() {
    let reserved = Reserved::default();
    let client = connect::<R>(&reserved.url(), config());
    let answering = async {
        let listener = serve_at::<R>(&reserved.url()).await;
        let server = accept(&listener).await;
        let Some(Received::Ask(ask)) = server.recv().await else { panic!("no ask") };
        assert_eq!(ask.message, Message::new("what?").with_headers("{\"q\":1}"));
        ask.reply(Message::new("that").with_headers("[true]")).await.unwrap();
        // The answer has to get out before the server goes.
        server.confirmed().await.unwrap();
    };
    let asking = client.ask(Message::new("what?").with_headers("{\"q\":1}"));
    let (answer, ()) = futures_lite::future::zip(asking, answering).await;
    assert_eq!(answer, Ok(Message::new("that").with_headers("[true]")));
}

async fn a_client_that_never_says_hello_does_not_delay_another<R: Runtime>() {
    let listener = listen::<R>().await;
    let address = listener.local_url();
    let silent = TcpStream::connect(address.strip_prefix("tcp://").unwrap()).unwrap();
    let client = connect::<R>(&address, config());
    let _server = within::<R, _>(Duration::from_secs(5), "the other client", accept(&listener)).await;
    client.ready().await.unwrap();
    drop(silent);
}

async fn a_client_whose_open_is_not_decided_does_not_delay_another<R: Runtime>() {
    let listener = listen::<R>().await;
    let first = connect::<R>(&listener.local_url(), config());
    let undecided = listener.accept().await.unwrap();
    let second = connect::<R>(&listener.local_url(), config());
    let _server = accept(&listener).await;
    second.ready().await.unwrap();
    assert_eq!(first.state(), State::Connecting);
    let _server = undecided.accept().unwrap();
    first.ready().await.unwrap();
}

async fn waiting_for_ready_has_an_error_of_its_own_for_time<R: Runtime>() {
    let reserved = Reserved::default();
    let client = connect::<R>(&reserved.url(), config());
    let started = Instant::now();
    assert_eq!(client.ready_timeout(Duration::from_millis(80)).await, Err(ReadyError::Timeout));
    assert!(started.elapsed() >= Duration::from_millis(80));
    client.abort(CloseReason::app(1, "given up"));
    match client.ready_timeout(LIMIT).await {
        Err(ReadyError::Closed(closed)) => assert_eq!(closed.local, Some(CloseReason::app(1, "given up"))),
        other => panic!("{other:?}"),
    }
}

async fn closing_while_connecting_does_not_come_back_to_life<R: Runtime>() {
    let reserved = Reserved::default();
    let client = connect::<R>(&reserved.url(), config());
    let closed = client.close(CloseReason::app(3, "never mind")).await;
    assert_eq!(closed.local, Some(CloseReason::app(3, "never mind")));
    stays_dead::<R>(&client, &reserved.url()).await;
}

async fn aborting_while_connecting_does_not_come_back_to_life<R: Runtime>() {
    let reserved = Reserved::default();
    let client = connect::<R>(&reserved.url(), config());
    client.abort(CloseReason::app(3, "never mind"));
    client.closed().await;
    stays_dead::<R>(&client, &reserved.url()).await;
}

/// Another client gets in at the address; the closed one does not try.
async fn stays_dead<R: Runtime>(client: &Socket, url: &str) {
    client.connect();
    client.reconnect_now();
    let listener = serve_at::<R>(url).await;
    let other = connect::<R>(url, config());
    let _server = accept(&listener).await;
    other.ready().await.unwrap();
    assert_eq!(client.state(), State::Closed);
    assert_eq!(listener.len(), 1);
}

async fn attempts_back_off<R: Runtime>() {
    let mut config = config();
    config.redial_base = Duration::from_millis(4);
    config.redial_max = Duration::from_millis(64);
    let started = Instant::now();
    let reserved = Reserved::default();
    let client = connect::<R>(&reserved.url(), config);
    let mut changes = client.changes();
    let mut pauses = Vec::new();
    while pauses.len() < 14 {
        if let Some(Change::LinkLost(loss)) = changes.next().await {
            pauses.push(Duration::from_micros(loss.retry_in_micros.expect("it reconnects")));
        }
    }
    let waited: Duration = pauses.iter().take(13).sum();
    assert!(started.elapsed() >= waited, "the pauses were kept");
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_millis(64)), "{pauses:?}");
    // Ten pauses of 32 ms in the mean: less than a tenth of it does not happen by chance.
    assert!(pauses[4..].iter().sum::<Duration>() > Duration::from_millis(32), "{pauses:?}");
}

async fn a_rejected_client_is_told_why<R: Runtime>() {
    let listener = listen::<R>().await;
    let connector = Connector::<R>::new(listener.local_url()).config(config()).auth("wrong password");
    let client = connector.connect().unwrap();
    let incoming = listener.accept().await.unwrap();
    assert_eq!(incoming.auth(), "wrong password");
    incoming.reject(CloseReason::app(403, "who are you?"), None);
    let closed = client.ready().await.unwrap_err();
    assert_eq!(closed.remote, Some(CloseReason::app(403, "who are you?")));
    assert!(listener.is_empty());
}

async fn an_incoming_client_that_is_dropped_is_rejected<R: Runtime>() {
    let listener = listen::<R>().await;
    let client = connect::<R>(&listener.local_url(), config());
    drop(listener.accept().await.unwrap());
    assert!(client.ready().await.is_err());
}

async fn a_client_goes_to_the_next_address<R: Runtime>() {
    let listener = listen::<R>().await;
    let reserved = Reserved::default();
    let connector = Connector::<R>::new(reserved.url()).address(listener.local_url()).config(config());
    let client = connector.connect().unwrap();
    let server = accept(&listener).await;
    client.send("found").await.unwrap();
    assert_eq!(recv(&server).await, "found");
}
