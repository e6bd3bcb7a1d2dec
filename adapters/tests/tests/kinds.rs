//! The kinds of links: TLS and Unix sockets beside TCP, and bytes on top of them.

use std::time::Duration;

use futures_lite::future::zip;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use steadfast_adapter_tests::{Authority, Ends, accept, config, connect, ends, on_every_runtime, text};
use steadfast_driver::runtime::Runtime;
use steadfast_driver::{
    AnyLane, BindError, ByteLane, Change, CloseReason, Config, ConnectError, Connector, LaneOptions, LinkLoss,
    Listener, ServerConfig, Socket, TlsClient, TlsError, TlsServer, UrlProblem, is_certificate_refused,
};

on_every_runtime!(
    tls_with_a_trusted_certificate_carries_messages,
    tls_refuses_a_certificate_for_another_host,
    tls_refuses_an_expired_certificate,
    tls_refuses_an_unknown_authority,
    tls_refuses_the_certificate_of_an_authority_and_says_what_to_make_instead,
    tls_trusts_a_servers_own_certificate,
    tls_does_not_speak_to_a_plain_server,
    tls_names_a_peer_that_answers_in_another_protocol,
    a_plain_client_does_not_disturb_a_tls_server,
    tls_carries_a_close_and_large_messages,
    a_server_cannot_send_a_tls_client_to_plain_tcp,
    wrong_addresses_and_certificates_are_named,
    tls_for_an_address_without_tls_is_refused,
    port_0_cannot_be_connected_to,
    durable_sockets_are_for_those_who_commit,
    an_address_in_use_is_named,
    bytes_flow_both_ways,
    a_byte_lane_ends_with_its_socket,
);

#[cfg(unix)]
mod unix {
    use super::*;

    on_every_runtime!(
        a_unix_socket_carries_messages,
        a_stale_unix_socket_is_replaced_and_a_live_one_is_not,
        a_unix_socket_of_somebody_who_is_busy_is_not_waited_for
    );

    fn path(name: &str) -> std::path::PathBuf {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        std::env::temp_dir().join(format!("steadfast-{name}-{}-{count}", std::process::id()))
    }

    async fn a_unix_socket_carries_messages<R: Runtime>() {
        let path = path("carries");
        let listener = Listener::<R>::bind(&format!("unix:{}", path.display())).await.unwrap();
        let client = connect::<R>(&listener.local_url(), config());
        let server = accept(&listener).await;
        client.send("over a file").await.unwrap();
        assert_eq!(text(&server).await, "over a file");
        client.reconnect_now();
        server.send("and back").await.unwrap();
        assert_eq!(text(&client).await, "and back");
        listener.close(CloseReason::app(0, "")).await;
        assert!(!path.exists(), "the file goes with the listener");
    }

    async fn a_unix_socket_of_somebody_who_is_busy_is_not_waited_for<R: Runtime>() {
        let path = path("busy");
        let address = socket2::SockAddr::unix(&path).unwrap();
        let socket = || socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        let busy = socket();
        busy.bind(&address).unwrap();
        busy.listen(0).unwrap();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let client = socket();
                client.set_nonblocking(true).unwrap();
                let _ = client.connect(&address);
                client
            })
            .collect();
        let (tell, told) = std::sync::mpsc::channel();
        let url = format!("unix:{}", path.display());
        let timer = std::thread::spawn(move || {
            let late = told.recv_timeout(std::time::Duration::from_secs(5)).is_err();
            drop((busy, waiting));
            late
        });
        let bound = Listener::<R>::bind(&url).await;
        tell.send(()).unwrap_or_default();
        assert!(!timer.join().unwrap(), "a thread of the runtime stood still");
        assert!(bound.is_err(), "somebody listens there");
        std::fs::remove_file(&path).unwrap();
    }

    async fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not<R: Runtime>() {
        let path = path("stale");
        let url = format!("unix:{}", path.display());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = Listener::<R>::bind(&url).await.unwrap();
        let error = Listener::<R>::bind(&url).await.unwrap_err();
        assert!(matches!(&error, BindError::Bind { url: named, .. } if *named == url), "{error}");
        let client = connect::<R>(&url, config());
        accept(&listener).await;
        drop(client);
        listener.close(CloseReason::app(0, "")).await;
        std::fs::write(&path, "a file of somebody").unwrap();
        assert!(Listener::<R>::bind(&url).await.is_err(), "what is no socket is left alone");
        std::fs::remove_file(&path).unwrap();
    }
}

async fn serve_tls<R: Runtime>(tls: TlsServer) -> Listener<R> {
    Listener::builder("tls://localhost:0").tls(tls).bind().await.unwrap()
}

