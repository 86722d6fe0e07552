//! The coordinator outside: a ZooKeeper ensemble that an operator runs already.
//!
//! Everything but heartbeats is the client library's. It pings by itself, but does not say when a ping
//! was sent and answered, and a lease needs to know: so a session also asks for the root every
//! interval, which the server counts as a sign of life like any other request.
//!
//! One doubt remains that the embedded coordinator does not have: a follower answers by itself and
//! tells the ensemble's leader of its clients with the next tick. Should it die in between, the leader
//! may end a session up to one tick before its owner expects that.
//!
//! Only this file and those below it name the library. It opens its own sockets, so there is nothing
//! of it in simulation.

mod convert;
mod heartbeat;
mod session;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use zookeeper_client::Client;

use super::{CoordinationError, Coordinator, Session};
use crate::io::Clock;

/// How often a session asks for a sign of life.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);

/// Less than this is not asked for: the library takes it for the time to connect as well. An
/// ensemble whose tick is 500 ms or more grants no less.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// Coordination by a ZooKeeper ensemble.
#[derive(Clone, Debug)]
pub struct ZooKeeper {
    ensemble: String,
    clock: Arc<dyn Clock>,
}

impl ZooKeeper {
    /// Coordinates over the ensemble at `ensemble`: `host:port,host:port/chroot`, as ZooKeeper's own
    /// clients take it. Nothing is connected yet.
    pub fn new(ensemble: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self { ensemble: ensemble.into(), clock }
    }
}

impl Coordinator for ZooKeeper {
    fn open_session(
        &self,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Arc<dyn Session>, CoordinationError>> {
        Box::pin(async move {
            let asked_at = self.clock.monotonic();
            // Detached: a session that is dropped and not closed ends like one whose node has died.
            let connector = Client::connector().with_detached();
            let connector = connector.with_session_timeout(timeout.max(TIMEOUT_MIN));
            let client = connector.connect(&self.ensemble).await;
            let client = client.map_err(|error| convert::error(error, ""))?;
            let clock = self.clock.clone();
            let session =
                session::ZooKeeperSession::new(self.ensemble.clone(), client, clock, asked_at);
            Ok(Arc::new(session) as Arc<dyn Session>)
        })
    }
}
