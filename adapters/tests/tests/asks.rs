//! Asks and answers (PEERS.md 16, 17).

use std::time::Duration;

use futures_lite::future::zip;
use steadfast_adapter_tests::{Ends, accept, config, connect, ends, listen, on_every_runtime_and_transport, text};
use steadfast_driver::runtime::Runtime;
use steadfast_driver::steadfast::AskError as Failure;
use steadfast_driver::{Ask, AskError, CloseReason, Code, Message, Received, Socket};

on_every_runtime_and_transport!(
    asks_are_answered_in_both_directions,
    many_answers_to_one_ask_come_in_order,
    all_sockets_can_be_asked,
    an_ask_without_an_answer_ends_in_time,
    an_ask_can_be_refused,
    an_ask_that_is_dropped_ends_without_an_answer,
    the_answer_to_a_cancelled_ask_is_dropped,
    a_message_and_an_ask_keep_their_order,
    asks_end_with_the_socket,
    many_asks_at_once_find_their_answers,
);

async fn asked(socket: &Socket) -> Ask {
    match socket.recv().await {
        Some(Received::Ask(ask)) => ask,
        other => panic!("{other:?} instead of an ask"),
    }
}

async fn asks_are_answered_in_both_directions<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    for (from, to) in [(&client, &server), (&server, &client)] {
        let answering = async {
            let ask = asked(to).await;
            assert!(ask.is_open());
            let answer = Message::new(format!("re: {}", ask.message.name().unwrap())).with_headers("{}");
            ask.reply(answer).await.unwrap();
        };
        let (answer, ()) = zip(from.ask(Message::new("").with_name("ping")), answering).await;
        assert_eq!(answer, Ok(Message::new("re: ping").with_headers("{}")));
    }
}

async fn many_answers_to_one_ask_come_in_order<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    let mut answers = client.ask_stream("count", None);
    let answering = async {
        let ask = asked(&server).await;
        for index in 0..20 {
            ask.reply_more(index.to_string()).await.unwrap();
        }
        ask.reply("end").await.unwrap();
    };
    let collecting = async {
        let mut texts = Vec::new();
        while let Some(answer) = answers.next().await {
            texts.push(String::from_utf8(answer.unwrap().payload.to_vec()).unwrap());
        }
        texts
    };
    let (texts, ()) = zip(collecting, answering).await;
    let expected: Vec<String> = (0..20).map(|index| index.to_string()).chain(["end".to_owned()]).collect();
    assert_eq!(texts, expected);
}

async fn all_sockets_can_be_asked<R: Runtime>() {
    let listener = listen::<R>().await;
    let mut clients = Vec::new();
    let mut servers = Vec::new();
    for _ in 0..3 {
        clients.push(connect::<R>(&listener.local_url(), config()));
        servers.push(accept(&listener).await);
    }
    let runtime = R::current().unwrap();
    for (index, client) in clients.into_iter().enumerate() {
        runtime.spawn(async move {
            // The last one never answers the second ask.
            asked(&client).await.reply(index.to_string()).await.unwrap();
            let second = asked(&client).await;
            if index == 2 {
                client.closed().await;
            } else {
                second.reply(index.to_string()).await.unwrap();
            }
            client.closed().await;
        });
    }
    let sockets = listener.sockets();
    let mut every = Vec::new();
    let streams: Vec<_> = sockets.iter().map(|socket| socket.ask_stream("who?", None)).collect();
    for mut answers in streams {
        every.push(answers.next().await.unwrap().unwrap().payload);
    }
    every.sort();
    assert_eq!(every, ["0", "1", "2"]);
    let mut asks: Vec<_> = sockets.iter().map(|socket| Box::pin(socket.ask("first?"))).collect();
    let first = std::future::poll_fn(|cx| {
        for ask in &mut asks {
            if let std::task::Poll::Ready(answer) = ask.as_mut().poll(cx) {
                return std::task::Poll::Ready(answer);
            }
        }
        std::task::Poll::Pending
    });
    assert!(["0", "1"].contains(&&*String::from_utf8(first.await.unwrap().payload.to_vec()).unwrap()));
}