fn connect_tls<R: Runtime>(url: &str, tls: TlsClient) -> Socket {
    let mut config = config();
    config.reconnect = false;
    Connector::<R>::new(url).config(config).tls(tls).connect().unwrap()
}

async fn loss(socket: &Socket) -> LinkLoss {
    let mut changes = socket.changes();
    loop {
        if let Change::LinkLost(loss) = changes.next().await.expect("a link loss comes first") {
            return loss;
        }
    }
}

async fn tls_with_a_trusted_certificate_carries_messages<R: Runtime>() {
    let authority = Authority::default();
    let listener = serve_tls::<R>(authority.server("localhost")).await;
    let client = Connector::<R>::new(listener.local_url()).config(config()).tls(authority.trusted()).connect().unwrap();
    let server = accept(&listener).await;
    for round in 0..3 {
        client.send(format!("up {round}")).await.unwrap();
        server.send(format!("down {round}")).await.unwrap();
        assert_eq!(text(&server).await, format!("up {round}"));
        assert_eq!(text(&client).await, format!("down {round}"));
        client.reconnect_now();
    }
}

async fn tls_refuses_a_certificate_for_another_host<R: Runtime>() {
    let authority = Authority::default();
    let listener = serve_tls::<R>(authority.server("example.org")).await;
    let loss = loss(&connect_tls::<R>(&listener.local_url(), authority.trusted())).await;
    assert!(is_certificate_refused(&loss));
    let reason = "certificate refused: it is not for `localhost` but for example.org";
    assert_eq!(&*loss.reason.reason, reason);
}

async fn tls_refuses_an_expired_certificate<R: Runtime>() {
    let authority = Authority::default();
    let listener = serve_tls::<R>(authority.expired("localhost")).await;
    let loss = loss(&connect_tls::<R>(&listener.local_url(), authority.trusted())).await;
    assert!(is_certificate_refused(&loss));
    assert_eq!(&*loss.reason.reason, "certificate refused: it has expired");
}

async fn tls_refuses_an_unknown_authority<R: Runtime>() {
    let listener = serve_tls::<R>(Authority::default().server("localhost")).await;
    let url = listener.local_url();
    let others = connect_tls::<R>(&url, Authority::default().trusted());
    let webpki = Connector::<R>::new(&url).config(config()).connect().unwrap();
    // The other authority has the same name as the right one, and another key.
    let wrong_key = "certificate refused: its signature is not that of the authority it names";
    let unknown = "certificate refused: no trusted authority has signed it";
    for (client, reason) in [(others, wrong_key), (webpki, unknown)] {
        let loss = loss(&client).await;
        assert!(is_certificate_refused(&loss));
        assert_eq!(&*loss.reason.reason, reason);
        client.abort(CloseReason::app(0, ""));
    }
    assert!(listener.is_empty());
}

async fn tls_refuses_the_certificate_of_an_authority_and_says_what_to_make_instead<R: Runtime>() {
    let (server, trusting) = steadfast_adapter_tests::own_certificate("localhost", true);
    let listener = serve_tls::<R>(server).await;
    let loss = loss(&connect_tls::<R>(&listener.local_url(), trusting)).await;
    assert!(is_certificate_refused(&loss));
    let reason = "certificate refused: it is an authority's (CA:TRUE) and cannot be a server's own; \
                  `openssl req -x509 -addext basicConstraints=critical,CA:FALSE \
                  -addext subjectAltName=DNS:HOST` makes one that can";
    assert_eq!(&*loss.reason.reason, reason);
}

async fn tls_trusts_a_servers_own_certificate<R: Runtime>() {
    let (server, trusting) = steadfast_adapter_tests::own_certificate("localhost", false);
    let listener = serve_tls::<R>(server).await;
    let client = connect_tls::<R>(&listener.local_url(), trusting);
    let _server = accept(&listener).await;
    client.ready().await.unwrap();
}

async fn tls_does_not_speak_to_a_plain_server<R: Runtime>() {
    let listener = Listener::<R>::bind("tcp://localhost:0").await.unwrap();
    let url = listener.local_url().replace("tcp", "tls");
    let loss = loss(&connect_tls::<R>(&url, Authority::default().trusted())).await;
    assert!(!is_certificate_refused(&loss));
    let reason = format!("cannot connect to {url}: the peer seems not to speak TLS: it broke the connection off");
    assert!(loss.reason.reason.starts_with(&reason), "{loss:?}");
}

async fn tls_names_a_peer_that_answers_in_another_protocol<R: Runtime>() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tls://{}", listener.local_addr().unwrap());
    let greeting = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        std::io::Write::write_all(&mut stream, b"220 mail.example.org\r\n").unwrap();
        stream
    });
    let loss = loss(&connect_tls::<R>(&url, Authority::default().trusted())).await;
    drop(greeting.join().unwrap());
    let reason = format!("cannot connect to {url}: the peer does not speak TLS: what it sends is something else");
    assert_eq!(&*loss.reason.reason, reason);
}

