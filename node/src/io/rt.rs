//! The runtime, as far as both builds have it: what hyper needs, and the door to blocking work.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// Runs blocking work away from the reactor and answers its result.
///
/// Once started, the work runs to its end even when the future is dropped: write it so that an
/// unseen end does no harm. In simulation it runs inline, on the one thread there is, so that a
/// dropped or killed caller has either not begun it or finished it.
///
/// # Panics
/// Passes on a panic of `work`.
#[cfg(not(madsim))]
pub async fn blocking<T, F>(work: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    #[allow(clippy::disallowed_methods, reason = "this is the door")]
    let outcome = tokio::task::spawn_blocking(work).await;
    match outcome {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down cancels such work, and it polls nobody again.
            Err(error) => panic!("blocking work was cancelled: {error}"),
        },
    }
}

/// Runs blocking work inline, as the simulation has but one thread; see the other build's doc.
#[cfg(madsim)]
pub async fn blocking<T, F>(work: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    work()
}

/// hyper's way to spawn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Executor;

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[cfg(not(madsim))]
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }

    /// Boxed, for madsim moves what it spawns half a dozen times.
    #[cfg(madsim)]
    fn execute(&self, future: F) {
        tokio::spawn(Box::pin(future));
    }
}

/// hyper's way to wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timer;

struct Sleep(Pin<Box<tokio::time::Sleep>>);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl hyper::rt::Sleep for Sleep {}

impl hyper::rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep(Box::pin(tokio::time::sleep(duration))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        #[cfg_attr(madsim, allow(clippy::useless_conversion, reason = "tokio's is std's there"))]
        Box::pin(Sleep(Box::pin(tokio::time::sleep_until(deadline.into()))))
    }
}
