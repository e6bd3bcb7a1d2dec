//! The ends of sockets and servers (PEERS.md 18–21).

use std::time::{Duration, Instant};

use futures_lite::future::zip;
use steadfast_adapter_tests::{
    Ends, Meddling, Meter, accept, config, connect, ends, ends_with, listen, on_every_runtime_and_transport, serve_at,
    serve_with, text, within,
};
use steadfast_driver::runtime::Runtime;
use steadfast_driver::{CloseReason, Fate, NotConfirmed, Received, SendErrorKind, Socket, State};

on_every_runtime_and_transport!(
    twenty_messages_and_a_close_arrive_from_the_client,
    twenty_messages_and_a_close_arrive_from_the_server,
    messages_written_before_ready_and_a_close_arrive,
    the_last_bytes_get_out_when_the_handle_is_dropped,
    a_dropped_server_handle_closes_the_client,
    finishing_is_half_a_close,
    closing_the_server_closes_its_clients_at_once,
    dropping_the_listener_closes_its_clients,
    receivers_and_iterators_end_on_close,
    abort_hands_back_what_is_unconfirmed,
    the_address_is_free_after_a_close,
    an_abort_reaches_a_client_that_is_sending,
    a_send_that_waits_ends_when_this_side_finishes,
    a_close_with_messages_unread_waits_for_them_or_for_their_end,
    closing_the_server_takes_no_longer_than_it_may_for_a_client_that_does_not_read,
    a_close_that_has_taken_all_its_time_reaches_every_client,
);

async fn all(socket: &Socket) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(received) = socket.recv().await {
        texts.push(String::from_utf8(received.message().payload.to_vec()).unwrap());
    }
    texts
}

fn twenty() -> Vec<String> {
    (0..20).map(|index| format!("message {index}")).collect()
}

async fn send_twenty(socket: &Socket) {
    for message in twenty() {
        socket.send(message).await.unwrap();
    }
}

async fn twenty_messages_and_a_close_arrive_from_the_client<R: Runtime>() {
    let Ends { client, server, listener } = ends::<R>().await;
    send_twenty(&client).await;
    let (closed, received) = zip(client.close(CloseReason::app(7, "done")), all(&server)).await;
    assert_eq!(received, twenty());
    assert!(closed.clean, "{closed:?}");
    let theirs = server.closed().await;
    assert!(theirs.clean);
    assert_eq!(theirs.remote, Some(CloseReason::app(7, "done")));
    assert_eq!(listener.len(), 0);
    assert_eq!(client.send("more").await.unwrap_err().kind, SendErrorKind::Closed);
}

async fn twenty_messages_and_a_close_arrive_from_the_server<R: Runtime>() {
    let Ends { client, server, listener } = ends::<R>().await;
    send_twenty(&server).await;
    let (closed, received) = zip(server.close(CloseReason::app(8, "enough")), all(&client)).await;
    assert_eq!(received, twenty());
    assert!(closed.clean, "{closed:?}");
    assert_eq!(client.closed().await.remote, Some(CloseReason::app(8, "enough")));
    assert_eq!(listener.len(), 0);
}

async fn messages_written_before_ready_and_a_close_arrive<R: Runtime>() {
    let listener = listen::<R>().await;
    let client = connect::<R>(&listener.local_url(), config());
    send_twenty(&client).await;
    let serving = async { all(&accept(&listener).await).await };
    let (closed, received) = zip(client.close(CloseReason::app(0, "")), serving).await;
    assert_eq!(received, twenty());
    assert!(closed.clean);
}

async fn the_last_bytes_get_out_when_the_handle_is_dropped<R: Runtime>() {
    let listener = listen::<R>().await;
    let client = connect::<R>(&listener.local_url(), config());
    let sending = async move {
        send_twenty(&client).await;
        client.send(vec![b'x'; 1_000_000]).await.unwrap();
    };
    let serving = async { accept(&listener).await };
    let ((), server) = zip(sending, serving).await;
    // Nobody reads this at the client's, and it may come after the close: neither keeps the socket from closing.
    let _ = server.try_send("are you there?");
    let received = all(&server).await;
    assert_eq!(received[..20], twenty());
    assert_eq!(received[20].len(), 1_000_000);
    assert!(server.closed().await.clean);
}

