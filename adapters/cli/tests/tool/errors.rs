//! What goes wrong is one clear line and an exit code, never a panic.

use std::net::{TcpListener, UdpSocket};

use crate::harness::{Ended, Tool, address, cutting_proxy, free_port};

const ANY: &str = "tcp://127.0.0.1:0";

pub(crate) fn fails(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    let [line] = &ended.stderr[..] else { panic!("one line: {ended:?}") };
    for part in parts {
        assert!(line.contains(part), "`{part}` is missing: {line}");
    }
}

#[test]
fn bad_arguments_are_one_line() {
    for (args, part) in [
        (&[][..], "subcommand"),
        (&["fly"], "fly"),
        (&["listen"], "<URL>"),
        (&["connect"], "<URL>"),
        (&["connect", ANY, "--wings"], "--wings"),
        (&["listen", ANY, "--echo", "--print"], "--print"),
        (&["listen", ANY, "--timeout", "soon"], "soon"),
        (&["demo", "--seconds", "0"], "--seconds"),
        (&["demo", "--cut-every", "1"], "--cut-every"),
        (&["listen", "tls://127.0.0.1:0", "--cert", "a.pem"], "--key"),
    ] {
        fails(&Tool::run(args, b""), 2, &[part]);
    }
}

#[test]
fn a_bad_url_is_one_line() {
    for (url, part) in [
        ("", "tcp://"),
        ("foo", "tcp://"),
        ("localhost:80", "tcp://"),
        ("http://localhost:80", "`http`"),
        ("tcp://", "port"),
        ("tcp://localhost", "port"),
        ("tcp://localhost:99999", "`99999`"),
        ("tcp://localhost:1/path", "`/path`"),
        ("unix:", "path"),
    ] {
        fails(&Tool::run(&["connect", url], b""), 2, &[url, part]);
        fails(&Tool::run(&["listen", url], b""), 2, &[url, part]);
    }
}

#[test]
fn port_0_is_for_listening_only() {
    for url in ["tcp://localhost:0", "tls://localhost:0"] {
        fails(&Tool::run(&["connect", url], b""), 2, &[url, "port 0"]);
    }
}

#[test]
fn options_of_tls_beside_another_url_are_one_line() {
    for url in [ANY, "unix:/nothing/here"] {
        fails(
            &Tool::run(&["listen", url, "--cert", "/c", "--key", "/k"], b""),
            2,
            &["--cert and --key", "tls://", url],
        );
        fails(&Tool::run(&["connect", url, "--ca", "/c"], b""), 2, &["--ca", "tls://", url]);
    }
}

#[test]
fn an_address_in_use_is_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", taken.local_addr().unwrap());
    fails(&Tool::run(&["listen", &url], b""), 1, &[&url, "in use"]);
}

#[test]
fn an_unreachable_host_without_reconnect_is_one_line() {
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let ended = Tool::run(&["connect", &url, "--no-reconnect"], b"a line\n");
    fails(&ended, 1, &["refused"]);
    let line = &ended.stderr[0];
    assert!(line.starts_with(&format!("error: cannot connect to {url}: Connection refused")), "{line}");
    fails(
        &Tool::run(&["connect", "tcp://no-such-host.invalid:1", "--no-reconnect"], b""),
        1,
        &["no-such-host.invalid"],
    );
    fails(&Tool::run(&["connect", "unix:/nothing/here", "--no-reconnect"], b""), 1, &["/nothing/here"]);
}

/// Where a UDP socket hears that nobody listens.
#[cfg(target_os = "linux")]
#[test]
fn a_udp_port_where_nobody_listens_is_one_line() {
    // It hears only itself, and keeps the port from everybody else.
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    nobody.connect(nobody.local_addr().unwrap()).unwrap();
    let url = format!("udp://{}", nobody.local_addr().unwrap());
    let ended = Tool::run(&["connect", &url, "--no-reconnect"], b"a line\n");
    fails(&ended, 1, &[&format!("cannot connect to {url}: "), "Connection refused"]);
    let mut client = Tool::start(&["connect", &url]);
    client.note("Connection refused");
}

