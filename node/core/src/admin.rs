//! What a node and an operator's tool say to each other: the JSON of the admin API.
//!
//! The shapes stand here, and not once in the node and once in the tool, so that the two can never
//! disagree on a name or a unit. They are read generously: a field that is missing has its default,
//! one that is not known is passed over, a state that is not known is `unknown`. So a tool and a
//! node of neighbouring versions understand each other, which a rolling upgrade needs.
//!
//! Units stand at the end of each name; bytes are whole, shares are percent.

pub mod change;
pub mod failure;
pub mod health;
pub mod report;
pub mod shares;
pub mod status;
pub mod target;
pub mod whereabouts;

pub use change::{Change, ChangeAnswer, JoinToken, Movement, NodeChange, PlanRequest, StagedPlan};
pub use failure::Failure;
pub use health::{Health, Problem};
pub use report::{Collected, Collection, Disk, NodeReport, Repair, Scrub, Synchronisation};
pub use shares::{NodeShare, Shares};
pub use status::{Coordination, Intent, NodeState, NodeStatus, OpenConfiguration, Status};
pub use target::{InvalidTarget, Target};
pub use whereabouts::{Copy, CopyState, Object, ObjectKind, Whereabouts};