async fn a_dropped_server_handle_closes_the_client<R: Runtime>() {
    let Ends { client, server, listener } = ends::<R>().await;
    client.send("unread").await.unwrap();
    server.send("last words").await.unwrap();
    drop(server);
    assert_eq!(all(&client).await, ["last words"]);
    client.closed().await;
    assert_eq!(listener.len(), 0);
    assert!(listener.sockets().is_empty());
}

async fn finishing_is_half_a_close<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    send_twenty(&client).await;
    let finished = client.finish();
    assert_eq!(client.try_send("more").unwrap_err().kind, SendErrorKind::Closed);
    let (finished, received) = zip(finished, all(&server)).await;
    assert_eq!((finished, received), (Ok(()), twenty()));
    server.send("the other way").await.unwrap();
    assert_eq!(text(&client).await, "the other way");
    let (finished, rest) = zip(server.finish(), all(&client)).await;
    assert_eq!((finished, rest), (Ok(()), Vec::new()));
    assert_eq!((client.state(), server.state()), (State::Ready, State::Ready));
}

async fn closing_the_server_closes_its_clients_at_once<R: Runtime>() {
    let listener = listen::<R>().await;
    let mut clients = Vec::new();
    let mut servers = Vec::new();
    for _ in 0..5 {
        let client = connect::<R>(&listener.local_url(), config());
        servers.push(accept(&listener).await);
        client.ready().await.unwrap();
        clients.push(client);
    }
    let started = Instant::now();
    listener.close(CloseReason::app(9, "maintenance")).await;
    for client in &clients {
        assert_eq!(client.closed().await.remote, Some(CloseReason::app(9, "maintenance")));
    }
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    assert_eq!(listener.len(), 0);
    assert!(listener.accept().await.is_none());
}

async fn dropping_the_listener_closes_its_clients<R: Runtime>() {
    let Ends { client, server, listener } = ends::<R>().await;
    drop(listener);
    client.closed().await;
    server.closed().await;
}

async fn receivers_and_iterators_end_on_close<R: Runtime>() {
    use futures_lite::StreamExt;
    let Ends { client, server, listener } = ends::<R>().await;
    let lane = client.open_lane(steadfast_driver::LaneOptions::default()).await.unwrap();
    let (_half, mut stream) = client.clone().split();
    let mut changes = client.changes().from_now();
    let mut answers = client.ask_stream("never answered", None);
    let waiting = async {
        let receiving = zip(client.recv(), client.recv_volatile());
        let lanes = zip(client.accept_lane(), lane.recv());
        let streams = zip(stream.next(), async { while changes.next().await.is_some() {} });
        let asks = async { while answers.next().await.is_some() {} };
        let lost = zip(client.lost(), client.closed());
        zip(zip(receiving, lanes), zip(zip(streams, asks), lost)).await
    };
    let closing = async {
        assert!(matches!(server.recv().await, Some(Received::Ask(_))));
        server.abort(CloseReason::app(1, "over"));
        drop(listener);
    };
    let ((((received, volatile), (accepted, lane)), (((streamed, ()), ()), (lost, closed))), ()) =
        zip(waiting, closing).await;
    assert!(received.is_none() && volatile.is_none() && accepted.is_none() && lane.is_none() && streamed.is_none());
    assert!(lost.is_none());
    assert_eq!(closed.remote, Some(CloseReason::app(1, "over")));
}

async fn abort_hands_back_what_is_unconfirmed<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    client.send("taken").await.unwrap();
    assert_eq!(text(&server).await, "taken");
    client.confirmed().await.unwrap();
    client.disconnect();
    client.send("written").await.unwrap();
    client.send("while away").await.unwrap();
    let mut confirmed = std::pin::pin!(client.confirmed());
    assert!(futures_lite::future::poll_once(confirmed.as_mut()).await.is_none());
    client.abort(CloseReason::app(2, "stop"));
    for late in [client.confirmed().await, client.main_lane().finish().await] {
        assert_eq!(late, Err(NotConfirmed::Closed), "before anybody was told of the end");
    }
    let closed = client.closed().await;
    assert_eq!((closed.clean, closed.unconfirmed), (false, 2));
    assert_eq!(confirmed.await, Err(NotConfirmed::Closed));
    let texts: Vec<_> = client.take_unconfirmed().into_iter().map(|one| (one.message.payload, one.fate)).collect();
    assert_eq!(texts, [("written".into(), Fate::Unsent), ("while away".into(), Fate::Unsent)]);
    assert!(client.take_unconfirmed().is_empty());
}

