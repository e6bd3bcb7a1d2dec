//! The runtimes on which every test runs.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use steadfast_driver::runtime::{Runtime, Timer};

/// How long a test may take.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Makes a test of each generic async function, on each runtime.
#[macro_export]
macro_rules! on_every_runtime {
    ($($name:ident),+ $(,)?) => {
        mod tokio_current_thread {
            $(#[test] fn $name() { $crate::run_on_tokio_current(super::$name::<steadfast_tokio::Tokio>()) })+
        }
        mod tokio_multi_thread {
            $(#[test] fn $name() { $crate::run_on_tokio_multi(super::$name::<steadfast_tokio::Tokio>()) })+
        }
        mod smol {
            $(#[test] fn $name() { $crate::run_on_smol(super::$name::<steadfast_smol::Smol>()) })+
        }
    };
}

/// Makes a test of each generic async function, on each runtime, over TCP and over UDP.
#[macro_export]
macro_rules! on_every_runtime_and_transport {
    ($($name:ident),+ $(,)?) => {
        $crate::on_every_runtime!($($name),+);
        mod udp {
            mod tokio_current_thread {
                $(#[test] fn $name() {
                    $crate::over_udp(|| $crate::run_on_tokio_current(super::super::$name::<steadfast_tokio::Tokio>()))
                })+
            }
            mod tokio_multi_thread {
                $(#[test] fn $name() {
                    $crate::over_udp(|| $crate::run_on_tokio_multi(super::super::$name::<steadfast_tokio::Tokio>()))
                })+
            }
            mod smol {
                $(#[test] fn $name() {
                    $crate::over_udp(|| $crate::run_on_smol(super::super::$name::<steadfast_smol::Smol>()))
                })+
            }
        }
    };
}

/// Waits for a future for a limited time.
///
/// # Panics
/// When the time is over.
pub async fn within<R: Runtime, T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let mut timer = R::current().expect("within a runtime").timer();
    timer.set(limit);
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Pending if timer.poll_fired(cx).is_ready() => panic!("{what} took longer than {limit:?}"),
        poll => poll,
    })
    .await
}

/// Lets time pass.
///
/// # Panics
/// Outside of the runtime.
pub async fn pass<R: Runtime>(time: Duration) {
    let mut timer = R::current().expect("within a runtime").timer();
    timer.set(time);
    std::future::poll_fn(|cx| timer.poll_fired(cx)).await;
}

/// Runs a test on tokio with one thread.
///
/// # Panics
/// When it takes longer than [`LIMIT`].
pub fn run_on_tokio_current(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(within::<steadfast_tokio::Tokio, _>(LIMIT, "the test", test));
}

/// Runs a test on tokio with two threads beside the test's own.
///
/// # Panics
/// When it takes longer than [`LIMIT`].
pub fn run_on_tokio_multi(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(within::<steadfast_tokio::Tokio, _>(LIMIT, "the test", test));
}

/// Runs a test on smol.
///
/// # Panics
/// When it takes longer than [`LIMIT`].
pub fn run_on_smol(test: impl Future<Output = ()>) {
    smol::block_on(within::<steadfast_smol::Smol, _>(LIMIT, "the test", test));
}
