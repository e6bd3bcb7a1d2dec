//! Every future can be dropped at every poll: nothing is lost, doubled or left behind.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::zip;
use steadfast_adapter_tests::{
    Ends, Reserved, accept, config, connect, ends, ends_with, listen, on_every_runtime, text,
};
use steadfast_driver::runtime::Runtime;
use steadfast_driver::steadfast::AskError as Failure;
use steadfast_driver::{
    AnyLane, AskError, Change, CloseReason, Config, LaneOptions, Listener, Message, Received, SendOptions, State,
};

on_every_runtime!(
    recv_takes_nothing,
    send_has_sent_nothing,
    send_many_keeps_what_it_has_not_sent,
    recv_many_takes_nothing,
    send_with_has_sent_nothing,
    send_confirmed_sends_once_or_not_at_all,
    an_ask_is_cancelled,
    a_reply_is_not_given,
    a_further_reply_is_not_given,
    answers_are_not_taken,
    accept_takes_nobody,
    accept_lane_takes_none,
    open_lane_opens_none,
    reading_bytes_takes_none,
    volatile_messages_are_not_taken,
    changes_are_not_taken,
    waiting_has_no_effect,
    finishing_and_closing_stand,
    binding_binds_nothing,
    closing_the_listener_stands,
);

/// Polls a future so many times, then drops it; its result if it had one by then.
async fn polled<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = times;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            // The last poll is not waited for: the future is dropped as it stands.
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Polls a future so many times without waiting for anything, then drops it; whether it had a result by then.
async fn poked<T>(times: usize, future: impl Future<Output = T>) -> bool {
    let mut future = pin!(future);
    for _ in 0..times {
        if futures_lite::future::poll_once(future.as_mut()).await.is_some() {
            return true;
        }
    }
    false
}

/// Makes futures anew and drops them after 0, 1, 2, 3, 0, … polls, until one has a result.
async fn insist<T, F: Future<Output = T>>(mut make: impl FnMut() -> F) -> T {
    for times in (0..4).cycle() {
        if let Some(value) = polled(times, make()).await {
            return value;
        }
        futures_lite::future::yield_now().await;
    }
    unreachable!("the cycle does not end")
}

/// Room for one message: nearly every send has to wait.
fn narrow() -> Config {
    let mut config = config();
    config.send_messages = 1;
    config
}

const COUNT: usize = 60;

async fn recv_takes_nothing<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends_with::<R>(narrow(), config()).await;
    let sending = async {
        for index in 0..COUNT {
            client.send(index.to_string()).await.unwrap();
        }
        client.finish().await.unwrap();
    };
    let receiving = async {
        for index in 0..COUNT {
            let received = insist(|| server.recv()).await.unwrap();
            assert_eq!(received.message().payload, index.to_string());
        }
        assert!(insist(|| server.recv()).await.is_none());
    };
    zip(sending, receiving).await;
}

/// Numbers in order, to the end.
async fn numbers_arrive(server: &steadfast_driver::Socket) {
    for index in 0..COUNT {
        assert_eq!(text(server).await, index.to_string());
    }
    assert!(server.recv().await.is_none());
}

async fn send_has_sent_nothing<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends_with::<R>(narrow(), config()).await;
    let sending = async {
        for index in 0..COUNT {
            insist(|| client.send(index.to_string())).await.unwrap();
        }
        client.finish().await.unwrap();
    };
    zip(sending, numbers_arrive(&server)).await;
}

async fn send_many_keeps_what_it_has_not_sent<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends_with::<R>(narrow(), config()).await;
    let sending = async {
        let mut queue = VecDeque::from_iter((0..COUNT).map(|index| Message::new(index.to_string())));
        for times in (0..4).cycle() {
            if let Some(result) = polled(times, client.send_many(&mut queue)).await {
                result.unwrap();
                break;
            }
            futures_lite::future::yield_now().await;
        }
        assert!(queue.is_empty());
        client.finish().await.unwrap();
    };
    zip(sending, numbers_arrive(&server)).await;
}