async fn an_ask_without_an_answer_ends_in_time<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    let (result, late) = zip(client.ask_timeout("slow", Duration::from_millis(60)), asked(&server)).await;
    assert_eq!(result, Err(AskError::Failed(Failure::TimedOut)));
    // The answer comes too late and harms nothing.
    let _ = late.reply("at last").await;
    client.send("on").await.unwrap();
    assert_eq!(text(&server).await, "on");
}

async fn an_ask_can_be_refused<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    let refusing = async { asked(&server).await.refuse(42, "not now").unwrap() };
    let (result, ()) = zip(client.ask("please"), refusing).await;
    assert_eq!(result, Err(AskError::Failed(Failure::Refused(CloseReason::app(42, "not now")))));
    assert!(matches!(result, Err(AskError::Failed(Failure::Refused(reason))) if reason.code == Code::App(42)));
}

async fn an_ask_that_is_dropped_ends_without_an_answer<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    let (result, ()) = zip(client.ask("please"), async { drop(asked(&server).await) }).await;
    assert_eq!(result, Err(AskError::Failed(Failure::NoReply)));
    let finishing = async {
        let _open = asked(&server).await;
        drop(server.finish());
    };
    let (result, ()) = zip(client.ask("and now?"), finishing).await;
    assert_eq!(result, Err(AskError::Failed(Failure::NoReply)));
}

async fn the_answer_to_a_cancelled_ask_is_dropped<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    let mut answers = client.ask_stream("first", None);
    let first = async { answers.next().await };
    let (_, ask) = zip(futures_lite::future::poll_once(first), asked(&server)).await;
    drop(answers);
    client.send("after").await.unwrap();
    assert_eq!(text(&server).await, "after");
    assert!(!ask.is_open(), "the cancellation came before the message");
    assert!(ask.reply("nobody listens").await.is_err());
    let answering = async { asked(&server).await.reply("second").await.unwrap() };
    let (answer, ()) = zip(client.ask("second"), answering).await;
    assert_eq!(answer, Ok(Message::new("second")));
}

async fn a_message_and_an_ask_keep_their_order<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    let mut streams = Vec::new();
    for index in 0..20 {
        client.send(format!("message {index}")).await.unwrap();
        let mut answers = client.ask_stream(format!("ask {index}"), None);
        assert!(futures_lite::future::poll_once(answers.next()).await.is_none());
        streams.push(answers);
    }
    for index in 0..20 {
        assert_eq!(text(&server).await, format!("message {index}"));
        assert_eq!(asked(&server).await.message.payload, format!("ask {index}"));
    }
}

async fn asks_end_with_the_socket<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    let ending = async {
        let _ask = asked(&server).await;
        server.abort(CloseReason::app(1, "gone"));
    };
    let (result, ()) = zip(client.ask("please"), ending).await;
    assert_eq!(result, Err(AskError::Failed(Failure::InDoubt)));
    client.closed().await;
    assert!(matches!(client.ask("again").await, Err(AskError::NotSent(_))));
}

async fn many_asks_at_once_find_their_answers<R: Runtime>() {
    let Ends { client, server, listener: _listener } = ends::<R>().await;
    R::current().unwrap().spawn(async move {
        let mut waiting = Vec::new();
        while let Some(received) = server.recv().await {
            let Received::Ask(ask) = received else { continue };
            waiting.push(ask);
            // Answered in another order than asked.
            if waiting.len() == 10 {
                for ask in waiting.drain(..).rev() {
                    let payload = ask.message.payload.clone();
                    ask.reply(payload).await.unwrap();
                }
            }
        }
    });
    let mut streams: Vec<_> = (0..100).map(|index: u32| client.ask_stream(index.to_string(), None)).collect();
    for answers in &mut streams {
        assert!(futures_lite::future::poll_once(answers.next()).await.is_none());
    }
    for (index, answers) in streams.iter_mut().enumerate() {
        assert_eq!(answers.next().await.unwrap().unwrap().payload, index.to_string());
        assert!(answers.next().await.is_none());
    }
}
