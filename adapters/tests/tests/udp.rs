//! What only UDP does: datagrams that are lost, doubled, swapped or no datagrams of ours, and addresses that change.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use futures_lite::future::zip;
use steadfast_adapter_tests::{
    Harm, LossyProxy, accept, config, connect, listen, on_every_runtime, over_udp, pass, recv, serve_at, text,
};
use steadfast_driver::runtime::Runtime;
use steadfast_driver::{Change, CloseReason, Config, Connector, Listener, Received, Socket, State};

on_every_runtime!(
    what_a_bad_path_does_to_datagrams_changes_nothing,
    a_client_whose_address_changes_loses_nothing,
    a_client_that_is_told_of_a_new_network_goes_on_at_once,
    a_path_that_falls_silent_and_comes_back_costs_nothing,
    a_client_is_there_before_its_server,
    a_server_that_comes_back_is_found_again,
    many_clients_share_one_port,
    datagrams_of_strangers_are_passed_over,
    large_datagrams_carry_large_messages,
    datagrams_larger_than_the_interface_takes_are_named,
    both_families_of_addresses_work,
    a_close_outlives_the_loss_of_its_answers,
);

/// Where all of 127.0.0.0/8 is this machine.
#[cfg(target_os = "linux")]
mod everywhere {
    use super::*;

    on_every_runtime!(a_server_at_all_addresses_answers_from_the_one_that_was_called);

    async fn a_server_at_all_addresses_answers_from_the_one_that_was_called<R: Runtime>() {
        let listener = serve_at::<R>("udp://0.0.0.0:0").await;
        let url = listener.local_url().replace("0.0.0.0", "127.0.0.2");
        let client = connect::<R>(&url, config());
        let server = accept(&listener).await;
        client.ready_timeout(Duration::from_secs(5)).await.unwrap();
        client.send("called").await.unwrap();
        assert_eq!(recv(&server).await, "called");
    }
}

const BAD: Harm = Harm { lost: 5, doubled: 3, swapped: 5, corrupted: 2 };

async fn udp<R: Runtime>() -> Listener<R> {
    serve_at::<R>("udp://127.0.0.1:0").await
}

/// Notices silence soon.
fn impatient() -> Config {
    let mut config = config();
    config.silence = Duration::from_millis(300);
    config
}

async fn numbers(socket: &Socket, range: std::ops::Range<u32>) {
    for number in range {
        socket.send(number.to_string()).await.unwrap();
    }
}

async fn expect_numbers(socket: &Socket, range: std::ops::Range<u32>) {
    for number in range {
        assert_eq!(text(socket).await, number.to_string());
    }
}

async fn what_a_bad_path_does_to_datagrams_changes_nothing<R: Runtime>() {
    let listener = udp::<R>().await;
    let proxy = LossyProxy::to(&listener.local_url(), BAD);
    let client = connect::<R>(&proxy.url(), config());
    let server = accept(&listener).await;
    let up = zip(numbers(&client, 0..5000), expect_numbers(&server, 0..5000));
    let down = zip(numbers(&server, 0..5000), expect_numbers(&client, 0..5000));
    zip(up, down).await;
    for size in [0, 1, 2000, 300_000] {
        client.send(vec![7; size]).await.unwrap();
        assert_eq!(recv(&server).await, vec![7; size]);
    }
    let closed = client.close(CloseReason::app(0, "done")).await;
    assert!(closed.clean, "{closed:?}");
}

async fn a_client_whose_address_changes_loses_nothing<R: Runtime>() {
    let listener = udp::<R>().await;
    let proxy = LossyProxy::to(&listener.local_url(), Harm::default());
    let client = connect::<R>(&proxy.url(), impatient());
    let server = accept(&listener).await;
    for round in 0..3 {
        let range = round * 300..(round + 1) * 300;
        let moving = async {
            expect_numbers(&server, range.start..range.start + 100).await;
            proxy.move_clients();
            expect_numbers(&server, range.start + 100..range.end).await;
        };
        zip(numbers(&client, range.clone()), moving).await;
        server.send("back").await.unwrap();
        assert_eq!(text(&client).await, "back");
    }
    assert_eq!(listener.len(), 1);
}

async fn a_client_that_is_told_of_a_new_network_goes_on_at_once<R: Runtime>() {
    let listener = udp::<R>().await;
    let proxy = LossyProxy::to(&listener.local_url(), Harm::default());
    let client = connect::<R>(&proxy.url(), config());
    let server = accept(&listener).await;
    client.ready().await.unwrap();
    let start = Instant::now();
    proxy.move_clients();
    client.reconnect_now();
    client.send("from elsewhere").await.unwrap();
    server.send("welcome").await.unwrap();
    assert_eq!((text(&server).await, text(&client).await), ("from elsewhere".into(), "welcome".into()));
    assert!(start.elapsed() < config().silence / 2, "{:?}", start.elapsed());
    assert_eq!((client.stats().resumes, listener.len()), (1, 1));
}

async fn a_path_that_falls_silent_and_comes_back_costs_nothing<R: Runtime>() {
    let listener = udp::<R>().await;
    let proxy = LossyProxy::to(&listener.local_url(), Harm::default());
    let client = connect::<R>(&proxy.url(), impatient());
    let server = accept(&listener).await;
    client.ready().await.unwrap();
    proxy.silence(true);
    numbers(&client, 0..100).await;
    numbers(&server, 0..100).await;
    client.wait_state(State::Disconnected).await.unwrap();
    proxy.silence(false);
    zip(expect_numbers(&server, 0..100), expect_numbers(&client, 0..100)).await;
}

