//! What an operator asks of a node, whichever node that is.
//!
//! [`Operator`] is the handle behind the admin listener and behind the `Operator` service: it answers
//! from this node's parts, asks the other nodes for what only they know, and writes changes where all
//! nodes read them. No node is special, so an operator need not know which one to ask.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_core::{
    admin::{
        ChangeAnswer, Collected, JoinToken, NodeChange, Shares, StagedPlan, Status, Target,
        Whereabouts,
    },
    view::{NodeId, View},
};
use atoll_proto::operator::v1::{
    CollectRequest, RepairRequest, ReportRequest, operator_client::OperatorClient,
};
use futures_util::{StreamExt as _, stream};

use super::{
    AdminError, changes,
    pieces::{Ledger, Page, Pieces, Staged, Write},
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

/// How a change is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Only show what would happen.
    pub dry_run: bool,
    /// Do it although there is an objection that can be overruled.
    pub force: bool,
}

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

    /// Changes one member.
    ///
    /// # Errors
    /// An objection, or the coordination service does not answer.
    pub async fn change(
        &self,
        received: &str,
        change: atoll_core::admin::Change,
        how: How,
    ) -> Result<ChangeAnswer, AdminError> {
        let (view, page) = self.fresh().await?;
        let node = changes::member(&view, &page, received)?;
        self.commit(&view, &page, vec![NodeChange { node: node.0, change }], how).await
    }

    /// Puts one member in another's place.
    ///
    /// # Errors
    /// An objection, or the coordination service does not answer.
    pub async fn replace(
        &self,
        old: &str,
        new: &str,
        how: How,
    ) -> Result<ChangeAnswer, AdminError> {
        use atoll_core::admin::Change;
        let (view, page) = self.fresh().await?;
        let (old, new) = (changes::member(&view, &page, old)?, changes::member(&view, &page, new)?);
        if old == new {
            return Err(AdminError::BadPlan(format!("node {old} cannot replace itself")));
        }
        if !view.is_up(new) {
            return Err(AdminError::BadPlan(format!("node {new} is not up")));
        }
        // A node that still runs hands over first; a dead one cannot.
        let leave = if view.is_up(old) { Change::Drain } else { Change::Remove };
        let changes = vec![
            NodeChange { node: old.0, change: leave },
            NodeChange { node: new.0, change: Change::Undrain },
        ];
        let mut answer = self.commit(&view, &page, changes, how).await?;
        if leave == Change::Drain {
            answer.notes.push(format!("remove node {old} once it is safe to stop"));
        }
        if view.ring.contains(new) {
            let note = format!(
                "node {new} has its part of the ring already: the copies of node {old} are spread \
                 over all nodes"
            );
            answer.notes.push(note);
        }
        Ok(answer)
    }

    async fn commit(
        &self,
        view: &View,
        page: &Page,
        changes: Vec<NodeChange>,
        how: How,
    ) -> Result<ChangeAnswer, AdminError> {
        let outlook = changes::outlook(view, page, &changes)?;
        let mut writes = changes::writes(view, page, &changes)?;
        let mut answer = changes::answer(&outlook, changes);
        if how.dry_run {
            return Ok(answer);
        }
        if writes.is_empty() {
            answer.committed = true;
            answer.notes.push("that is so already; nothing was changed".to_owned());
            return Ok(answer);
        }
        if let Some((plan, _)) = &page.plan {
            return Err(AdminError::PlanStaged(plan.changes.len()));
        }
        changes::objections(view, &outlook, &answer.changes, how.force)?;
        writes.push(Write::NothingStaged);
        self.write(writes, &answer).await?;
        answer.committed = true;
        Ok(answer)
    }

    /// The staged plan.
    ///
    /// # Errors
    /// The coordination service does not answer.
    pub async fn plan(&self) -> Result<Option<StagedPlan>, AdminError> {
        let (view, page) = self.fresh().await?;
        Ok(page.plan.as_ref().map(|(plan, _)| changes::staged(&view, &page, plan)))
    }

    /// Stages a plan, or only shows what it would move.
    ///
    /// # Errors
    /// One is staged already, it makes no sense, or the coordination service does not answer.
    pub async fn stage(
        &self,
        changes: Vec<NodeChange>,
        dry_run: bool,
    ) -> Result<ChangeAnswer, AdminError> {
        let (view, page) = self.fresh().await?;
        let outlook = changes::outlook(&view, &page, &changes)?;
        let mut answer = changes::answer(&outlook, changes);
        if dry_run {
            return Ok(answer);
        }
        if let Some((plan, _)) = &page.plan {
            return Err(AdminError::PlanStaged(plan.changes.len()));
        }
        let plan = Staged { base_epoch: view.epoch.0, changes: answer.changes.clone() };
        self.ledger.write(vec![Write::Stage(plan)]).await?;
        tracing::info!(changes = ?answer.changes, "plan staged");
        answer.staged = true;
        Ok(answer)
    }

    /// Carries the staged plan out.
    ///
    /// # Errors
    /// There is none, the view has changed since, there is an objection, or the coordination service
    /// does not answer.
    pub async fn commit_plan(&self, force: bool) -> Result<ChangeAnswer, AdminError> {
        let (view, page) = self.fresh().await?;
        let Some((plan, version)) = &page.plan else { return Err(AdminError::NoPlan) };
        if plan.base_epoch != view.epoch.0 && !force {
            return Err(AdminError::PlanOutdated { base: plan.base_epoch, now: view.epoch.0 });
        }
        let outlook = changes::outlook(&view, &page, &plan.changes)?;
        changes::objections(&view, &outlook, &plan.changes, force)?;
        let mut writes = changes::writes(&view, &page, &plan.changes)?;
        writes.push(Write::Unstage(*version));
        let mut answer = changes::answer(&outlook, plan.changes.clone());
        self.write(writes, &answer).await?;
        answer.committed = true;
        Ok(answer)
    }

    /// Throws the staged plan away.
    ///
    /// # Errors
    /// There is none, or the coordination service does not answer.
    pub async fn discard_plan(&self) -> Result<(), AdminError> {
        let (_, page) = self.fresh().await?;
        let Some((_, version)) = page.plan else { return Err(AdminError::NoPlan) };
        self.ledger.write(vec![Write::Unstage(version)]).await?;
        tracing::info!("plan discarded");
        Ok(())
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

    /// The view and the ledger, as fresh as any change that was acknowledged.
    async fn fresh(&self) -> Result<(Arc<View>, Page), AdminError> {
        let page = self.ledger.read(true).await?;
        Ok((self.cluster.view(), page))
    }

    async fn write(&self, writes: Vec<Write>, answer: &ChangeAnswer) -> Result<(), AdminError> {
        self.ledger.write(writes).await?;
        tracing::info!(changes = ?answer.changes, arcs_moved = answer.movement.arcs_moved, "operator changed the cluster");
        Ok(())
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
