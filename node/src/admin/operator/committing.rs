//! Changes of who belongs to the cluster: shown, staged, committed.
//!
//! Each reads the view and the ledger fresh, looks ahead, and writes by compare-and-set: of two
//! operators who work at the same time one is told so.

use std::sync::Arc;

use atoll_core::{
    admin::{Change, ChangeAnswer, NodeChange, StagedPlan},
    view::View,
};

use super::{
    super::{
        AdminError, changes,
        pieces::{Page, Staged, Write},
    },
    Operator,
};

/// How a change is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Only show what would happen.
    pub dry_run: bool,
    /// Do it although there is an objection that can be overruled.
    pub force: bool,
}

impl Operator {
    /// Changes one member.
    ///
    /// # Errors
    /// An objection, or the coordination service does not answer.
    pub async fn change(
        &self,
        received: &str,
        change: Change,
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

    async fn write(&self, writes: Vec<Write>, answer: &ChangeAnswer) -> Result<(), AdminError> {
        self.ledger.write(writes).await?;
        tracing::info!(changes = ?answer.changes, arcs_moved = answer.movement.arcs_moved, "operator changed the cluster");
        Ok(())
    }

    /// The view and the ledger, as fresh as any change that was acknowledged.
    async fn fresh(&self) -> Result<(Arc<View>, Page), AdminError> {
        let page = self.ledger.read(true).await?;
        Ok((self.cluster.view(), page))
    }
}