async fn the_address_is_free_after_a_close<R: Runtime>() {
    let Ends { client, server, listener } = ends::<R>().await;
    let url = listener.local_url();
    listener.close(CloseReason::app(0, "")).await;
    let next = serve_at::<R>(&url).await;
    assert_eq!(next.local_url(), url);
    drop((client, server));
}

async fn an_abort_reaches_a_client_that_is_sending<R: Runtime>() {
    let mut manual = config();
    manual.reconnect = false;
    let Ends { client, server, listener: _listener } = ends_with::<R>(manual, config()).await;
    // More than the server takes: its end of the link closes over bytes that nobody reads.
    for _ in 0..4 {
        client.send(vec![0; 4_000_000]).await.unwrap();
    }
    server.abort(CloseReason::app(1, "stop it"));
    assert_eq!(client.closed().await.remote, Some(CloseReason::app(1, "stop it")));
}

async fn a_send_that_waits_ends_when_this_side_finishes<R: Runtime>() {
    let mut small = config();
    small.send_messages = 1;
    let Ends { client, server: _server, listener: _listener } = ends_with::<R>(small, config()).await;
    client.send("nobody takes it").await.unwrap();
    let (sent, _) = zip(client.send("waits"), async { drop(client.finish()) }).await;
    assert_eq!(sent.unwrap_err().kind, SendErrorKind::Closed);
}

async fn a_close_with_messages_unread_waits_for_them_or_for_their_end<R: Runtime>() {
    for discard in [false, true] {
        let Ends { client, server, listener: _listener } = ends::<R>().await;
        server.send("unread").await.unwrap();
        while client.stats().recv_queue_bytes == 0 {
            futures_lite::future::yield_now().await;
        }
        let mut close = client.close(CloseReason::app(0, ""));
        assert!(futures_lite::future::poll_once(&mut close).await.is_none());
        if discard {
            client.discard();
        } else {
            assert_eq!(text(&client).await, "unread");
        }
        assert!(zip(close, all(&server)).await.0.clean);
    }
}

async fn closing_the_server_takes_no_longer_than_it_may_for_a_client_that_does_not_read<R: Runtime>() {
    let mut hasty = config();
    hasty.close_timeout = Duration::from_millis(300);
    let meter = Meter::install();
    let listener = serve_with::<Meddling<R>>(hasty).await;
    let url = listener.local_url();
    let client = connect::<R>(&url, config());
    let server = accept(&listener).await;
    client.ready().await.unwrap();
    meter.fill_up();
    server.send("never read").await.unwrap();
    // Less than a link that was hung up may take for its last bytes.
    within::<R, _>(Duration::from_secs(3), "the close", listener.close(CloseReason::app(0, ""))).await;
    assert_eq!(server.state(), State::Closed);
    serve_at::<R>(&url).await;
}

async fn a_close_that_has_taken_all_its_time_reaches_every_client<R: Runtime>() {
    let mut hasty = config();
    hasty.close_timeout = Duration::from_millis(300);
    let listener = serve_with::<R>(hasty).await;
    let mut pairs = Vec::new();
    for _ in 0..50 {
        let client = connect::<R>(&listener.local_url(), config());
        let server = accept(&listener).await;
        client.ready().await.unwrap();
        // What is not read keeps the client from being done.
        server.send("never read").await.unwrap();
        pairs.push((client, server));
    }
    listener.close(CloseReason::app(0, "")).await;
    for (client, _) in &pairs {
        // Less than the clients give the close by themselves.
        within::<R, _>(Duration::from_secs(5), "the end", client.closed()).await;
    }
}