async fn a_client_is_there_before_its_server<R: Runtime>() {
    let url = format!("udp://{}", UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let client = connect::<R>(&url, config());
    client.send("early").await.unwrap();
    pass::<R>(Duration::from_millis(50)).await;
    let listener = serve_at::<R>(&url).await;
    let server = accept(&listener).await;
    assert_eq!(text(&server).await, "early");
}

async fn a_server_that_comes_back_is_found_again<R: Runtime>() {
    let listener = udp::<R>().await;
    let url = listener.local_url();
    let client = connect::<R>(&url, impatient());
    let server = accept(&listener).await;
    client.ready().await.unwrap();
    let closed = zip(listener.close(CloseReason::app(7, "restart")), client.closed()).await.1;
    assert_eq!(closed.remote.map(|reason| reason.reason.to_string()), Some("restart".into()));
    drop((listener, server));
    let listener = serve_at::<R>(&url).await;
    let client = connect::<R>(&url, impatient());
    let server = accept(&listener).await;
    client.send("again").await.unwrap();
    assert_eq!(text(&server).await, "again");
}

async fn many_clients_share_one_port<R: Runtime>() {
    let listener = udp::<R>().await;
    let url = listener.local_url();
    let clients: Vec<Socket> = (0..50).map(|_| connect::<R>(&url, config())).collect();
    for (index, client) in clients.iter().enumerate() {
        client.send(index.to_string()).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut servers = Vec::new();
    for _ in 0..50 {
        let server = accept(&listener).await;
        let name = text(&server).await;
        server.send(format!("hello {name}")).await.unwrap();
        seen.push(name.parse::<usize>().unwrap());
        servers.push(server);
    }
    for (index, client) in clients.iter().enumerate() {
        assert_eq!(text(client).await, format!("hello {index}"));
    }
    seen.sort_unstable();
    assert_eq!(seen, Vec::from_iter(0..50));
}

async fn datagrams_of_strangers_are_passed_over<R: Runtime>() {
    let listener = udp::<R>().await;
    let url = listener.local_url();
    let client = connect::<R>(&url, config());
    let server = accept(&listener).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.connect(url.strip_prefix("udp://").unwrap()).unwrap();
    for round in 0..200u8 {
        for len in [0, 1, 13, 60, 1200] {
            let noise: Vec<u8> = (0..len).map(|at: u32| (at as u8).wrapping_mul(31).wrapping_add(round)).collect();
            drop(stranger.send(&noise));
        }
        client.send(round.to_string()).await.unwrap();
        assert_eq!(text(&server).await, round.to_string());
    }
    assert_eq!(listener.len(), 1);
}

async fn large_datagrams_carry_large_messages<R: Runtime>() {
    let listener = Listener::<R>::builder("udp://127.0.0.1:0").mtu(60_000).bind().await.unwrap();
    let client = Connector::<R>::new(listener.local_url()).mtu(60_000).connect().unwrap();
    let server = accept(&listener).await;
    client.send(vec![1; 1_000_000]).await.unwrap();
    assert_eq!(recv(&server).await, vec![1; 1_000_000]);
    server.send(vec![2; 1_000_000]).await.unwrap();
    assert_eq!(recv(&client).await, vec![2; 1_000_000]);
}

async fn datagrams_larger_than_the_interface_takes_are_named<R: Runtime>() {
    // More than the length of any datagram can say.
    const TOO_LARGE: u16 = 65_535;
    for [of_client, of_server] in [[TOO_LARGE, 1200], [1200, TOO_LARGE]] {
        let listener = Listener::<R>::builder("udp://127.0.0.1:0").mtu(of_server).bind().await.unwrap();
        let client = Connector::<R>::new(listener.local_url()).mtu(of_client).connect().unwrap();
        let server = accept(&listener).await;
        client.ready().await.unwrap();
        let sender = if of_client == TOO_LARGE { &client } else { &server };
        let mut changes = sender.changes().from_now();
        sender.send(vec![1; 1_000_000]).await.unwrap();
        let loss = loop {
            if let Some(Change::LinkLost(loss)) = changes.next().await {
                break loss;
            }
        };
        let named = "a datagram of 65535 bytes is more than the network interface takes (`mtu` is 65535)";
        assert!(loss.reason.reason.contains(named), "{loss:?}");
    }
}

async fn both_families_of_addresses_work<R: Runtime>() {
    for url in ["udp://[::1]:0", "udp://127.0.0.1:0", "udp://localhost:0"] {
        let listener = serve_at::<R>(url).await;
        let client = connect::<R>(&listener.local_url(), config());
        let server = accept(&listener).await;
        client.send(url).await.unwrap();
        assert_eq!(text(&server).await, url);
    }
}

async fn a_close_outlives_the_loss_of_its_answers<R: Runtime>() {
    for seed in 0..5 {
        let listener = udp::<R>().await;
        let proxy = LossyProxy::to(&listener.local_url(), Harm { lost: 30, ..Harm::default() });
        let client = connect::<R>(&proxy.url(), impatient());
        let server = accept(&listener).await;
        numbers(&client, 0..20).await;
        let receiving = async {
            let mut received = 0;
            while let Some(Received::Message(_)) = server.recv().await {
                received += 1;
            }
            (received, server.closed().await)
        };
        let (here, (received, there)) = zip(client.close(CloseReason::app(seed, "bye")), receiving).await;
        assert_eq!(received, 20);
        assert!(here.clean && there.clean, "{here:?}, {there:?}");
    }
}

/// The tests of other files run over UDP, too; here it is made sure that they do.
#[test]
fn tests_over_udp_run_over_udp() {
    over_udp(|| {
        steadfast_adapter_tests::run_on_smol(async {
            assert!(listen::<steadfast_smol::Smol>().await.local_url().starts_with("udp://"));
        });
    });
}
