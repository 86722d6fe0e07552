//! Changes of the tree, made up at random.

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::coordination::{Change, CreateMode, Op, SessionId};

/// Any change that one of `sessions`, or one that never was, may ask for in this term.
pub fn any(sessions: Vec<SessionId>, term: u64) -> impl Strategy<Value = Change> {
    let others = [SessionId(0), SessionId(u64::MAX)];
    let session = move || {
        let living = sessions.clone();
        let living = if living.is_empty() { others.to_vec() } else { living };
        prop_oneof![8 => select(living), 1 => select(others.to_vec())]
    };
    let timed = term - 1..=term;
    prop_oneof![
        3 => (100..3000_u64)
            .prop_map(|timeout_ms| Change::CreateSession { timeout_ms, owner: 1 }),
        1 => session().prop_map(|session| Change::CloseSession { session }),
        1 => (vec(session(), 0..3), timed)
            .prop_map(|(sessions, term)| Change::ExpireSessions { sessions, term }),
        14 => (session(), vec(any_op(), 1..4))
            .prop_map(|(session, ops)| Change::Multi { session, ops }),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let data = || vec(prop::num::u8::ANY, 0..3);
    let version = || option::of(-1..3);
    let mode = (prop::bool::ANY, prop::bool::weighted(0.2))
        .prop_map(|(ephemeral, sequential)| CreateMode { ephemeral, sequential });
    prop_oneof![
        4 => (any_path(), data(), mode)
            .prop_map(|(path, data, mode)| Op::Create { path, data, mode }),
        2 => (any_path(), data(), version())
            .prop_map(|(path, data, version)| Op::Set { path, data, version }),
        2 => (any_path(), version()).prop_map(|(path, version)| Op::Delete { path, version }),
        1 => (any_path(), version()).prop_map(|(path, version)| Op::Check { path, version }),
    ]
}

fn any_path() -> impl Strategy<Value = String> {
    let good = select(vec!["/a", "/b", "/a/a", "/a/b", "/b/a", "/a/b/a", "/a/b/b"]);
    let odd = select(vec!["/", "", "a", "/a/", "/a//b", "/a/..", "/a\u{1}"]);
    prop_oneof![8 => good, 1 => odd].prop_map(str::to_owned)
}
