//! Messages and lanes: in order, whole, once (PEERS.md 9, 11–13).

use std::collections::VecDeque;

use bytes::Bytes;
use steadfast_adapter_tests::{
    Ends, Reserved, accept, config, connect, ends, ends_with, listen, on_every_runtime_and_transport, recv, serve_at,
    text,
};
use steadfast_driver::runtime::Runtime;
use steadfast_driver::{
    AnyLane, LaneOptions, Message, NotConfirmed, Received, SendConfirmedError, SendErrorKind, SendOptions, Socket,
    State,
};

on_every_runtime_and_transport!(
    messages_come_back_in_order,
    any_bytes_of_any_size_up_to_the_limit_arrive_as_they_were,
    a_message_over_the_peers_limit_is_refused_locally,
    a_full_buffer_refuses_and_what_it_took_arrives_in_order,
    a_full_buffer_on_the_servers_side_does_the_same,
    a_send_waits_for_room,
    many_messages_go_and_come_at_once,
    what_is_refused_among_many_stays_in_the_queue,
    clients_are_independent_and_all_get_a_broadcast,
    two_sockets_of_one_process_do_not_mix,
    a_lane_is_apart_from_the_main_lane_and_others,
    a_lane_that_nobody_holds_is_over_for_the_peer,
    a_confirmation_means_that_the_application_has_it,
    what_waits_can_be_taken_back_or_be_replaced,
    a_volatile_message_goes_at_once_or_not_at_all,
    halves_are_a_sink_and_a_stream,
    statistics_count,
);

async fn messages_come_back_in_order<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    for count in [3, 50] {
        for index in 0..count {
            client.send(format!("message {index}")).await.unwrap();
        }
        for _ in 0..count {
            let message = recv(&server).await;
            server.send(message).await.unwrap();
        }
        for index in 0..count {
            assert_eq!(text(&client).await, format!("message {index}"));
        }
    }
}

async fn any_bytes_of_any_size_up_to_the_limit_arrive_as_they_were<R: Runtime>() {
    let limit = 3_000_000;
    let mut config = config();
    config.max_message = limit;
    let Ends { client, server, listener: _listener } = ends_with::<R>(config.clone(), config).await;
    let payload = |size: usize| Bytes::from_iter((0..size).map(|index| (index * 31 % 251) as u8));
    let sizes = [0, 1, 127, 128, 16_383, 65_536, 1_000_003, limit];
    let sending = async {
        for size in sizes {
            client.send(payload(size)).await.unwrap();
        }
    };
    let receiving = async {
        for size in sizes {
            assert!(recv(&server).await == payload(size), "{size} bytes");
        }
    };
    futures_lite::future::zip(sending, receiving).await;
}

async fn many_messages_go_and_come_at_once<R: Runtime>() {
    let mut config = config();
    config.max_message = 1 << 10;
    config.send_buffer = 16 << 10;
    let Ends { client, server, listener: _listener } = ends_with::<R>(config.clone(), config).await;
    let texts = Vec::from_iter((0..2_000).map(|index| format!("message {index}")));
    let sending = async {
        let mut queue = VecDeque::from_iter(texts.iter().cloned().map(Message::new));
        client.send_many(&mut queue).await.unwrap();
        assert!(queue.is_empty());
        client.finish().await.unwrap();
    };
    let receiving = async {
        let mut all = Vec::new();
        loop {
            let before = all.len();
            let count = server.recv_many(&mut all, 100).await;
            assert_eq!(all.len(), before + count);
            assert!(count <= 100);
            if count == 0 {
                return all;
            }
        }
    };
    let ((), received) = futures_lite::future::zip(sending, receiving).await;
    let message = |text: &String| Received::Message(Message::new(text.clone()));
    assert!(received.iter().map(debug).eq(texts.iter().map(message).map(|message| debug(&message))));
}

fn debug(received: &Received) -> String {
    format!("{received:?}")
}

