//! How links are used: few writes, any pieces, and a server that survives what accepting throws at it.

use std::time::{Duration, Instant};

use futures_lite::future::zip;
use steadfast_adapter_tests::{
    Authority, Ends, Meddling, Meter, accept, config, connect, ends, listen, on_every_runtime, recv,
};
use steadfast_driver::runtime::Runtime;
use steadfast_driver::{Connector, Listener};

on_every_runtime!(
    small_messages_sent_in_a_loop_share_writes,
    small_messages_whose_sends_are_awaited_share_writes,
    an_idle_socket_writes_nothing,
    links_that_move_single_bytes_carry_everything,
    tls_links_that_move_small_pieces_carry_everything,
    a_server_without_room_for_another_link_goes_on_accepting,
);

const COUNT: usize = 2000;

async fn receive_all(socket: &steadfast_driver::Socket) {
    for index in 0..COUNT {
        assert_eq!(recv(socket).await, index.to_string());
    }
}

/// A client whose writes are counted, ready.
async fn metered<R: Runtime>() -> (Ends<R>, std::sync::Arc<Meter>) {
    let listener = listen::<R>().await;
    let meter = Meter::install();
    let client = connect::<Meddling<R>>(&listener.local_url(), config());
    let server = accept(&listener).await;
    client.ready().await.unwrap();
    (Ends { client, server, listener }, meter)
}

async fn small_messages_sent_in_a_loop_share_writes<R: Runtime>() {
    let (Ends { client, server, listener: _listener }, meter) = metered::<R>().await;
    let before = meter.writes();
    for index in 0..COUNT {
        client.try_send(index.to_string()).unwrap();
    }
    receive_all(&server).await;
    let writes = meter.writes() - before;
    assert!(writes <= COUNT / 4, "{writes} writes for {COUNT} messages");
}

async fn small_messages_whose_sends_are_awaited_share_writes<R: Runtime>() {
    let (Ends { client, server, listener: _listener }, meter) = metered::<R>().await;
    let before = meter.writes();
    let sending = async {
        for index in 0..COUNT {
            client.send(index.to_string()).await.unwrap();
        }
    };
    zip(sending, receive_all(&server)).await;
    let writes = meter.writes() - before;
    assert!(writes <= COUNT / 4, "{writes} writes for {COUNT} messages");
}

async fn an_idle_socket_writes_nothing<R: Runtime>() {
    let (Ends { client, server, listener: _listener }, meter) = metered::<R>().await;
    client.send("hello").await.unwrap();
    recv(&server).await;
    client.confirmed().await.unwrap();
    let before = meter.writes();
    steadfast_adapter_tests::pass::<R>(Duration::from_millis(200)).await;
    assert_eq!(meter.writes(), before);
}

async fn links_that_move_single_bytes_carry_everything<R: Runtime>() {
    let meter = Meter::install();
    meter.cut_into_pieces(1);
    let Ends { client, server, listener: _listener } = ends::<Meddling<R>>().await;
    for size in [0, 1, 100, 5000] {
        client.send(vec![7; size]).await.unwrap();
        server.send(vec![8; size]).await.unwrap();
        assert_eq!(recv(&server).await, vec![7; size]);
        assert_eq!(recv(&client).await, vec![8; size]);
    }
    client.reconnect_now();
    client.send("after a resume").await.unwrap();
    assert_eq!(recv(&server).await, "after a resume");
}

async fn tls_links_that_move_small_pieces_carry_everything<R: Runtime>() {
    let meter = Meter::install();
    meter.cut_into_pieces(7);
    let authority = Authority::default();
    let builder = Listener::<Meddling<R>>::builder("tls://localhost:0").tls(authority.server("localhost"));
    let listener = builder.bind().await.unwrap();
    let client = Connector::<Meddling<R>>::new(listener.local_url()).tls(authority.trusted()).connect().unwrap();
    let server = accept(&listener).await;
    for size in [0, 1, 100, 50_000] {
        client.send(vec![7; size]).await.unwrap();
        server.send(vec![8; size]).await.unwrap();
        assert_eq!(recv(&server).await, vec![7; size]);
        assert_eq!(recv(&client).await, vec![8; size]);
    }
}

async fn a_server_without_room_for_another_link_goes_on_accepting<R: Runtime>() {
    let meter = Meter::install();
    let listener = listen::<Meddling<R>>().await;
    meter.refuse(2);
    let started = Instant::now();
    let client = connect::<R>(&listener.local_url(), config());
    let _server = accept(&listener).await;
    client.ready().await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(100), "it paused instead of trying without end");
}
