//! Keys sort as what they name, and no two facts share one.

use proptest::prelude::*;

use super::*;

fn repo_name() -> impl Strategy<Value = RepoName> {
    "[ab0]{1,2}([-._/][ab0]{1,2}){0,2}".prop_map(|name| name.parse().unwrap())
}

fn tag_name() -> impl Strategy<Value = Tag> {
    "[ab0_][ab0._-]{0,3}".prop_map(|tag| tag.parse().unwrap())
}

fn any_digest() -> impl Strategy<Value = Digest> {
    // Edges of the byte range, so that prefix ends have to carry.
    let byte = prop_oneof![Just(0), Just(255), any::<u8>()];
    (any::<bool>(), byte, any::<u8>()).prop_map(|(long, fill, last)| {
        let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let mut hash = vec![fill; algorithm.len_bytes()];
        *hash.last_mut().unwrap() = last;
        Digest::from_bytes(algorithm, &hash).unwrap()
    })
}

type Parts = (RepoName, Digest, Digest, Tag);

proptest! {
    #[test]
    fn keys_sort_as_what_they_are_made_of(
        a in (repo_name(), any_digest(), any_digest(), tag_name()),
        b in (repo_name(), any_digest(), any_digest(), tag_name()),
    ) {
        let order = |key: &dyn Fn(&Parts) -> Vec<u8>| key(&a).cmp(&key(&b));
        prop_assert_eq!(order(&|k| repo(&k.0)), a.0.cmp(&b.0));
        prop_assert_eq!(order(&|k| link(&k.0, &k.1)), (&a.0, a.1).cmp(&(&b.0, b.1)));
        prop_assert_eq!(order(&|k| holder(&k.1, &k.0)), (a.1, &a.0).cmp(&(b.1, &b.0)));
        prop_assert_eq!(order(&|k| manifest(&k.0, &k.1)), (&a.0, a.1).cmp(&(&b.0, b.1)));
        prop_assert_eq!(order(&|k| tag(&k.0, &k.3)), (&a.0, &a.3).cmp(&(&b.0, &b.3)));
        prop_assert_eq!(
            order(&|k| pointer(&k.0, &k.1, &k.3)),
            (&a.0, a.1, &a.3).cmp(&(&b.0, b.1, &b.3))
        );
        prop_assert_eq!(
            order(&|k| referrer(&k.0, &k.1, &k.2)),
            (&a.0, a.1, a.2).cmp(&(&b.0, b.1, b.2))
        );
        prop_assert_eq!(
            order(&|k| reference(&k.1, &k.0, &k.2)),
            (a.1, &a.0, a.2).cmp(&(b.1, &b.0, b.2))
        );
    }

    #[test]
    fn requests_sort_by_client_and_sequence(a: (u128, u64), b: (u128, u64)) {
        let key = |(client, sequence)| dedupe(RequestId { client, sequence });
        prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
        prop_assert_eq!(age(a.1).cmp(&age(b.1)), a.1.cmp(&b.1));
        prop_assert_eq!(client(a.0).cmp(&client(b.0)), a.0.cmp(&b.0));
    }

    #[test]
    fn a_prefix_holds_its_own_rows_and_no_others(
        a in repo_name(), b in repo_name(), x in any_digest(), y in any_digest(), t in tag_name(),
    ) {
        let holds = |prefix: Vec<u8>, key: Vec<u8>| {
            let inside = key >= prefix && prefix_end(&prefix).is_none_or(|end| key < end);
            assert_eq!(inside, key.starts_with(&prefix));
            inside
        };
        prop_assert!(holds(repos(), repo(&a)));
        prop_assert_eq!(holds(links_of(&a), link(&b, &x)), a == b);
        prop_assert_eq!(holds(manifests_of(&a), manifest(&b, &x)), a == b);
        prop_assert_eq!(holds(tags_of(&a), tag(&b, &t)), a == b);
        prop_assert_eq!(holds(holders_of(&x), holder(&y, &a)), x == y);
        prop_assert_eq!(holds(references_to(&x), reference(&y, &a, &x)), x == y);
        prop_assert_eq!(holds(pointers_to(&a, &x), pointer(&b, &y, &t)), (&a, x) == (&b, y));
        prop_assert_eq!(holds(referrers_of(&a, &x), referrer(&b, &y, &x)), (&a, x) == (&b, y));
    }

    #[test]
    fn names_at_the_end_of_a_key_are_read_back(name in repo_name(), digest in any_digest()) {
        let prefix = holders_of(&digest);
        prop_assert_eq!(text::<RepoName>(&holder(&digest, &name)[prefix.len()..]), Some(name.clone()));
        let at = holders().len();
        prop_assert_eq!(digest_and_text(&prefix[at..]), None::<(Digest, RepoName)>);
        let row = holder(&digest, &name);
        prop_assert_eq!(digest_and_text(&row[at..]), Some((digest, name.clone())));
        let prefix = links_of(&name);
        prop_assert_eq!(whole_digest(&link(&name, &digest)[prefix.len()..]), Some(digest));
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = whole_digest(&bytes);
        let _ = text::<RepoName>(&bytes);
        let _ = digest_and_text::<RepoName>(&bytes);
        let _ = prefix_end(&bytes);
    }
}

#[test]
fn kinds_have_keys_of_their_own() {
    let kinds = [
        REPO, LINK, HOLDER, MANIFEST, TAG, POINTER, REFERRER, REFERENCE, DEDUPE, AGE, CLIENT, GC,
        CONDEMNED,
    ];
    let distinct: std::collections::BTreeSet<_> = kinds.into_iter().collect();
    assert_eq!(distinct.len(), kinds.len());
}

#[test]
fn there_is_nothing_after_the_highest_bytes() {
    assert_eq!(prefix_end(&[]), None);
    assert_eq!(prefix_end(&[255, 255]), None);
    assert_eq!(prefix_end(&[1, 255, 255]), Some(vec![2]));
}