async fn recv_many_takes_nothing<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends_with::<R>(narrow(), config()).await;
    let sending = async {
        for index in 0..COUNT {
            client.send(index.to_string()).await.unwrap();
        }
        client.finish().await.unwrap();
    };
    let receiving = async {
        let mut all = Vec::new();
        for times in (0..4).cycle() {
            match polled(times, server.recv_many(&mut all, 7)).await {
                Some(0) => break,
                Some(_) => {}
                None => futures_lite::future::yield_now().await,
            }
        }
        let texts = all.into_iter().map(|received| received.message().payload.clone());
        assert!(texts.eq((0..COUNT).map(|index| Bytes::from(index.to_string()))));
    };
    zip(sending, receiving).await;
}

async fn send_with_has_sent_nothing<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends_with::<R>(narrow(), config()).await;
    let sending = async {
        for index in 0..COUNT {
            let sent = insist(|| client.send_with(index.to_string(), SendOptions::default())).await.unwrap();
            insist(|| sent.confirmed()).await.unwrap();
        }
        client.finish().await.unwrap();
    };
    zip(sending, numbers_arrive(&server)).await;
}

async fn send_confirmed_sends_once_or_not_at_all<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    for times in 0..6 {
        let before = client.stats().messages_sent;
        let taking = async {
            while client.stats().messages_sent == before {
                futures_lite::future::yield_now().await;
            }
            text(&server).await
        };
        let sending = async {
            let result = polled(times, client.send_confirmed(times.to_string())).await;
            if times == 0 {
                assert_eq!(client.stats().messages_sent, before, "it was not polled");
                client.send("0").await.unwrap();
            }
            result
        };
        let (result, taken) = zip(sending, taking).await;
        assert_eq!(taken, times.to_string());
        assert!(result.is_none_or(|result| result.is_ok()));
        assert!(server.try_recv().is_none());
    }
}

async fn an_ask_is_cancelled<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    let mut handled = Vec::new();
    for times in 0..4 {
        let asking = async {
            let answer = polled(times, client.ask(times.to_string())).await;
            client.send("next").await.unwrap();
            answer
        };
        let answering = async {
            loop {
                match server.recv().await.unwrap() {
                    Received::Message(_) => break,
                    Received::Ask(ask) => {
                        handled.push(ask.message.payload.clone());
                        let _ = ask.reply("answer").await;
                    }
                }
            }
        };
        let (answer, ()) = zip(asking, answering).await;
        assert!(answer.is_none_or(|answer| answer.unwrap().payload == "answer"));
    }
    assert!(handled.is_sorted() && handled.windows(2).all(|pair| pair[0] != pair[1]), "{handled:?}");
    assert!(!handled.contains(&Bytes::from("0")), "it was never polled");
    let answering = async {
        let Some(Received::Ask(ask)) = server.recv().await else { panic!("no ask") };
        ask.reply("fine").await.unwrap();
    };
    let (answer, ()) = zip(client.ask("and now?"), answering).await;
    assert_eq!(answer.unwrap().payload, "fine");
}

async fn a_reply_is_not_given<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends_with::<R>(config(), narrow()).await;
    for times in 0..3 {
        let answering = async {
            let Some(Received::Ask(ask)) = server.recv().await else { panic!("no ask") };
            server.send("in the way").await.unwrap();
            polled(times, ask.reply("answer")).await
        };
        let reading = async {
            // Only after the reply was dropped or has found no room.
            while server.stats().messages_sent == times as u64 {
                futures_lite::future::yield_now().await;
            }
            text(&client).await
        };
        let (answer, (replied, _)) = zip(client.ask("please"), zip(answering, reading)).await;
        match replied {
            Some(result) => assert_eq!((result, answer.unwrap().payload), (Ok(()), Bytes::from("answer"))),
            None => assert_eq!(answer, Err(AskError::Failed(Failure::NoReply))),
        }
    }
}

