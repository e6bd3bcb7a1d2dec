//! `listen` and `connect` as a user runs them.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{DEADLINE, Tool, accepting, address, carry_until, cutting_proxy, free_port};

const ANY: &str = "tcp://127.0.0.1:0";

fn numbered(count: usize) -> (Vec<String>, String) {
    let lines: Vec<String> = (0..count).map(|number| format!("line {number} {}", "x".repeat(number % 50))).collect();
    let mut input = String::new();
    lines.iter().for_each(|line| writeln!(input, "{line}").unwrap());
    (lines, input)
}

#[test]
fn an_echo_server_gives_every_line_back() {
    let (_server, url) = Tool::listen(&[ANY, "--echo"]);
    let ended = Tool::run(&["connect", &url], b"one\n\ntwo \xc3\xa4\nlast without an end");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout, ["one", "", "two \u{e4}", "last without an end"]);
}

#[test]
fn a_scheme_may_stand_in_capitals() {
    let (_server, url) = Tool::listen(&["TCP://127.0.0.1:0", "--echo"]);
    assert!(url.starts_with("tcp://"), "{url}");
    let ended = Tool::run(&["connect", &url.replace("tcp", "Tcp")], b"a line\n");
    assert_eq!((ended.code, ended.stdout), (Some(0), vec!["a line".to_owned()]), "{:?}", ended.stderr);
}

#[test]
fn bytes_that_are_no_text_pass_unchanged() {
    let (server, url) = Tool::listen(&[ANY]);
    let mut client = Tool::start(&["connect", &url]);
    client.write(b"\xff\xfe\x00\r\n\n");
    client.note("ready");
    assert_eq!(server.bytes(), b"\xff\xfe\x00\r");
    assert_eq!(server.bytes(), b"");
}

#[test]
fn what_each_client_sends_is_printed_and_input_goes_to_all_of_them() {
    let (mut server, url) = Tool::listen(&[ANY]);
    let (mut first, mut second) = (Tool::start(&["connect", &url]), Tool::start(&["connect", &url]));
    first.write(b"from the first\n");
    assert_eq!(server.line(), "from the first");
    second.write(b"from the second\n");
    assert_eq!(server.line(), "from the second");
    server.write(b"to all\n");
    assert_eq!((first.line(), second.line()), ("to all".into(), "to all".into()));
    server.feed(b"at last".to_vec());
    assert_eq!((first.line(), second.line()), ("at last".into(), "at last".into()));
    for mut client in [first, second] {
        client.feed(Vec::new());
        let ended = client.ended();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

#[test]
fn input_of_a_listener_waits_for_the_first_client() {
    let (mut server, url) = Tool::listen(&[ANY]);
    server.feed(b"early\n".to_vec());
    let ended = Tool::run(&["connect", &url], b"");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout, ["early"]);
}

#[test]
fn a_client_that_is_started_first_waits_for_its_server() {
    let port = free_port();
    let url = format!("tcp://127.0.0.1:{port}");
    let mut client = Tool::start(&["connect", &url]);
    client.feed(b"written before\n".to_vec());
    client.note("refused");
    let (_server, _) = Tool::listen(&[&url, "--echo"]);
    let ended = client.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout, ["written before"]);
}

#[test]
fn every_line_comes_back_once_and_in_order_through_a_proxy_that_cuts() {
    let (_server, url) = Tool::listen(&[ANY, "--echo"]);
    let (proxy, cuts) = cutting_proxy(address(&url), 20_000, 20);
    let (lines, input) = numbered(20_000);
    let ended = Tool::run(&["connect", &format!("tcp://{proxy}")], input.as_bytes());
    assert_eq!(ended.code, Some(0), "{:?}", ended.stderr);
    assert!(ended.stdout == lines, "{} lines came back", ended.stdout.len());
    assert!(cuts.try_iter().count() >= 10);
    assert!(ended.stderr.iter().any(|note| note.contains("disconnected")), "{:?}", ended.stderr);
}

#[test]
fn a_hundred_thousand_lines_pass_through_pipes() {
    let (_server, url) = Tool::listen(&[ANY, "--echo"]);
    let (lines, input) = numbered(100_000);
    let ended = Tool::run(&["connect", &url], input.as_bytes());
    assert_eq!(ended.code, Some(0), "{:?}", ended.stderr);
    assert!(ended.stdout == lines, "{} lines came back", ended.stdout.len());
}

#[test]
fn a_line_over_the_message_limit_is_refused_and_those_before_it_arrive() {
    let (_server, url) = Tool::listen(&[ANY, "--echo"]);
    let mut input = b"first\n".to_vec();
    input.resize(input.len() + (16 << 20), b'x');
    input.extend_from_slice(b"\n");
    let exact = Tool::run(&["connect", &url], &input);
    assert_eq!((exact.code, exact.stdout.len()), (Some(0), 2), "{:?}", exact.stderr);
    input.insert(8, b'x');
    input.extend_from_slice(b"never sent\n");
    let over = Tool::run(&["connect", &url], &input);
    assert_eq!((over.code, over.stdout), (Some(1), vec!["first".to_owned()]));
    let error = over.stderr.last().unwrap();
    assert!(error.contains("line 2") && error.contains("16777216"), "{error}");
}

