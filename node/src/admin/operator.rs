//! What an operator asks of a node, whichever node that is.
//!
//! [`Operator`] is the handle behind the admin listener and behind the `Operator` service: it answers
//! from this node's parts, asks the other nodes for what only they know, and writes changes where all
//! nodes read them. No node is special, so an operator need not know which one to ask.

mod committing;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_core::{
    admin::{Collected, JoinToken, Shares, Status, Target, Whereabouts},
    view::{NodeId, View},
};
use atoll_proto::operator::v1::{
    CollectRequest, RepairRequest, ReportRequest, operator_client::OperatorClient,
};
use futures_util::{StreamExt as _, stream};

pub use committing::How;

use super::{
    AdminError, changes,
    pieces::{Ledger, Pieces},
    shares, status, whereabouts,
};
use crate::{cluster::Cluster, wire::Channel};

/// How long another node may take to tell of itself. It answers from memory.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the look at what garbage collection would take may take: it pages through what every
/// node holds.
const COLLECT_TIMEOUT: Duration = Duration::from_secs(600);

/// Nodes that are asked at a time.
const ASKED_AT_ONCE: usize = 32;

/// Bounds of a join token's life.
const TOKEN_TTL_MIN: Duration = Duration::from_secs(1);
const TOKEN_TTL_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Which nodes were reached by a request to all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reached {
    /// They began.
    pub started: Vec<NodeId>,
    /// They did not answer.
    pub silent: Vec<NodeId>,
}

/// The handle. Clones share it.
#[derive(Clone, Debug)]
pub struct Operator {
    cluster: Cluster,
    pieces: Arc<dyn Pieces>,
    ledger: Arc<dyn Ledger>,
}

impl Operator {
    /// A handle over the parts of this node.
    pub fn new(cluster: Cluster, pieces: Arc<dyn Pieces>, ledger: Arc<dyn Ledger>) -> Operator {
        Operator { cluster, pieces, ledger }
    }

    /// This node's cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// This node's parts.
    pub fn pieces(&self) -> &dyn Pieces {
        self.pieces.as_ref()
    }

    /// The whole cluster. It is answered without the coordination service too: then with what this
    /// node knows.
    ///
    /// # Errors
    /// None now; a part that cannot be had is told in the status.
    pub async fn status(&self) -> Result<Status, AdminError> {
        let view = self.cluster.view();
        let page = self.ledger.read(false).await;
        let lost = page.as_ref().err().map(ToString::to_string);
        let page = page.unwrap_or_default();
        let accounts = self.accounts(&view).await;
        let (me, suspects) = (self.cluster.me(), self.cluster.suspects());
        let facts = status::Facts { me, view: &view, suspects: &suspects, page: &page, accounts };
        let mut status = status::of(self.pieces(), facts);
        if let Some(lost) = lost {
            status.add_problem("no_ledger", format!("{lost}; intents and plans are not shown"));
        }
        Ok(status)
    }

    /// Who has how much of the ring.
    ///
    /// # Errors
    /// None now: without the coordination service no plan is shown.
    pub async fn ring(&self) -> Result<Shares, AdminError> {
        let view = self.cluster.view();
        let page = self.ledger.read(false).await.unwrap_or_default();
        let plan = page.plan.as_ref().map(|(plan, _)| changes::staged(&view, &page, plan));
        Ok(shares::of(&view, plan))
    }

    /// Where the parts of an image are.
    ///
    /// # Errors
    /// There is no such image, or the metadata cannot be read.
    pub async fn whereabouts(&self, target: &Target) -> Result<Whereabouts, AdminError> {
        whereabouts::find(self.pieces(), &self.cluster.view(), target).await
    }

    /// Makes every node compare its copies now.
    pub async fn repair(&self) -> Reached {
        self.pieces.repair();
        let mut reached = Reached { started: vec![self.cluster.me()], ..Reached::default() };
        for (node, answer) in self.ask_all(&self.cluster.view(), Operator::repair_at).await {
            if answer.is_ok() { &mut reached.started } else { &mut reached.silent }.push(node);
        }
        reached.started.sort();
        reached
    }