async fn a_further_reply_is_not_given<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends_with::<R>(config(), narrow()).await;
    let answering = async {
        let Some(Received::Ask(ask)) = server.recv().await else { panic!("no ask") };
        for index in 0..COUNT {
            insist(|| ask.reply_more(index.to_string())).await.unwrap();
        }
        ask.reply("end").await.unwrap();
    };
    let collecting = async {
        let mut answers = client.ask_stream("count", None);
        for index in 0..COUNT {
            assert_eq!(answers.next().await.unwrap().unwrap().payload, index.to_string());
        }
        assert_eq!(answers.next().await.unwrap().unwrap().payload, "end");
    };
    zip(answering, collecting).await;
}

async fn answers_are_not_taken<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends_with::<R>(config(), narrow()).await;
    let answering = async {
        let Some(Received::Ask(ask)) = server.recv().await else { panic!("no ask") };
        for index in 0..COUNT {
            ask.reply_more(index.to_string()).await.unwrap();
        }
        ask.reply("end").await.unwrap();
    };
    let collecting = async {
        let mut answers = client.ask_stream("count", None);
        let mut expected = (0..COUNT).map(|index| index.to_string()).chain(["end".to_owned()]);
        loop {
            let mut next = None;
            for times in (0..4).cycle() {
                next = polled(times, answers.next()).await;
                if next.is_some() {
                    break;
                }
                futures_lite::future::yield_now().await;
            }
            match next.flatten() {
                Some(answer) => assert_eq!(Some(answer.unwrap().payload), expected.next().map(Bytes::from)),
                None => break,
            }
        }
        assert_eq!(expected.next(), None);
    };
    zip(answering, collecting).await;
}

async fn accept_takes_nobody<R: Runtime>() {
    let listener = listen::<R>().await;
    let mut clients = Vec::new();
    for index in 0..10 {
        let client = connect::<R>(&listener.local_url(), config());
        client.send(index.to_string()).await.unwrap();
        clients.push(client);
    }
    let mut texts = Vec::new();
    for _ in 0..10 {
        let server = insist(|| listener.accept()).await.unwrap().accept().unwrap();
        texts.push(text(&server).await);
    }
    texts.sort();
    assert_eq!(texts, (0..10).map(|index| index.to_string()).collect::<Vec<_>>());
}

async fn accept_lane_takes_none<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    let mut ours = Vec::new();
    for index in 0..10 {
        let options = LaneOptions { name: index.to_string(), ..LaneOptions::default() };
        ours.push(client.open_lane(options).await.unwrap());
    }
    for index in 0..10 {
        let Some(AnyLane::Messages(lane)) = insist(|| server.accept_lane()).await else { panic!("no lane") };
        assert_eq!(lane.options().unwrap().name, index.to_string());
    }
}

async fn open_lane_opens_none<R: Runtime>() {
    let mut few = config();
    few.max_lanes = 2;
    let Ends { client, server, listener: _listener } = ends_with::<R>(config(), few).await;
    let opening = async {
        for _ in 0..10 {
            let lane = insist(|| client.open_lane(LaneOptions::default())).await.unwrap();
            lane.send("here").await.unwrap();
            lane.finish().await.unwrap();
            assert!(lane.recv().await.is_none());
        }
        client.finish().await.unwrap();
    };
    let accepting = async {
        for _ in 0..10 {
            let Some(AnyLane::Messages(lane)) = server.accept_lane().await else { panic!("no lane") };
            assert!(lane.recv().await.is_some());
            assert!(lane.recv().await.is_none());
        }
        assert!(server.recv().await.is_none());
        assert!(polled(1, server.accept_lane()).await.is_none(), "no lane was opened on the way");
    };
    zip(opening, accepting).await;
}