async fn a_plain_client_does_not_disturb_a_tls_server<R: Runtime>() {
    let authority = Authority::default();
    let listener = serve_tls::<R>(authority.server("localhost")).await;
    let plain = connect::<R>(&listener.local_url().replace("tls", "tcp"), config());
    loss(&plain).await;
    let client = connect_tls::<R>(&listener.local_url(), authority.trusted());
    let _server = accept(&listener).await;
    client.ready().await.unwrap();
}

async fn tls_carries_a_close_and_large_messages<R: Runtime>() {
    let authority = Authority::default();
    let listener = serve_tls::<R>(authority.server("localhost")).await;
    let client = connect_tls::<R>(&listener.local_url(), authority.trusted());
    let server = accept(&listener).await;
    let payload: Vec<u8> = (0..3_000_000_u32).map(|index| (index * 7 % 253) as u8).collect();
    client.send(payload.clone()).await.unwrap();
    server.send(payload.clone()).await.unwrap();
    let receiving = zip(steadfast_adapter_tests::recv(&client), steadfast_adapter_tests::recv(&server));
    let (down, up) = receiving.await;
    assert!(down == payload && up == payload);
    let (closed, end) = zip(client.close(CloseReason::app(5, "bye")), server.recv()).await;
    assert!(closed.clean && end.is_none());
    assert_eq!(server.closed().await.remote, Some(CloseReason::app(5, "bye")));
}

async fn a_server_cannot_send_a_tls_client_to_plain_tcp<R: Runtime>() {
    let authority = Authority::default();
    let listener = serve_tls::<R>(authority.server("localhost")).await;
    let elsewhere = Listener::<R>::bind("tcp://127.0.0.1:0").await.unwrap();
    let client = Connector::<R>::new(listener.local_url()).config(config()).tls(authority.trusted()).connect().unwrap();
    let _server = accept(&listener).await;
    client.ready().await.unwrap();
    listener.go_away(Duration::from_secs(10), &elsewhere.local_url()).unwrap();
    let mut changes = client.changes();
    loop {
        match changes.next().await.unwrap() {
            Change::LinkLost(loss) if loss.reason.reason.contains("of another kind") => break,
            _ => {}
        }
    }
    assert!(elsewhere.is_empty());
}

async fn wrong_addresses_and_certificates_are_named<R: Runtime>() {
    let error = Connector::<R>::new("tcp://nowhere").connect().unwrap_err();
    assert!(matches!(&error, ConnectError::Url(error) if error.problem == UrlProblem::NoPort), "{error}");
    let mut config = config();
    config.max_message = 0;
    let error = Connector::<R>::new("tcp://nowhere:1").config(config).connect().unwrap_err();
    assert_eq!(error.to_string(), "the configuration cannot work: max_message is 0: it must be 1 byte to 1 GiB");
    let error = Connector::<R>::new("tcp://nowhere:1").auth(vec![0; 1 << 20]).connect().unwrap_err();
    assert!(matches!(error, ConnectError::Config(_)), "{error}");
    let error = Listener::<R>::bind("tls://127.0.0.1:0").await.unwrap_err();
    assert_eq!(error.to_string(), "`tls://127.0.0.1:0` needs a certificate and its key");
    assert!(matches!(TlsClient::with_ca_pem(b"no certificate"), Err(TlsError::NoCertificate)));
    let authority = Authority::default();
    let _: TlsClient = authority.trusted();
    assert!(matches!(TlsServer::from_pem(b"", b""), Err(TlsError::NoCertificate)));
    let unreachable = connect_tls::<R>("tls://no-such-host.invalid:1", authority.trusted());
    let loss = loss(&unreachable).await;
    assert!(loss.reason.reason.starts_with("cannot connect to tls://no-such-host.invalid:1: "), "{loss:?}");
}

async fn tls_for_an_address_without_tls_is_refused<R: Runtime>() {
    let authority = Authority::default();
    for url in ["tcp://127.0.0.1:1", "udp://127.0.0.1:1"] {
        let words = format!("TLS was configured, and `{url}` is not a tls:// address");
        let error = Connector::<R>::new(url).tls(authority.trusted()).connect().unwrap_err();
        assert_eq!(error.to_string(), words);
        let error = Listener::<R>::builder(url).tls(authority.server("localhost")).bind().await.unwrap_err();
        assert_eq!(error.to_string(), words);
    }
    let mixed = Connector::<R>::new("tcp://127.0.0.1:1").address("tls://127.0.0.1:1").tls(authority.trusted());
    assert!(mixed.connect().is_ok(), "it is for one of the addresses");
}

