//! Join tokens in group 0 of three nodes: each lets in as many as it may, whoever asks where.

#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]
#![allow(clippy::disallowed_methods, reason = "a test, on the real machine")]

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "coordinator_contract/nodes.rs"]
mod nodes;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use atoll_node::{
    cluster::token::{TOKENS, Token, TokenRefused, issue, redeem, sweep},
    coordination::{CoordinationError, Coordinator, CreateMode, Op, SESSION_TIMEOUT, Session},
    io::entropy::OsEntropy,
};

async fn session(nodes: &[nodes::Node], at: usize) -> Arc<dyn Session> {
    loop {
        if let Ok(session) = nodes[at].coordinator().open_session(SESSION_TIMEOUT).await {
            return session;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn outcome(result: &Result<(), TokenRefused>) -> &'static str {
    match result {
        Ok(()) => "in",
        Err(TokenRefused::Used(_)) => "used",
        Err(TokenRefused::Expired(_)) => "expired",
        Err(TokenRefused::Unknown(_)) => "unknown",
        Err(TokenRefused::WrongSecret(_)) => "wrong secret",
        Err(_) => "other",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_in_as_many_as_it_may_and_nobody_else() {
    let nodes = nodes::three().await;
    let mut sessions = Vec::new();
    for at in 0..3 {
        sessions.push(session(&nodes, at).await);
    }
    let first = sessions[0].as_ref();
    for path in ["/atoll", TOKENS, "/atoll/in"] {
        first.create(path, b"", CreateMode::PERSISTENT).await.unwrap();
    }
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);

    // Six ask at three nodes at once. Each writes down that it is in, in the step that uses the token.
    for uses in [1_u32, 1, 2] {
        let token = Token::draw(None, &OsEntropy);
        issue(first, &token, &token.record(now, hour, uses)).await.unwrap();
        let askers = (0..6).map(|asker| {
            let (session, token) = (sessions[asker % 3].clone(), token.clone());
            tokio::spawn(async move {
                let path = format!("/atoll/in/{}-{asker}", token.id());
                let entry = Op::Create { path, data: Vec::new(), mode: CreateMode::PERSISTENT };
                redeem(session.as_ref(), &token, now, vec![entry]).await
            })
        });
        let mut outcomes = Vec::new();
        for asker in askers.collect::<Vec<_>>() {
            outcomes.push(outcome(&asker.await.unwrap()));
        }
        outcomes.sort_unstable();
        let mut expected = vec!["in"; uses as usize];
        expected.resize(6, "used");
        assert_eq!(outcomes, expected);
        first.sync("/atoll").await.unwrap();
        let entered = first.children("/atoll/in").await.unwrap().0;
        let prefix = token.id().to_string();
        let entered = entered.iter().filter(|name| name.starts_with(&prefix)).count();
        assert_eq!(entered, uses as usize);
    }

    let (token, stranger) = (Token::draw(None, &OsEntropy), Token::draw(None, &OsEntropy));
    issue(first, &token, &token.record(now, hour, 1)).await.unwrap();
    let ask = async |token: &Token, now| {
        outcome(&redeem(sessions[1].as_ref(), token, now, Vec::new()).await)
    };
    assert_eq!(ask(&stranger, now).await, "unknown");
    let forged: Token = {
        let (of_token, of_stranger) = (token.reveal(), stranger.reveal());
        let id = of_token.rsplit_once('.').unwrap().0;
        format!("{id}.{}", of_stranger.rsplit_once('.').unwrap().1).parse().unwrap()
    };
    assert_eq!(ask(&forged, now).await, "wrong secret");
    assert_eq!(ask(&token, now + hour).await, "expired");

    // What the token was for is refused: then it was not used.
    let taken = Op::Create { path: TOKENS.to_owned(), data: vec![], mode: CreateMode::PERSISTENT };
    let refused = redeem(sessions[2].as_ref(), &token, now, vec![taken]).await;
    let is_for_that =
        |error: &CoordinationError| matches!(error, CoordinationError::Refused { at: 1, .. });
    assert!(matches!(&refused, Err(TokenRefused::Unavailable(error)) if is_for_that(error)));
    assert_eq!(ask(&token, now).await, "in");

    assert_eq!(sweep(first, now).await.unwrap(), 0, "used ones stay until they would have ended");
    assert_eq!(ask(&token, now).await, "used");
    assert_eq!(sweep(first, now + hour).await.unwrap(), 4);
    assert_eq!(ask(&token, now).await, "unknown");
}