#[test]
fn a_link_that_breaks_without_reconnect_ends_with_the_unconfirmed_messages() {
    let (_server, url) = Tool::listen(&[ANY, "--echo"]);
    let (proxy, _cuts) = cutting_proxy(address(&url), 5_000, 1);
    let ended = Tool::run(&["connect", &format!("tcp://{proxy}"), "--no-reconnect"], &b"0123456789\n".repeat(200_000));
    assert_eq!(ended.code, Some(1), "{:?}", ended.stderr);
    assert!(ended.stderr.last().unwrap().contains("unconfirmed"), "{:?}", ended.stderr);
}

#[test]
fn a_link_that_breaks_without_reconnect_is_told_once_and_without_a_count_of_nothing() {
    let (server, url) = Tool::listen(&[ANY, "--echo"]);
    let mut client = Tool::start(&["connect", &url, "--no-reconnect"]);
    client.note("ready");
    drop(server);
    let ended = client.ended();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.stderr, ["connecting", "ready", "error: disconnected: the link went down: the peer has hung up"]);
}

#[test]
fn a_lost_session_says_how_many_messages_are_unconfirmed() {
    let port = free_port();
    let url = format!("tcp://127.0.0.1:{port}");
    let (server, _) = Tool::listen(&[&url, "--echo"]);
    let mut client = Tool::start(&["connect", &url]);
    client.write(b"confirmed\n");
    assert_eq!(client.line(), "confirmed");
    drop(server);
    client.note("disconnected");
    client.write(b"one\ntwo\nthree\n");
    let (_server, _) = Tool::listen(&[&url, "--echo"]);
    let ended = client.ended();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let last = ended.stderr.last().unwrap();
    assert!(last.contains("session lost") && last.contains("3 messages"), "{ended:?}");
}

#[test]
fn a_closed_standard_output_is_one_line_and_the_peer_is_told() {
    let (mut server, url) = Tool::listen(&[ANY, "--echo"]);
    let mut client = Tool::start(&["connect", &url]);
    client.close_output();
    client.feed(b"line\n".repeat(100_000));
    let ended = client.ended();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.last().unwrap().contains("standard output"), "{ended:?}");
    let note = server.note("closes");
    assert!(note.contains("standard output is closed"), "{note}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_standard_output_that_takes_nothing_says_why() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = crate::harness::steadfast(&["sim", "--messages", "1"])
        .stdout(full)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = String::from_utf8_lossy(&output.stderr);
    assert!(line.contains("standard output") && line.contains("No space left"), "{line}");
}

#[test]
fn a_listener_whose_standard_output_is_closed_tells_its_clients() {
    let (mut server, url) = Tool::listen(&[ANY]);
    server.close_output();
    let mut client = Tool::start(&["connect", &url]);
    client.feed(b"line\n".repeat(100_000));
    let (server, client) = (server.ended(), client.ended());
    assert_eq!(server.code, Some(1), "{server:?}");
    assert!(server.stderr.last().unwrap().contains("standard output"), "{server:?}");
    assert_eq!(client.code, Some(1), "{client:?}");
    assert!(client.stderr.last().unwrap().contains("standard output is closed"), "{client:?}");
}

#[test]
fn a_closed_standard_error_harms_nothing() {
    let (_server, url) = Tool::listen(&[ANY, "--echo"]);
    let child = crate::harness::steadfast(&["connect", &url]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut child = child;
    drop(child.stderr.take());
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"a line\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"a line\n");
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["demo", "--help"],
        &["listen", "--help"],
        &["connect", "-h"],
        &["sim", "--help"],
    ] {
        let ended = Tool::run(args, b"");
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!ended.stdout.is_empty() && ended.stderr.is_empty(), "{ended:?}");
    }
}
