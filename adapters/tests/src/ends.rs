//! Two ends that are connected.

use std::time::Duration;

use bytes::Bytes;
use steadfast_driver::runtime::Runtime;
use steadfast_driver::{Config, Connector, Listener, Received, ServerConfig, Socket};

use crate::transport::any_port;

/// A client, a server, and the server's end of the client's socket.
pub struct Ends<R: Runtime> {
    /// The client's end.
    pub client: Socket,
    /// The server's end.
    pub server: Socket,
    /// The server.
    pub listener: Listener<R>,
}

/// Two ends over loopback, ready.
pub async fn ends<R: Runtime>() -> Ends<R> {
    ends_with(config(), config()).await
}

/// Two ends over loopback, ready, configured.
pub async fn ends_with<R: Runtime>(client: Config, server: Config) -> Ends<R> {
    let listener = serve_with(server).await;
    let client = connect::<R>(&listener.local_url(), client);
    let server = accept(&listener).await;
    client.ready().await.expect("ready");
    Ends { client, server, listener }
}

/// A configuration whose times suit tests.
pub fn config() -> Config {
    let mut config = Config::default();
    config.redial_base = Duration::from_millis(5);
    config.redial_max = Duration::from_millis(50);
    config
}

/// A server on a free loopback port.
pub async fn listen<R: Runtime>() -> Listener<R> {
    serve_with(config()).await
}

/// A server on a free loopback port, configured.
///
/// # Panics
/// When there is none.
pub async fn serve_with<R: Runtime>(config: Config) -> Listener<R> {
    bind(any_port(), config).await
}

/// A server at this address.
///
/// # Panics
/// When the address is taken.
pub async fn serve_at<R: Runtime>(url: &str) -> Listener<R> {
    bind(url, config()).await
}

async fn bind<R: Runtime>(url: &str, config: Config) -> Listener<R> {
    let mut server = ServerConfig::default();
    server.socket = config;
    Listener::builder(url).config(server).bind().await.expect("a free address")
}

/// A client that connects.
///
/// # Panics
/// When the address or the configuration is wrong.
pub fn connect<R: Runtime>(url: &str, config: Config) -> Socket {
    Connector::<R>::new(url).config(config).connect().expect("a good address")
}

/// The next client of a server.
///
/// # Panics
/// When there will be none.
pub async fn accept<R: Runtime>(listener: &Listener<R>) -> Socket {
    listener.accept().await.expect("a client").accept().expect("it still waits")
}

/// The payload of the next message.
///
/// # Panics
/// At the end, or when it is an ask.
pub async fn recv(socket: &Socket) -> Bytes {
    match socket.recv().await {
        Some(Received::Message(message)) => message.payload,
        other => panic!("{other:?} instead of a message"),
    }
}

/// The text of the next message.
///
/// # Panics
/// At the end, or when it is an ask or no text.
pub async fn text(socket: &Socket) -> String {
    String::from_utf8(recv(socket).await.to_vec()).expect("text")
}