async fn port_0_cannot_be_connected_to<R: Runtime>() {
    for connector in [Connector::<R>::new("tls://a:0"), Connector::new("tls://a:1").address("tls://a:0")] {
        let error = connector.connect().unwrap_err();
        assert!(matches!(error, ConnectError::PortZero(_)), "{error}");
        assert_eq!(error.to_string(), "`tls://a:0` cannot be connected to: port 0 is for listening only");
    }
}

async fn durable_sockets_are_for_those_who_commit<R: Runtime>() {
    let mut config = Config::default();
    config.durable = true;
    let error = Connector::<R>::new("tcp://127.0.0.1:1").config(config.clone()).connect().unwrap_err();
    assert_eq!(error.to_string(), "the configuration cannot work: `durable` is true, and an adapter commits nothing");
    let mut server_config = ServerConfig::default();
    server_config.socket = config;
    let error = Listener::<R>::builder("tcp://127.0.0.1:0").config(server_config).bind().await.unwrap_err();
    assert!(matches!(error, BindError::Durable), "{error}");
}

async fn an_address_in_use_is_named<R: Runtime>() {
    let listener = Listener::<R>::bind("tcp://127.0.0.1:0").await.unwrap();
    let error = Listener::<R>::bind(&listener.local_url()).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on `{}`: ", listener.local_url())), "{error}");
}

async fn byte_lanes<R: Runtime>() -> (Ends<R>, ByteLane, ByteLane) {
    let ends = ends::<R>().await;
    let options = LaneOptions { name: "bytes".to_owned(), ..LaneOptions::default() };
    let ours = ends.client.open_byte_lane(options).await.unwrap();
    let Some(AnyLane::Bytes(theirs)) = ends.server.accept_lane().await else { panic!("no byte lane") };
    assert_eq!(theirs.options().unwrap().name, "bytes");
    (ends, ours, theirs)
}

async fn bytes_flow_both_ways<R: Runtime>() {
    let (_ends, ours, theirs) = byte_lanes::<R>().await;
    let payload = |seed: usize| -> Vec<u8> { (0..1 << 20).map(|index| (index * seed % 251) as u8).collect() };
    let (up, down) = (payload(31), payload(17));
    let (mut our_reader, mut our_writer) = futures_lite::io::split(ours);
    let (mut their_reader, mut their_writer) = futures_lite::io::split(theirs);
    let writing = zip(
        async {
            our_writer.write_all(&up).await.unwrap();
            our_writer.close().await.unwrap();
        },
        async {
            their_writer.write_all(&down).await.unwrap();
            their_writer.close().await.unwrap();
        },
    );
    let (mut got_up, mut got_down) = (Vec::new(), Vec::new());
    let reading = zip(their_reader.read_to_end(&mut got_up), our_reader.read_to_end(&mut got_down));
    let (_, (read_up, read_down)) = zip(writing, reading).await;
    assert_eq!((read_up.unwrap(), read_down.unwrap()), (1 << 20, 1 << 20));
    assert!(got_up == up && got_down == down);
}

async fn a_byte_lane_ends_with_its_socket<R: Runtime>() {
    let (ends, mut ours, mut theirs) = byte_lanes::<R>().await;
    ours.write_all(b"half a").await.unwrap();
    let mut buffer = [0; 6];
    theirs.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"half a");
    let reading = async { theirs.read(&mut buffer).await };
    let aborting = async { ends.client.abort(CloseReason::app(0, "")) };
    let (read, ()) = zip(reading, aborting).await;
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(ours.write(b"more").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    assert!(theirs.read_chunk(1).await.is_err());
}

/// tokio's own traits, on tokio.
#[test]
fn tokio_copies_bytes_through_a_lane() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn copy() {
        let (_ends, mut ours, mut theirs) = byte_lanes::<steadfast_tokio::Tokio>().await;
        let payload: Vec<u8> = (0..1_u32 << 20).map(|index| (index % 241) as u8).collect();
        let echoing = async {
            let (mut reader, mut writer) = tokio::io::split(&mut theirs);
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let asking = async {
            let (mut reader, mut writer) = tokio::io::split(&mut ours);
            let mut echoed = Vec::new();
            let writing = async {
                writer.write_all(&payload).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            zip(writing, reader.read_to_end(&mut echoed)).await.1.unwrap();
            assert!(echoed == payload);
        };
        zip(echoing, asking).await;
    }

    steadfast_adapter_tests::run_on_tokio_multi(copy());
    steadfast_adapter_tests::run_on_tokio_current(copy());
}
