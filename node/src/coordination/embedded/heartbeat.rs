//! A session's heartbeats, and what its owner may believe of it.
//!
//! A heartbeat goes to the leader of the coordination group every interval. One that is not answered
//! is sent again at once to whoever leads by then. The owner believes in its session until the
//! time-out after the last acknowledged heartbeat was *sent*: the leader counts from when it came.

use std::{sync::Arc, time::Duration};

use atoll_core::coordination::SessionId;
use atoll_proto::coordination::v1::{
    KeepAliveRequest, coordination_client::CoordinationClient, keep_alive_reply::Answer,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Inner, KeepAlive};
use crate::{
    coordination::{Liveness, SessionState},
    metadata::Leader,
};

/// Pause before a heartbeat that was not answered is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How long one heartbeat waits for its answer. Longer than a leader takes to ask its quorum on a
/// busy machine, and short enough for several tries within a time-out.
const ANSWER_WAIT: Duration = Duration::from_millis(800);

/// Sends a session's heartbeats until it ends.
pub(super) struct Heartbeat {
    pub inner: Arc<Inner>,
    pub session: SessionId,
    pub liveness: watch::Sender<Liveness>,
    pub closing: CancellationToken,
}

enum Beat {
    Lives,
    Ended,
    Unanswered(String),
}

impl Heartbeat {
    pub async fn run(self) {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => {}
            () = self.inner.stop.cancelled() => {}
            () = self.over() => {}
            () = self.keep() => {}
        }
    }

    /// Returns once the session has ended, by whatever way that was learnt.
    async fn over(&self) {
        let mut liveness = self.liveness.subscribe();
        let _ = liveness.wait_for(|liveness| liveness.state.is_final()).await;
    }

    async fn keep(&self) {
        let mut leader = None;
        loop {
            let sent = self.now();
            let beat = tokio::time::timeout(ANSWER_WAIT, self.beat(leader.take())).await;
            let pause = match beat {
                Ok((Beat::Lives, _)) => {
                    self.acknowledged(sent);
                    (sent + self.inner.settings.heartbeat_interval).saturating_sub(self.now())
                }
                Ok((Beat::Ended, _)) => {
                    self.inner.server.hub.handle_ended(self.session);
                    self.state(SessionState::Expired);
                    return;
                }
                Ok((Beat::Unanswered(reason), next)) => {
                    debug!(session = %self.session, reason, "heartbeat not answered");
                    leader = next;
                    self.unanswered();
                    RETRY_PAUSE
                }
                Err(_) => {
                    self.unanswered();
                    RETRY_PAUSE
                }
            };
            self.rest(pause).await;
        }
    }

    /// Sleeps, and notes if the session is lost meanwhile.
    async fn rest(&self, pause: Duration) {
        let lost_in = {
            let liveness = self.liveness.borrow();
            (liveness.acknowledged + liveness.timeout).saturating_sub(self.now())
        };
        if lost_in < pause {
            tokio::time::sleep(lost_in).await;
            self.unanswered();
        }
        // What is left of it.
        tokio::time::sleep(if lost_in < pause { pause - lost_in } else { pause }).await;
    }

    /// One heartbeat, to `known` or to whom this node takes for the leader; and whom to ask next.
    async fn beat(&self, known: Option<String>) -> (Beat, Option<String>) {
        let Some(address) = known else {
            return match self.inner.server.keeper.keep_alive(self.session).await {
                KeepAlive::Lives => (Beat::Lives, None),
                KeepAlive::Ended => (Beat::Ended, None),
                KeepAlive::Unsure => (Beat::Unanswered("this node is not sure".to_owned()), None),
                KeepAlive::NotLeader(Leader { leader: Some(leader), .. }) => {
                    self.send(&leader.address).await
                }
                KeepAlive::NotLeader(_) => {
                    (Beat::Unanswered("no leader is known".to_owned()), None)
                }
            };
        };
        self.send(&address).await
    }

    async fn send(&self, address: &str) -> (Beat, Option<String>) {
        let channel = match self.inner.channel(address) {
            Ok(channel) => channel,
            Err(error) => return (Beat::Unanswered(error.to_string()), None),
        };
        let envelope = Some(self.inner.envelope());
        let request = KeepAliveRequest { envelope, session: self.session.0 };
        match CoordinationClient::new(channel).keep_alive(request).await {
            Ok(reply) => match reply.into_inner().answer {
                Some(Answer::Lives(_)) => (Beat::Lives, None),
                Some(Answer::Ended(_)) => (Beat::Ended, None),
                Some(Answer::Leader(leader)) => {
                    let reason = format!("{address} says that node {} leads", leader.node);
                    (Beat::Unanswered(reason), Some(leader.address))
                }
                None => (Beat::Unanswered(format!("{address} is not sure")), None),
            },
            Err(status) => (Beat::Unanswered(format!("{address}: {}", status.message())), None),
        }
    }

    fn acknowledged(&self, sent: Duration) {
        let mut came_back = false;
        self.liveness.send_if_modified(|liveness| {
            if liveness.state.is_final() {
                return false;
            }
            came_back = liveness.state != SessionState::Connected;
            liveness.acknowledged = sent.max(liveness.acknowledged);
            liveness.state = SessionState::Connected;
            true
        });
        if came_back {
            info!(session = %self.session, "session is connected again");
        }
    }

    fn unanswered(&self) {
        let now = self.now();
        let liveness = *self.liveness.borrow();
        let lost = now >= liveness.acknowledged + liveness.timeout;
        self.state(if lost { SessionState::Lost } else { SessionState::Suspended });
    }

    fn state(&self, state: SessionState) {
        let changed = self.liveness.send_if_modified(|liveness| {
            let changed = liveness.state != state && !liveness.state.is_final();
            if changed {
                liveness.state = state;
            }
            changed
        });
        if changed {
            warn!(session = %self.session, ?state, "session");
        }
    }

    fn now(&self) -> Duration {
        self.inner.server.clock.monotonic()
    }
}
