//! What is particular to one runtime.

use futures_lite::future::block_on;
use steadfast_adapter_tests::{accept, config, connect, listen};
use steadfast_driver::{BindError, CloseReason, ConnectError, Connector, Listener, State};
use steadfast_tokio::Tokio;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn tokio_is_missed_where_there_is_none() {
    let error = steadfast_tokio::connect("tcp://127.0.0.1:1").unwrap_err();
    assert!(matches!(error, ConnectError::NoRuntime(_)));
    assert_eq!(error.to_string(), "there is no tokio runtime here: call this from within one");
    let error = block_on(Listener::<Tokio>::bind("tcp://127.0.0.1:0")).unwrap_err();
    assert!(matches!(error, BindError::NoRuntime(_)));
}

#[test]
fn sockets_end_with_their_runtime() {
    let runtime = runtime();
    let (client, server, listener) = runtime.block_on(async {
        let listener = listen::<Tokio>().await;
        let client = connect::<Tokio>(&listener.local_url(), config());
        let server = accept(&listener).await;
        client.ready().await.unwrap();
        (client, server, listener)
    });
    assert_eq!(client.state(), State::Ready);
    drop(runtime);
    for socket in [&client, &server] {
        let closed = block_on(socket.closed());
        assert_eq!(closed.local, Some(CloseReason::app(0, "the async runtime has shut down")));
        assert!(block_on(socket.recv()).is_none());
        assert!(block_on(socket.send("too late")).is_err());
    }
    block_on(listener.close(CloseReason::app(0, "")));
    assert!(block_on(listener.accept()).is_none());
}

#[test]
fn handles_work_on_another_executor_than_the_one_that_drives_them() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _context = runtime.enter();
    let listener = block_on(Listener::<Tokio>::bind("tcp://127.0.0.1:0")).unwrap();
    let client = Connector::<Tokio>::new(listener.local_url()).connect().unwrap();
    smol::block_on(async {
        let server = accept(&listener).await;
        client.send("from elsewhere").await.unwrap();
        assert_eq!(steadfast_adapter_tests::text(&server).await, "from elsewhere");
    });
}