    /// Begins to collect garbage at the node that does, or says what would be collected.
    ///
    /// # Errors
    /// That node is not known, does not answer, or failed.
    pub async fn collect(&self, dry_run: bool) -> Result<Collected, AdminError> {
        let collector = self.pieces.collector();
        let none = || AdminError::Failed("no node drives garbage collection now".to_owned());
        let node = collector.ok_or_else(none)?;
        if node == self.cluster.me() {
            return self.pieces.collect(dry_run).await;
        }
        let mut client = self.client(node).map_err(AdminError::Failed)?;
        let request = CollectRequest { envelope: Some(self.cluster.envelope()), dry_run };
        let answer = tokio::time::timeout(COLLECT_TIMEOUT, client.collect(request)).await;
        let failed =
            |why: &dyn std::fmt::Display| AdminError::Failed(format!("node {node}: {why}"));
        let answer = answer.map_err(|_| failed(&"no answer in time"))?;
        let outcome = answer.map_err(|status| failed(&status.message()))?.into_inner().outcome;
        serde_json::from_slice(&outcome).map_err(|error| failed(&error))
    }

    /// Makes a join token.
    ///
    /// # Errors
    /// Its life is out of bounds, or the coordination service does not answer.
    pub async fn mint(&self, ttl: Duration) -> Result<JoinToken, AdminError> {
        if !(TOKEN_TTL_MIN..=TOKEN_TTL_MAX).contains(&ttl) {
            let (min, max) = (TOKEN_TTL_MIN.as_secs(), TOKEN_TTL_MAX.as_secs());
            let message = format!("ttl_seconds is {}, allowed are {min} to {max}", ttl.as_secs());
            return Err(AdminError::BadBody(message));
        }
        self.pieces.mint(ttl).await
    }

    /// Every node's own account. A node that is down is not asked.
    async fn accounts(&self, view: &View) -> BTreeMap<NodeId, status::Account> {
        let mut accounts = self.ask_all(view, Operator::report_of).await;
        accounts.insert(self.cluster.me(), Ok(self.pieces.report().await));
        accounts
    }

    /// Asks all other nodes that are up the same, each for at most [`REPORT_TIMEOUT`].
    async fn ask_all<T>(
        &self,
        view: &View,
        ask: impl AsyncFn(&Operator, NodeId) -> Result<T, String>,
    ) -> BTreeMap<NodeId, Result<T, String>>
    where
        T: Send,
    {
        let me = self.cluster.me();
        let up: Vec<NodeId> =
            view.members.keys().copied().filter(|node| *node != me && view.is_up(*node)).collect();
        let asked = up.into_iter().map(|node| {
            let answer = ask(self, node);
            async move {
                let answer = tokio::time::timeout(REPORT_TIMEOUT, answer).await;
                let late = |_| Err(format!("no answer within {}s", REPORT_TIMEOUT.as_secs()));
                (node, answer.unwrap_or_else(late))
            }
        });
        stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).collect().await
    }

    async fn report_of(&self, node: NodeId) -> Result<atoll_core::admin::NodeReport, String> {
        let request = ReportRequest { envelope: Some(self.cluster.envelope()) };
        let answer = self.client(node)?.report(request).await.map_err(told)?;
        serde_json::from_slice(&answer.into_inner().account).map_err(|error| error.to_string())
    }

    async fn repair_at(&self, node: NodeId) -> Result<(), String> {
        let request = RepairRequest { envelope: Some(self.cluster.envelope()) };
        self.client(node)?.repair(request).await.map_err(told)?;
        Ok(())
    }

    fn client(&self, node: NodeId) -> Result<OperatorClient<Channel>, String> {
        Ok(OperatorClient::new(self.cluster.channel(node).map_err(told)?))
    }
}

fn told(status: tonic::Status) -> String {
    status.message().to_owned()
}
