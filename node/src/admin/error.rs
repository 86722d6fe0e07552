//! Every way in which the admin API says no, and the one table of what that looks like.

use atoll_core::{
    admin::{Failure, InvalidTarget},
    view::NodeId,
};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The node has not opened its parts yet.
    #[error("the node is still starting")]
    Starting,
    /// No such path.
    #[error("`{0}` is no path of the admin API")]
    UnknownPath(String),
    /// A path that exists, asked with another method.
    #[error("`{0}` is not a method of this path")]
    WrongMethod(String),
    /// A change from another machine.
    #[error("changes are only taken from this machine, and `{0}` is another")]
    NotLocal(String),
    /// A change that a web page made a browser send.
    #[error("changes are not taken from web pages, and this one was sent by `{0}`")]
    CrossSite(String),
    /// The body is not what the path takes.
    #[error("the body cannot be understood: {0}")]
    BadBody(String),
    /// The query is not what the path takes.
    #[error("the query cannot be understood: {0}")]
    BadQuery(String),
    /// What `where` was asked for is nothing.
    #[error(transparent)]
    BadTarget(#[from] InvalidTarget),
    /// No member goes by this.
    #[error("there is no node `{received}`")]
    UnknownNode {
        /// What was received.
        received: String,
        /// The members there are.
        known: Vec<NodeId>,
    },
    /// No such image.
    #[error("there is no `{0}` in this cluster")]
    UnknownImage(String),
    /// A plan is staged.
    #[error("a plan with {0} change(s) is staged")]
    PlanStaged(usize),
    /// No plan is staged.
    #[error("no plan is staged")]
    NoPlan,
    /// The staged plan was made from an older view.
    #[error("the staged plan was made at epoch {base}, and the cluster is at {now}")]
    PlanOutdated {
        /// The epoch of its view.
        base: u64,
        /// The present one.
        now: u64,
    },
    /// A change that says nothing or contradicts itself.
    #[error("the plan makes no sense: {0}")]
    BadPlan(String),
    /// Copies move for an earlier change.
    #[error("copies still move for an earlier change of the ring")]
    StillMoving,
    /// No node would hold anything any more.
    #[error("no node would be left in the ring")]
    NobodyLeft,
    /// More copies would be given up than a blob can lose.
    #[error("{lost} nodes that are down would be given up, and a blob has {copies} copies")]
    MayLoseData {
        /// Nodes in the ring that are down and would leave.
        lost: usize,
        /// Copies of each blob.
        copies: usize,
    },
    /// A node is to be forgotten that still has copies others need.
    #[error("node {0} is up and its copies are not elsewhere yet")]
    NotDrained(NodeId),
    /// Somebody else changed the same at the same time.
    #[error("somebody else changed the cluster at the same time")]
    Conflict,
    /// The coordination service does not answer.
    #[error("the coordination service cannot be reached: {0}")]
    NoCoordination(String),
    /// A part of the node, or another node, failed at it.
    #[error("{0}")]
    Failed(String),
    /// This node was built or configured without it.
    #[error("{0} is not available on this node")]
    Unavailable(&'static str),
}

impl AdminError {
    /// The table: the status, the code for programs, and what to do.
    fn row(&self) -> (StatusCode, &'static str, String) {
        use StatusCode as S;
        let text = |text: &str| text.to_owned();
        match self {
            AdminError::Starting => (
                S::SERVICE_UNAVAILABLE,
                "starting",
                text("try again; /readyz tells what is missing"),
            ),
            AdminError::UnknownPath(_) => (
                S::NOT_FOUND,
                "unknown_path",
                text("paths begin with /v1/; see docs/operations/cluster.md"),
            ),
            AdminError::WrongMethod(_) => {
                (S::METHOD_NOT_ALLOWED, "wrong_method", text("read with GET, change with POST"))
            }
            AdminError::NotLocal(_) => (
                S::FORBIDDEN,
                "not_local",
                text("run atoll on a machine with a node, or set admin.allow_remote = true there"),
            ),
            AdminError::CrossSite(_) => {
                (S::FORBIDDEN, "cross_site", text("use atoll or another tool that sends no Origin"))
            }
            AdminError::BadBody(_) => {
                (S::BAD_REQUEST, "bad_body", text("send JSON as the documents have it"))
            }
            AdminError::BadQuery(_) => (S::BAD_REQUEST, "bad_query", text("flags are 1 or 0")),
            AdminError::BadTarget(_) => {
                (S::BAD_REQUEST, "bad_target", text("write repo:tag, repo@sha256:… or sha256:…"))
            }
            AdminError::UnknownNode { known, .. } => (
                S::NOT_FOUND,
                "unknown_node",
                format!("give the number or name of a member: {}", listed(known)),
            ),
            AdminError::UnknownImage(_) => (
                S::NOT_FOUND,
                "unknown_image",
                text("tags and manifests of a repository are listed by /v2/<name>/tags/list"),
            ),
            AdminError::PlanStaged(_) => (
                S::CONFLICT,
                "plan_staged",
                text("commit or discard it first: `atoll ctl plan show`"),
            ),
            AdminError::NoPlan => {
                (S::NOT_FOUND, "no_plan", text("stage one first: `atoll ctl plan stage`"))
            }
            AdminError::PlanOutdated { .. } => (
                S::CONFLICT,
                "plan_outdated",
                text("discard it and stage it again, so that what it moves is seen"),
            ),
            AdminError::BadPlan(_) => (
                S::BAD_REQUEST,
                "bad_plan",
                text("name each node once, with drain, undrain or remove"),
            ),
            AdminError::StillMoving => (
                S::CONFLICT,
                "still_moving",
                text(
                    "wait for `atoll ctl status --wait 1h`, or add --force: then more moves than need be",
                ),
            ),
            AdminError::NobodyLeft => (S::CONFLICT, "nobody_left", text("add a node first")),
            AdminError::MayLoseData { .. } => (
                S::CONFLICT,
                "may_lose_data",
                text(
                    "bring one of them back first; --force gives up every blob that only they hold",
                ),
            ),
            AdminError::NotDrained(node) => (
                S::CONFLICT,
                "not_drained",
                format!("`atoll ctl drain {node} --watch` first; --force cuts it off as it is"),
            ),
            AdminError::Conflict => {
                (S::CONFLICT, "conflict", text("look at the status and try again"))
            }
            AdminError::NoCoordination(_) => (
                S::SERVICE_UNAVAILABLE,
                "no_coordination",
                text("a majority of its voters must be up; try again, or ask another node"),
            ),
            AdminError::Failed(_) => {
                (S::BAD_GATEWAY, "failed", text("the logs of the nodes have more; try again"))
            }
            AdminError::Unavailable(_) => {
                (S::NOT_IMPLEMENTED, "unavailable", text("ask another node"))
            }
        }
    }

    /// What a caller is told.
    pub fn failure(&self) -> Failure {
        let (_, code, detail) = self.row();
        Failure { code: code.to_owned(), message: self.to_string(), detail }
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let status = self.row().0;
        if status.is_server_error() {
            tracing::warn!(error = %self, %status, "admin request failed");
        } else {
            tracing::debug!(error = %self, %status, "admin request refused");
        }
        (status, Json(self.failure())).into_response()
    }
}

fn listed(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ")
}
