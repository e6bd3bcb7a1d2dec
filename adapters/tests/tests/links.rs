//! How links are used: few writes, any pieces, and a server that survives what accepting throws at it.

use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use futures_lite::future::zip;
use steadfast_adapter_tests::{
    Authority, Ends, Meddling, Meter, Proxy, Reserved, accept, config, connect, ends, listen, on_every_runtime, recv,
};
use steadfast_driver::runtime::Runtime;
use steadfast_driver::{Change, Changes, Connector, Listener};

on_every_runtime!(
    small_messages_sent_in_a_loop_share_writes,
    small_messages_whose_sends_are_awaited_share_writes,
    an_idle_socket_writes_nothing,
    links_that_move_single_bytes_carry_everything,
    tls_links_that_move_small_pieces_carry_everything,
    a_server_without_room_for_another_link_goes_on_accepting,
    every_address_of_a_host_is_tried,
    an_address_that_does_not_answer_does_not_hold_up_the_next,
    why_a_link_went_down_is_told,
    both_sides_are_told_that_the_other_has_hung_up,
);

/// Where a UDP socket hears that nobody listens.
#[cfg(target_os = "linux")]
mod hearing {
    use super::*;

    on_every_runtime!(a_udp_port_where_nobody_listens_is_told);

    async fn a_udp_port_where_nobody_listens_is_told<R: Runtime>() {
        // It hears only itself, and keeps the port from everybody else.
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
        nobody.connect(nobody.local_addr().unwrap()).unwrap();
        let client = connect::<R>(&format!("udp://{}", nobody.local_addr().unwrap()), config());
        let why = next_loss(&mut client.changes()).await;
        assert!(why.contains("refused"), "{why}");
    }
}

/// Why the next link goes down.
async fn next_loss(changes: &mut Changes) -> String {
    loop {
        if let Change::LinkLost(loss) = changes.next().await.expect("the socket lives") {
            return loss.reason.to_string();
        }
    }
}

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

async fn every_address_of_a_host_is_tried<R: Runtime>() {
    let (listener, refusing) = (listen::<R>().await, [Reserved::default(), Reserved::default()]);
    let meter = Meter::install();
    let good = listener.local_url().strip_prefix("tcp://").unwrap().parse().unwrap();
    meter.resolve_to(vec![refusing[0].address(), refusing[1].address(), good]);
    let client = connect::<Meddling<R>>("tcp://any-host:1", config());
    let _server = accept(&listener).await;
    client.ready().await.unwrap();
    let mut changes = client.changes();
    while let Some(Some(change)) = futures_lite::future::poll_once(changes.next()).await {
        assert!(!matches!(change, Change::LinkLost(_)), "it was one attempt: {change:?}");
    }
}

async fn an_address_that_does_not_answer_does_not_hold_up_the_next<R: Runtime>() {
    let (listener, silent) = (listen::<R>().await, Reserved::default());
    let meter = Meter::install();
    let good = listener.local_url().strip_prefix("tcp://").unwrap().parse().unwrap();
    meter.silence(silent.address());
    meter.resolve_to(vec![silent.address(), good]);
    let started = Instant::now();
    let client = connect::<Meddling<R>>("tcp://any-host:1", config());
    let _server = accept(&listener).await;
    client.ready().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

async fn why_a_link_went_down_is_told<R: Runtime>() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = connect::<R>(&format!("tcp://{}", server.local_addr().unwrap()), config());
    let mut changes = client.changes();
    let resetting = std::thread::spawn(move || {
        let (mut link, _) = server.accept().unwrap();
        link.read_exact(&mut [0]).unwrap();
        // With this a close is a reset.
        socket2::SockRef::from(&link).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let why = next_loss(&mut changes).await;
    assert!(why.contains("reset"), "{why}");
    resetting.join().unwrap();
}

async fn both_sides_are_told_that_the_other_has_hung_up<R: Runtime>() {
    let listener = listen::<R>().await;
    let proxy = Proxy::to(&listener.local_url());
    let client = connect::<R>(&proxy.url(), config());
    let server = accept(&listener).await;
    client.ready().await.unwrap();
    let mut changes = [client.changes().from_now(), server.changes().from_now()];
    proxy.cut();
    for changes in &mut changes {
        let why = next_loss(changes).await;
        assert!(why.contains("the peer has hung up"), "{why}");
    }
}