async fn what_is_refused_among_many_stays_in_the_queue<R: Runtime>() {
    let mut small = config();
    small.max_message = 1000;
    let Ends { client, server, listener: _listener } = ends_with::<R>(config(), small).await;
    let mut queue = VecDeque::from_iter([10, 1000, 1001, 7].map(|size| Message::new(vec![7; size])));
    let refused = client.send_many(&mut queue).await.unwrap_err();
    assert_eq!(refused, SendErrorKind::TooLarge { what: "message", size: 1001, limit: 1000 });
    assert_eq!(queue.iter().map(|message| message.payload.len()).collect::<Vec<_>>(), [1001, 7]);
    queue.pop_front();
    client.send_many(&mut queue).await.unwrap();
    for size in [10, 1000, 7] {
        assert_eq!(recv(&server).await.len(), size);
    }
}

async fn a_message_over_the_peers_limit_is_refused_locally<R: Runtime>() {
    let mut small = config();
    small.max_message = 1000;
    let Ends { client, server, listener: _listener } = ends_with::<R>(config(), small).await;
    let error = client.send(vec![7; 1001]).await.unwrap_err();
    assert_eq!(error.kind, SendErrorKind::TooLarge { what: "message", size: 1001, limit: 1000 });
    assert_eq!(error.into_payload(), vec![7; 1001]);
    client.send(vec![7; 1000]).await.unwrap();
    assert_eq!(recv(&server).await.len(), 1000);
}

/// Five sends into room for three: answers what was taken.
fn fill(socket: &Socket) -> usize {
    let results: Vec<_> = (0..5).map(|index| socket.try_send(format!("message {index}"))).collect();
    for (index, result) in results.iter().enumerate().filter(|(_, result)| result.is_err()) {
        let error = result.as_ref().unwrap_err();
        assert!(matches!(error.kind, SendErrorKind::Full { buffered: 3, limit: 3, unit: "messages" }), "{error:?}");
        assert_eq!(error.message, Message::new(format!("message {index}")));
    }
    results.iter().filter(|result| result.is_ok()).count()
}

async fn a_full_buffer_refuses_and_what_it_took_arrives_in_order<R: Runtime>() {
    let reserved = Reserved::default();
    let mut config = config();
    config.send_messages = 3;
    let client = connect::<R>(&reserved.url(), config);
    assert_eq!(fill(&client), 3);
    let listener = serve_at::<R>(&reserved.url()).await;
    let server = accept(&listener).await;
    for index in 0..3 {
        assert_eq!(text(&server).await, format!("message {index}"));
    }
    client.send("later").await.unwrap();
    assert_eq!(text(&server).await, "later");
}

async fn a_full_buffer_on_the_servers_side_does_the_same<R: Runtime>() {
    let mut small = config();
    small.send_messages = 3;
    let mut manual = config();
    manual.reconnect = false;
    let Ends { client, server, listener: _listener } = ends_with::<R>(manual, small).await;
    client.disconnect();
    server.wait_state(State::Disconnected).await.unwrap();
    assert_eq!(fill(&server), 3);
    client.connect();
    for index in 0..3 {
        assert_eq!(text(&client).await, format!("message {index}"));
    }
    server.send("later").await.unwrap();
    assert_eq!(text(&client).await, "later");
}

async fn a_send_waits_for_room<R: Runtime>() {
    let mut small = config();
    small.send_buffer = 100_000;
    let Ends { client, server, listener: _listener } = ends_with::<R>(small, config()).await;
    let sending = async {
        for index in 0..200_u8 {
            client.send(vec![index; 10_000]).await.unwrap();
        }
    };
    let receiving = async {
        for index in 0..200_u8 {
            assert_eq!(recv(&server).await, vec![index; 10_000]);
        }
    };
    futures_lite::future::zip(sending, receiving).await;
}

async fn clients_are_independent_and_all_get_a_broadcast<R: Runtime>() {
    let listener = listen::<R>().await;
    let (one, two) = (connect::<R>(&listener.local_url(), config()), connect::<R>(&listener.local_url(), config()));
    let (first, second) = (accept(&listener).await, accept(&listener).await);
    assert_eq!(listener.len(), 2);
    one.ready().await.unwrap();
    two.ready().await.unwrap();
    assert_ne!(one.session_id(), two.session_id());
    one.send("one").await.unwrap();
    two.send("two").await.unwrap();
    let mut texts = [text(&first).await, text(&second).await];
    texts.sort();
    assert_eq!(texts, ["one", "two"]);
    let news = Message::new("to all").with_headers("{\"from\":\"server\"}");
    for socket in listener.sockets() {
        socket.send(news.clone()).await.unwrap();
    }
    for client in [one, two] {
        assert!(matches!(client.recv().await, Some(Received::Message(message)) if message == news));
    }
}

