//! Between the messages and the core's types.

use atoll_core::coordination::{self as core, watches::WatchKind};
use atoll_proto::coordination::v1::{
    ChangeReply, Event, EventKind, Op, OpOutcome, Reason, Refusal, Stat,
    WatchKind as WatchKindMessage, WatchReply, op,
};

use crate::coordination::WatchEvent;

pub(super) fn op(message: Op) -> Option<core::Op> {
    Some(match message.op? {
        op::Op::Create(create) => core::Op::Create {
            path: create.path,
            data: create.data.into(),
            mode: core::CreateMode { ephemeral: create.ephemeral, sequential: create.sequential },
        },
        op::Op::Set(set) => {
            core::Op::Set { path: set.path, data: set.data.into(), version: set.version }
        }
        op::Op::Delete(delete) => core::Op::Delete { path: delete.path, version: delete.version },
        op::Op::Check(check) => core::Op::Check { path: check.path, version: check.version },
    })
}

pub(super) fn change_reply(
    zxid: core::Zxid,
    verdict: Result<Vec<core::OpOutcome>, (usize, core::Refusal)>,
) -> ChangeReply {
    let zxid = zxid.0;
    match verdict {
        Ok(outcomes) => {
            let outcomes = outcomes.into_iter().map(outcome).collect();
            ChangeReply { zxid, outcomes, refusal: None }
        }
        Err((at, refusal)) => {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            let (reason, text) = (reason(&refusal).into(), refusal.to_string());
            let refusal = Some(Refusal { at, reason, text });
            ChangeReply { zxid, outcomes: Vec::new(), refusal }
        }
    }
}

fn outcome(outcome: core::OpOutcome) -> OpOutcome {
    match outcome {
        core::OpOutcome::Created { path, stat: created } => {
            OpOutcome { path, stat: Some(stat(created)) }
        }
        core::OpOutcome::Set { stat: set } => {
            OpOutcome { path: String::new(), stat: Some(stat(set)) }
        }
        core::OpOutcome::Deleted | core::OpOutcome::Checked => OpOutcome::default(),
    }
}

fn reason(refusal: &core::Refusal) -> Reason {
    match refusal {
        core::Refusal::NoNode(_) => Reason::NoNode,
        core::Refusal::NodeExists(_) => Reason::NodeExists,
        core::Refusal::BadVersion { .. } => Reason::BadVersion,
        core::Refusal::NotEmpty(_) => Reason::NotEmpty,
        core::Refusal::NoChildrenForEphemerals(_) => Reason::NoChildrenForEphemerals,
        core::Refusal::SessionExpired(_) => Reason::SessionExpired,
        core::Refusal::InvalidPath(_) => Reason::InvalidPath,
        core::Refusal::TooLarge { .. } => Reason::TooLarge,
    }
}

pub(super) fn stat(stat: core::Stat) -> Stat {
    Stat {
        czxid: stat.czxid.0,
        mzxid: stat.mzxid.0,
        pzxid: stat.pzxid.0,
        ctime_ms: stat.ctime_ms,
        mtime_ms: stat.mtime_ms,
        version: stat.version,
        cversion: stat.cversion,
        aversion: stat.aversion,
        ephemeral_owner: stat.ephemeral_owner.map_or(0, |session| session.0),
        data_length: stat.data_length,
        num_children: stat.num_children,
    }
}

pub(super) fn watch_kind(kind: WatchKindMessage) -> Option<WatchKind> {
    match kind {
        WatchKindMessage::Unspecified => None,
        WatchKindMessage::Data => Some(WatchKind::Data),
        WatchKindMessage::Exists => Some(WatchKind::Exists),
        WatchKindMessage::Children => Some(WatchKind::Children),
        WatchKindMessage::Persistent => Some(WatchKind::Persistent),
        WatchKindMessage::PersistentRecursive => Some(WatchKind::PersistentRecursive),
    }
}

pub(super) fn watch_reply(event: WatchEvent) -> WatchReply {
    let WatchEvent::Changed(event) = event else {
        return WatchReply { event: None, missed: true };
    };
    let kind = match event.kind {
        core::EventKind::Created => EventKind::Created,
        core::EventKind::Deleted => EventKind::Deleted,
        core::EventKind::DataChanged => EventKind::DataChanged,
        core::EventKind::ChildrenChanged => EventKind::ChildrenChanged,
    };
    let event = Event { zxid: event.zxid.0, kind: kind.into(), path: event.path };
    WatchReply { event: Some(event), missed: false }
}