async fn reading_bytes_takes_none<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    let mut ours = client.open_byte_lane(LaneOptions::default()).await.unwrap();
    let Some(AnyLane::Bytes(mut theirs)) = server.accept_lane().await else { panic!("no lane") };
    let payload: Vec<u8> = (0..100_000_u32).map(|index| (index % 251) as u8).collect();
    let writing = async {
        use futures_lite::AsyncWriteExt;
        for piece in payload.chunks(997) {
            ours.write_all(piece).await.unwrap();
            futures_lite::future::yield_now().await;
        }
        ours.close().await.unwrap();
    };
    let reading = async {
        let mut read = Vec::new();
        for times in (0..4).cycle() {
            match polled(times, theirs.read_chunk(1234)).await {
                Some(chunk) => match chunk.unwrap() {
                    Some(chunk) => read.extend_from_slice(&chunk),
                    None => break,
                },
                None => futures_lite::future::yield_now().await,
            }
        }
        read
    };
    let ((), read) = zip(writing, reading).await;
    assert!(read == payload);
}

async fn volatile_messages_are_not_taken<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    for index in 0..10 {
        assert_eq!(client.send_volatile(index.to_string()), Ok(true));
        let (_, message) = insist(|| server.recv_volatile()).await.unwrap();
        assert_eq!(message.payload, index.to_string());
    }
}

async fn changes_are_not_taken<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    let mut changes = client.changes();
    client.reconnect_now();
    client.ready().await.unwrap();
    zip(client.close(CloseReason::app(0, "")), async { while server.recv().await.is_some() {} }).await;
    let mut states = Vec::new();
    for times in (0..3).cycle() {
        match polled(times, changes.next()).await {
            Some(Some(Change::State(state))) => states.push(state),
            Some(None) => break,
            _ => {}
        }
    }
    use State::{Closed, Connecting, Disconnected, Ready};
    assert_eq!(states, [Connecting, Ready, Disconnected, Connecting, Ready, Closed]);
}

async fn waiting_has_no_effect<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    for times in 0..3 {
        assert!(!poked(times, client.closed()).await);
        assert!(!poked(times, client.lost()).await);
        assert!(!poked(times, client.wait_state(State::Closed)).await);
        assert_eq!(poked(times, client.ready_timeout(Duration::from_secs(9))).await, times > 0);
        client.send("unread").await.unwrap();
        assert!(!poked(times, client.confirmed()).await);
        assert_eq!(text(&server).await, "unread");
        insist(|| client.confirmed()).await.unwrap();
    }
    let reserved = Reserved::default();
    let offline = connect::<R>(&reserved.url(), config());
    for times in 0..3 {
        assert!(!poked(times, offline.ready()).await);
        assert!(!poked(times, offline.ready_timeout(Duration::from_secs(9))).await);
    }
    assert!(offline.ready_timeout(Duration::from_millis(20)).await.is_err());
}

async fn finishing_and_closing_stand<R: Runtime>() {
    for times in 0..3 {
        let Ends { client, server, listener } = ends::<R>().await;
        polled(times, client.finish()).await;
        assert!(server.recv().await.is_none());
        insist(|| client.finish()).await.unwrap();
        polled(times, server.close(CloseReason::app(4, "so be it"))).await;
        assert_eq!(client.closed().await.remote, Some(CloseReason::app(4, "so be it")));
        assert_eq!(insist(|| server.close(CloseReason::app(5, "too late"))).await.local, client.closed().await.remote);
        drop(listener);
    }
}

async fn binding_binds_nothing<R: Runtime>() {
    let reserved = Reserved::default();
    let url = reserved.url();
    let listener = insist(|| Listener::<R>::bind(&url)).await.unwrap();
    let client = connect::<R>(&url, config());
    accept(&listener).await;
    drop(client);
}

async fn closing_the_listener_stands<R: Runtime>() {
    for times in 0..3 {
        let Ends { client, server, listener } = ends::<R>().await;
        if polled(times, listener.close(CloseReason::app(6, "over"))).await.is_none() && times > 0 {
            assert_eq!(client.closed().await.remote, Some(CloseReason::app(6, "over")));
        }
        insist(|| listener.close(CloseReason::app(6, "over"))).await;
        assert_eq!(server.closed().await.local, Some(CloseReason::app(6, "over")));
        assert!(listener.is_empty());
    }
}