async fn two_sockets_of_one_process_do_not_mix<R: Runtime>() {
    let listener = listen::<R>().await;
    let mut pairs = Vec::new();
    for index in 0..2 {
        let client = connect::<R>(&listener.local_url(), config());
        client.send(format!("hello {index}")).await.unwrap();
        let server = accept(&listener).await;
        pairs.push((client, server));
    }
    for (index, (client, server)) in pairs.iter().enumerate() {
        assert_eq!(text(server).await, format!("hello {index}"));
        server.send(format!("welcome {index}")).await.unwrap();
        assert_eq!(text(client).await, format!("welcome {index}"));
    }
    let (client, server) = pairs.swap_remove(0);
    drop((client, server));
    pairs[0].0.send("still here").await.unwrap();
    assert_eq!(text(&pairs[0].1).await, "still here");
}

async fn a_lane_is_apart_from_the_main_lane_and_others<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    let options = |name: &str| LaneOptions { name: name.to_owned(), ..LaneOptions::default() };
    let (one, two) = (client.open_lane(options("one")).await.unwrap(), client.open_lane(options("two")).await.unwrap());
    client.send("main").await.unwrap();
    two.send("second").await.unwrap();
    one.send("first").await.unwrap();
    let mut theirs = Vec::new();
    for _ in 0..2 {
        let Some(AnyLane::Messages(lane)) = server.accept_lane().await else { panic!("no lane") };
        theirs.push(lane);
    }
    theirs.sort_by_key(|lane| lane.options().unwrap().name);
    for (lane, expected) in theirs.iter().zip(["first", "second"]) {
        assert!(matches!(lane.recv().await, Some(Received::Message(message)) if message.payload == expected));
        lane.send(format!("re: {expected}")).await.unwrap();
        assert!(lane.try_recv().is_none());
    }
    assert_eq!(text(&server).await, "main");
    assert!(server.try_recv().is_none());
    for (lane, expected) in [(&one, "re: first"), (&two, "re: second")] {
        assert!(matches!(lane.recv().await, Some(Received::Message(message)) if message.payload == expected));
    }
    one.finish().await.unwrap();
    assert!(theirs[0].recv().await.is_none());
    two.send("goes on").await.unwrap();
    assert!(theirs[1].recv().await.is_some());
}

async fn a_lane_that_nobody_holds_is_over_for_the_peer<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    let lane = client.open_lane(LaneOptions::default()).await.unwrap();
    lane.send("last").await.unwrap();
    drop(lane);
    let Some(AnyLane::Messages(theirs)) = server.accept_lane().await else { panic!("no lane") };
    assert!(matches!(theirs.recv().await, Some(Received::Message(message)) if message.payload == "last"));
    assert!(theirs.recv().await.is_none());
    theirs.send("into the void").await.unwrap();
    theirs.finish().await.unwrap();
    client.send("the socket lives").await.unwrap();
    assert_eq!(text(&server).await, "the socket lives");
}

async fn a_confirmation_means_that_the_application_has_it<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    let sent = client.send_with("taken", SendOptions::default()).await.unwrap();
    client.send("plain").await.unwrap();
    let mut confirmed = std::pin::pin!(sent.confirmed());
    let early = futures_lite::future::poll_once(confirmed.as_mut()).await;
    assert_eq!(early, None);
    assert_eq!(text(&server).await, "taken");
    assert_eq!(confirmed.await, Ok(()));
    let all = futures_lite::future::poll_once(std::pin::pin!(client.confirmed())).await;
    assert_eq!(all, None, "the plain one was not taken");
    assert_eq!(text(&server).await, "plain");
    client.confirmed().await.unwrap();
    let receiving = async { text(&server).await };
    let both = futures_lite::future::zip(client.send_confirmed("and this"), receiving).await;
    assert_eq!(both, (Ok(()), "and this".to_owned()));
    // The same from the server's side.
    server.send("back").await.unwrap();
    let receiving = async { text(&client).await };
    assert_eq!(futures_lite::future::zip(server.confirmed(), receiving).await, (Ok(()), "back".to_owned()));
}