#[test]
fn a_link_that_falls_silent_is_given_up_after_the_timeout() {
    let (_server, url) = Tool::listen(&[ANY, "--echo", "--timeout", "300"]);
    let (proxy, accepted) = accepting();
    let mut client = Tool::start(&["connect", &format!("tcp://{proxy}"), "--timeout", "300"]);
    // The first link carries a line there and back, and then nothing more: half open.
    let (to_client, to_server) = (accepted.recv_timeout(DEADLINE).unwrap(), TcpStream::connect(address(&url)).unwrap());
    let fallen_silent = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| carry_until(&fallen_silent, &to_client, &to_server));
        client.write(b"hello\n");
        let echoed = client.line();
        fallen_silent.store(true, Ordering::Relaxed);
        assert_eq!(echoed, "hello");
    });
    let note = client.note("disconnected");
    assert!(note.contains("silence"), "{note}");
    let mut second = accepted.recv_timeout(DEADLINE).unwrap();
    second.set_read_timeout(Some(DEADLINE)).unwrap();
    assert!(second.read(&mut [0; 16]).unwrap() > 0, "the client says hello again");
}

#[test]
fn an_idle_link_shows_life_as_often_as_told() {
    let (proxy, accepted) = accepting();
    let (_server, url) = Tool::listen(&[ANY, "--echo"]);
    let _client = Tool::start(&["connect", &format!("tcp://{proxy}"), "--heartbeat", "50", "--timeout", "60000"]);
    let (to_client, to_server) = (accepted.recv_timeout(DEADLINE).unwrap(), TcpStream::connect(address(&url)).unwrap());
    to_client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| io::copy(&mut &to_server, &mut &to_client));
        let mut bytes = [0; 4096];
        for _ in 0..10 {
            let count = (&to_client).read(&mut bytes).expect("signs of life, far more often than by default");
            (&to_server).write_all(&bytes[..count]).unwrap();
        }
        to_server.shutdown(Shutdown::Both).unwrap();
    });
}

#[test]
fn unix_sockets_carry_lines() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("unix:{}", folder.path().join("socket").display());
    let (_server, bound) = Tool::listen(&[&url, "--echo"]);
    assert_eq!(bound, url);
    let ended = Tool::run(&["connect", &url], b"one\ntwo\n");
    assert_eq!((ended.code, ended.stdout), (Some(0), vec!["one".into(), "two".into()]), "{:?}", ended.stderr);
}

#[test]
fn udp_carries_lines() {
    let (lines, input) = numbered(10_000);
    let (_server, url) = Tool::listen(&["udp://127.0.0.1:0", "--echo"]);
    assert!(url.starts_with("udp://127.0.0.1:"), "{url}");
    let ended = Tool::run(&["connect", &url], input.as_bytes());
    assert_eq!(ended.code, Some(0), "{:?}", ended.stderr);
    assert!(ended.stdout == lines, "each line came back once and in order");
}

#[test]
fn signals_close_a_listener_and_its_clients() {
    for (signal, any) in [("-INT", ANY), ("-TERM", ANY), ("-INT", "udp://127.0.0.1:0")] {
        let (server, url) = Tool::listen(&[any]);
        let mut client = Tool::start(&["connect", &url]);
        client.write(b"hello\n");
        assert_eq!(server.line(), "hello");
        server.signal(signal);
        let (server, client) = (server.ended(), client.ended());
        assert_eq!(server.code, Some(0), "{server:?}");
        assert!(client.stderr.iter().any(|note| note.contains("shutting down")), "{client:?}");
        assert_eq!(client.code, Some(1), "its input had not ended: {client:?}");
    }
}

#[test]
fn a_signal_closes_a_client_and_the_server_sees_the_reason() {
    let (mut server, url) = Tool::listen(&[ANY]);
    let mut client = Tool::start(&["connect", &url]);
    client.write(b"hello\n");
    assert_eq!(server.line(), "hello");
    client.signal("-INT");
    let client = client.ended();
    assert_eq!(client.code, Some(0), "{client:?}");
    server.note("closed");
}

#[test]
fn a_listener_goes_on_when_clients_have_gone() {
    let (_server, url) = Tool::listen(&[ANY, "--echo"]);
    for line in ["one", "two", "three"] {
        let ended = Tool::run(&["connect", &url], line.as_bytes());
        assert_eq!((ended.code, ended.stdout), (Some(0), vec![line.to_owned()]), "{:?}", ended.stderr);
    }
}
