//! `atoll ctl`: each command asks, prints, and perhaps waits.

use atoll_core::admin::{
    Change, ChangeAnswer, Collected, JoinToken, PlanRequest, Shares, StagedPlan, Status,
    Whereabouts,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    admin::{Admin, Answer, escaped},
    cli::{ChangeOptions, Ctl, CtlCommand, Output, PlanCommand, StatusOptions, TokenCommand},
    print,
    problem::Problem,
    render, watch,
};

/// Runs one call.
pub async fn run(call: Ctl) -> Result<(), Problem> {
    let Ctl { options, command } = call;
    let admin = Admin::new(options.admin.clone(), options.timeout);
    let tool = Tool { admin, output: options.output };
    match command {
        CtlCommand::Status(asked) => tool.status(&asked).await,
        CtlCommand::Ring => tool.show::<Shares>("/v1/ring", render::ring::text).await,
        CtlCommand::Where { target } => {
            let path = format!("/v1/where?ref={}", escaped(&target.to_string()));
            tool.show::<Whereabouts>(&path, render::whereabouts::text).await
        }
        CtlCommand::Drain(asked) => tool.change(Change::Drain, &asked).await,
        CtlCommand::Undrain(asked) => tool.change(Change::Undrain, &asked).await,
        CtlCommand::Remove(asked) => tool.change(Change::Remove, &asked).await,
        CtlCommand::Replace { options: asked, by } => tool.replace(&asked, &by).await,
        CtlCommand::Plan(command) => tool.plan(command).await,
        CtlCommand::Repair => tool.repair().await,
        CtlCommand::Gc { dry_run } => {
            let path = if dry_run { "/v1/gc?dry_run=1" } else { "/v1/gc" };
            tool.act::<Collected>(path, &json!({}), render::change::collection).await
        }
        CtlCommand::Token(TokenCommand::Create { ttl }) => {
            // Less than a second is rounded up: no token is good for no time at all.
            let seconds = ttl.as_secs().max(1);
            let body = json!({ "ttl_seconds": seconds });
            tool.act::<JoinToken>("/v1/tokens", &body, render::change::token).await
        }
    }
}

/// What every command needs.
pub struct Tool {
    /// Who is asked.
    pub admin: Admin,
    /// How answers are printed.
    pub output: Output,
}

impl Tool {
    /// Prints an answer, for people with `text`.
    pub fn answer<T>(
        &self,
        answer: &Answer<T>,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Problem> {
        match self.output {
            Output::Table => print(&text(&answer.value)),
            Output::Json => print(&format!("{:#}\n", answer.json)),
        }
    }

    async fn show<T: DeserializeOwned>(
        &self,
        path: &str,
        text: fn(&T) -> String,
    ) -> Result<(), Problem> {
        self.answer(&self.admin.get(path).await?, text)
    }

    async fn act<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        text: fn(&T) -> String,
    ) -> Result<(), Problem> {
        self.answer(&self.admin.post(path, body).await?, text)
    }

    async fn status(&self, asked: &StatusOptions) -> Result<(), Problem> {
        if asked.watch {
            return watch::status(self, asked.interval).await;
        }
        if let Some(limit) = asked.wait {
            watch::until_well(self, asked.interval, limit).await?;
        }
        let answer = self.admin.get::<Status>("/v1/status").await?;
        self.answer(&answer, render::status::text)?;
        let well = answer.value.health < atoll_core::admin::Health::Degraded;
        if asked.check && !well { Err(Problem::NotWell) } else { Ok(()) }
    }

    async fn change(&self, change: Change, asked: &ChangeOptions) -> Result<(), Problem> {
        let path = format!("/v1/nodes/{}/{change}{}", escaped(&asked.node), query(asked));
        self.commit(&path, &json!({}), asked).await
    }

    async fn replace(&self, asked: &ChangeOptions, by: &str) -> Result<(), Problem> {
        let path = format!("/v1/nodes/{}/replace{}", escaped(&asked.node), query(asked));
        self.commit(&path, &json!({ "by": by }), asked).await
    }

    /// Asks for a change, prints what it moves, and waits for its end if that is wanted.
    async fn commit(
        &self,
        path: &str,
        body: &impl Serialize,
        asked: &ChangeOptions,
    ) -> Result<(), Problem> {
        let answer = self.admin.post::<ChangeAnswer>(path, body).await?;
        self.answer(&answer, render::change::text)?;
        if asked.watch {
            watch::until_moved(self, &answer.value.changes).await?;
        }
        Ok(())
    }

    async fn plan(&self, command: PlanCommand) -> Result<(), Problem> {
        match command {
            PlanCommand::Show => {
                self.show::<Option<StagedPlan>>("/v1/plan", render::change::plan).await
            }
            PlanCommand::Stage { changes, dry_run } => {
                let path = if dry_run { "/v1/plan?dry_run=1" } else { "/v1/plan" };
                let request = PlanRequest { changes };
                self.act::<ChangeAnswer>(path, &request, render::change::text).await
            }
            PlanCommand::Commit { force } => {
                let path = if force { "/v1/plan/commit?force=1" } else { "/v1/plan/commit" };
                self.act::<ChangeAnswer>(path, &json!({}), render::change::text).await
            }
            PlanCommand::Discard => {
                let answer = self.admin.delete::<serde_json::Value>("/v1/plan").await?;
                self.answer(&answer, |_| "the staged plan is discarded\n".to_owned())
            }
        }
    }

    async fn repair(&self) -> Result<(), Problem> {
        let answer = self.admin.post::<serde_json::Value>("/v1/repair", &json!({})).await?;
        self.answer(&answer, render::change::repair)
    }
}

fn query(asked: &ChangeOptions) -> &'static str {
    match (asked.dry_run, asked.force) {
        (false, false) => "",
        (true, false) => "?dry_run=1",
        (false, true) => "?force=1",
        (true, true) => "?dry_run=1&force=1",
    }
}