async fn what_waits_can_be_taken_back_or_be_replaced<R: Runtime>() {
    let reserved = Reserved::default();
    let client = connect::<R>(&reserved.url(), config());
    let keyed = || SendOptions { key: Some(Bytes::from("position")), ..SendOptions::default() };
    let cancelled = client.send_with("cancelled", SendOptions::default()).await.unwrap();
    let replaced = client.send_with("older", keyed()).await.unwrap();
    let newer = client.send_with("newer", keyed()).await.unwrap();
    let expires = SendOptions { time_to_live: Some(std::time::Duration::from_millis(1)), ..SendOptions::default() };
    let expiring = client.send_with("short-lived", expires.clone()).await.unwrap();
    assert_eq!(cancelled.cancel(), Some(Message::new("cancelled")));
    assert_eq!(cancelled.cancel(), None);
    assert_eq!(cancelled.confirmed().await, Err(NotConfirmed::Cancelled));
    assert_eq!(replaced.confirmed().await, Err(NotConfirmed::Replaced));
    assert_eq!(expiring.confirmed().await, Err(NotConfirmed::Expired));
    client.abort(steadfast_driver::CloseReason::app(0, ""));
    assert_eq!(newer.confirmed().await, Err(NotConfirmed::Closed));
    let unconfirmed = client.take_unconfirmed();
    assert_eq!(unconfirmed.iter().map(|one| one.id).collect::<Vec<_>>(), [Some(newer.id())]);
    let refused = client.send_confirmed("too late").await;
    assert!(matches!(refused, Err(SendConfirmedError::NotSent(error)) if error.kind == SendErrorKind::Closed));
}

async fn a_volatile_message_goes_at_once_or_not_at_all<R: Runtime>() {
    let mut manual = config();
    manual.reconnect = false;
    let Ends { client, server, listener: _listener } = ends_with::<R>(manual, config()).await;
    assert_eq!(client.send_volatile("now"), Ok(true));
    assert_eq!(server.recv_volatile().await.map(|(_, message)| message), Some(Message::new("now")));
    client.disconnect();
    assert_eq!(client.send_volatile("lost"), Ok(false));
    client.connect();
    client.ready().await.unwrap();
    assert_eq!(client.send_volatile("again"), Ok(true));
    assert_eq!(server.recv_volatile().await.map(|(_, message)| message), Some(Message::new("again")));
}

async fn halves_are_a_sink_and_a_stream<R: Runtime>() {
    use futures_lite::StreamExt;
    use futures_sink::Sink;
    use std::future::poll_fn;
    use std::pin::Pin;

    let mut small = config();
    small.send_messages = 2;
    let Ends { client, server, listener: _listener } = ends_with::<R>(small, config()).await;
    let (mut sink, stream) = client.split();
    let (_, incoming) = server.split();
    let sending = async {
        for index in 0..20 {
            poll_fn(|cx| Pin::new(&mut sink).poll_ready(cx)).await.unwrap();
            Pin::new(&mut sink).start_send(Message::new(format!("{index}"))).unwrap();
        }
        poll_fn(|cx| Pin::new(&mut sink).poll_close(cx)).await.unwrap();
    };
    let receiving = incoming.map(|received| received.message().payload.clone()).collect::<Vec<_>>();
    let ((), received) = futures_lite::future::zip(sending, receiving).await;
    assert_eq!(received, (0..20).map(|index| Bytes::from(index.to_string())).collect::<Vec<_>>());
    drop(stream);
}

async fn statistics_count<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    client.send("four").await.unwrap();
    assert_eq!(text(&server).await, "four");
    client.confirmed().await.unwrap();
    let stats = client.stats();
    assert_eq!((stats.messages_sent, stats.send_queue_messages), (1, 0));
    assert!(stats.bytes_sent > 4 && stats.bytes_received > 0);
    assert_eq!(server.stats().messages_received, 1);
}
