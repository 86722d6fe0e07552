//! openraft on the simulator's one thread.
//!
//! openraft 0.9 brings a runtime for tokio only, and real tokio has no reactor in a simulation. This
//! one spawns, sleeps and draws through the simulator, so that a seed decides every election.

use std::{
    fmt,
    future::Future,
    ops::{Add, AddAssign, Sub, SubAssign},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use openraft::{AsyncRuntime, OptionalSend, async_runtime::TokioOneShotSender};
use tokio::sync::oneshot;

/// The runtime of a simulated group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimulatedRuntime;

/// A moment of simulated time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimulatedInstant(tokio::time::Instant);

impl Add<Duration> for SimulatedInstant {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0 + rhs)
    }
}

impl AddAssign<Duration> for SimulatedInstant {
    fn add_assign(&mut self, rhs: Duration) {
        self.0 += rhs;
    }
}

impl Sub<Duration> for SimulatedInstant {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0 - rhs)
    }
}

impl Sub<Self> for SimulatedInstant {
    type Output = Duration;
    fn sub(self, rhs: Self) -> Duration {
        self.0.saturating_duration_since(rhs.0)
    }
}

impl SubAssign<Duration> for SimulatedInstant {
    fn sub_assign(&mut self, rhs: Duration) {
        self.0 -= rhs;
    }
}

impl openraft::Instant for SimulatedInstant {
    fn now() -> Self {
        Self(tokio::time::Instant::now())
    }
}

/// The time is up.
#[derive(Debug)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

/// A future with a deadline.
pub struct Timeout<F>(Pin<Box<F>>, Pin<Box<tokio::time::Sleep>>);

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(value) = self.0.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        self.1.as_mut().poll(cx).map(|()| Err(Elapsed))
    }
}

/// The end of a task. openraft wants it `Sync`, which the simulator's own handle is not.
pub struct Join<T>(oneshot::Receiver<T>);

/// The task ended without a result.
#[derive(Debug)]
pub struct JoinError;

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was dropped")
    }
}

impl<T> Future for Join<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|result| result.map_err(|_| JoinError))
    }
}

impl AsyncRuntime for SimulatedRuntime {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = Join<T>;
    type Sleep = tokio::time::Sleep;
    type Instant = SimulatedInstant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = madsim::rand::GlobalRng;
    type OneshotSender<T: OptionalSend> = TokioOneShotSender<T>;
    type OneshotReceiver<T: OptionalSend> = oneshot::Receiver<T>;
    type OneshotReceiverError = oneshot::error::RecvError;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let (done, end) = oneshot::channel();
        tokio::spawn(async move {
            // Nobody may be waiting for the end: openraft drops most handles.
            let _ = done.send(future.await);
        });
        Join(end)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        tokio::time::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        tokio::time::sleep_until(deadline.0)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        // A sleep of a century overflows the simulator's clock.
        let duration = duration.min(Duration::from_secs(365 * 86_400));
        Timeout(Box::pin(future), Box::pin(tokio::time::sleep(duration)))
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Timeout(Box::pin(future), Box::pin(tokio::time::sleep_until(deadline.0)))
    }

    fn is_panic(_: &Self::JoinError) -> bool {
        // A panic ends the whole simulation.
        false
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        madsim::rand::thread_rng()
    }

    fn oneshot<T>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>)
    where
        T: OptionalSend,
    {
        let (sender, receiver) = oneshot::channel();
        (TokioOneShotSender(sender), receiver)
    }
}
