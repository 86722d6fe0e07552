#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]

use proptest::prelude::*;

use super::*;
use crate::io::entropy::SimEntropy;

fn token(seed: u64) -> Token {
    let authority = seed.is_multiple_of(2).then(|| Fingerprint::of(&seed.to_be_bytes()));
    Token::draw(authority, &SimEntropy::new(seed))
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

proptest! {
    #[test]
    fn a_token_is_read_as_it_was_written(seed: u64) {
        let token = token(seed);
        prop_assert_eq!(format!(" {}\n", token.reveal()).parse(), Ok(token));
    }

    #[test]
    fn a_changed_token_is_another_or_none(seed: u64, at: prop::sample::Index, to in "[ -~]") {
        let token = token(seed);
        let mut text = token.reveal();
        let at = at.index(text.len());
        prop_assume!(text[at..=at] != to);
        text.replace_range(at..=at, &to);
        prop_assert_ne!(text.parse(), Ok(token));
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text: String, dotted in "[a-z0-9é.]{0,200}") {
        prop_assert!(text.parse::<Token>().is_err());
        let text = format!("atoll1.{dotted}");
        prop_assert!(text.parse::<Token>().is_err());
    }

    #[test]
    fn any_bytes_are_no_panic_as_a_record(bytes: Vec<u8>) {
        let _ = TokenRecord::decode(&bytes);
    }
}

#[test]
fn a_text_that_is_no_token_is_told_what_is_wrong() {
    let good = token(2).reveal();
    let cases = [
        ("", "this text has 1 (0 characters in all)"),
        ("hunter2", "this text has 1 (7 characters in all)"),
        (&good[..100], "the secret of a join token is 32 hexadecimal digits; here it has 11"),
        (&good[..80], "this text has 3"),
        (&good.replacen("atoll1", "atoll9", 1), "begins with `atoll1.`"),
        ("atoll1.ab.0011223344556677.0", "64 hexadecimal digits or `plain`; here it has 2"),
        ("atoll1.plain.x.0", "the id of a join token is 16 hexadecimal digits; here it has 1"),
    ];
    for (text, expected) in cases {
        let error = text.parse::<Token>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn neither_an_error_nor_a_debug_text_shows_the_secret() {
    let token = token(3);
    let secret = hex(&token.secret);
    assert!(token.reveal().contains(&secret));
    assert!(!format!("{token:?}").contains(&secret));
    let record = token.record(at(0), TOKEN_LIFETIME, 1);
    assert!(!hex(&record.encode()).contains(&secret));
    let torn = format!("atoll1.{secret}.{secret}");
    assert!(!torn.parse::<Token>().unwrap_err().to_string().contains(&secret));
}

#[test]
fn a_record_opens_for_its_token_until_it_ends_or_is_used_up() {
    let (token, other) = (token(4), token(5));
    let record = token.record(at(1000), Duration::from_secs(60), 2);
    assert_eq!(TokenRecord::decode(&record.encode()), Some(record.clone()));
    assert!(matches!(record.used_by(&other, at(1000)), Err(TokenRefused::WrongSecret(_))));
    assert!(matches!(record.used_by(&token, at(1060)), Err(TokenRefused::Expired(_))));
    let once = record.used_by(&token, at(1059)).unwrap();
    let twice = once.used_by(&token, at(1059)).unwrap();
    assert!(matches!(twice.used_by(&token, at(1059)), Err(TokenRefused::Used(_))));
}

#[test]
fn a_token_of_a_cluster_that_is_set_up_otherwise_is_told_so() {
    let clock: Arc<dyn Clock> = Arc::new(crate::io::clock::SimClock::new());
    let (secured, plain) = (token(2), token(3));
    let security = |token: &Token, protection| token.security(protection, clock.clone());
    assert!(!security(&secured, Protection::Mtls).unwrap().is_plaintext());
    assert!(security(&plain, Protection::Local).unwrap().is_plaintext());
    assert!(security(&plain, Protection::Exposed).unwrap().is_plaintext());
    for protection in [Protection::Local, Protection::Exposed] {
        let error = security(&secured, protection).unwrap_err();
        assert_eq!(error, WrongProtection::ClusterIsSecured);
    }
    let error = security(&plain, Protection::Mtls).unwrap_err();
    assert_eq!(error, WrongProtection::ClusterIsPlaintext);
}
