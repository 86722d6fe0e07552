//! Scopes as clients ask for them, the algebra of access, and the table of what a route needs.

use proptest::prelude::*;

use super::*;
use crate::{Algorithm, Digest, RepoName, route, route::UploadId};

fn repository(name: &str) -> Resource {
    Resource::Repository(name.parse().unwrap())
}

fn access(texts: &[&str]) -> Access {
    Access::parse(texts.iter().copied()).unwrap()
}

#[test]
fn reads_the_scopes_clients_send() {
    let actions = |list: &[Action]| list.iter().copied().collect::<Actions>();
    use Action::*;
    for (text, resource, expected) in [
        ("repository:a/b:pull", repository("a/b"), &[Pull][..]),
        ("repository:a/b:push,pull", repository("a/b"), &[Pull, Push]),
        ("repository:a:pull,push,delete", repository("a"), &[Pull, Push, Delete]),
        ("repository:a:*", repository("a"), &[All]),
        ("repository:a:pull,*", repository("a"), &[All]),
        ("repository(plugin):a:pull", repository("a"), &[Pull]),
        ("repository:a:", repository("a"), &[]),
        ("repository:a:pull,metadata,,pull", repository("a"), &[Pull]),
        ("registry:catalog:*", Resource::Catalog, &[All]),
    ] {
        let scope: Scope = text.parse().unwrap();
        assert_eq!(scope, Scope { resource, actions: actions(expected) }, "{text}");
    }
}

#[test]
fn what_is_not_ours_is_foreign() {
    for (text, kind, name) in [
        ("repository:host:5000/a/b:pull", "repository", "host:5000/a/b"),
        ("repository:Foo:pull", "repository", "Foo"),
        ("repository:../x:pull", "repository", "../x"),
        ("registry:other:*", "registry", "other"),
        ("cloud(x1):y:pull", "cloud(x1)", "y"),
    ] {
        let scope: Scope = text.parse().unwrap();
        let foreign = Resource::Foreign { kind: kind.to_owned(), name: name.to_owned() };
        assert_eq!(scope.resource, foreign, "{text}");
        assert_eq!(scope.to_string(), text);
    }
}

#[test]
fn refuses_what_is_no_scope() {
    use InvalidScopeReason::*;
    for (text, reason) in [
        ("", Parts),
        ("repository", Parts),
        ("repository:a", Parts),
        (":a:pull", Kind),
        ("Repository:a:pull", Kind),
        ("repository():a:pull", Kind),
        ("repository(a:b:pull", Kind),
        ("repository::pull", Name),
        ("::", Kind),
        ("repository:a:b:c:pull", Name),
        ("repository:a\"b:pull", Name),
        ("repository:é:pull", Name),
        ("repository:a\nb:pull", Name),
        ("repository:a:PULL", Actions),
        ("repository:a:pull push", Actions),
        (&format!("repository:{}:pull", "a".repeat(SCOPE_BYTES_MAX)), Long),
    ] {
        assert_eq!(text.parse::<Scope>().unwrap_err().reason, reason, "{text}");
    }
}

#[test]
fn sets_are_lists_of_scopes() {
    let all = access(&["repository:a:pull  repository:b:push", "repository:a:push", ""]);
    assert_eq!(all.to_string(), "repository:a:pull,push repository:b:push");
    assert!(all.allows(&repository("a"), Action::Push));
    assert!(!all.allows(&repository("a"), Action::Delete));
    assert!(!all.allows(&repository("b"), Action::Pull));
    assert!(!all.allows(&repository("a/b"), Action::Pull));
    assert!(!all.allows(&Resource::Catalog, Action::All));

    let scopes: Vec<String> = (0..=SCOPES_MAX).map(|n| format!("repository:r{n}:pull")).collect();
    assert!(Access::parse([scopes[..SCOPES_MAX].join(" ").as_str()]).is_ok());
    for many in [vec![scopes.join(" ")], scopes] {
        let error = Access::parse(many.iter().map(String::as_str)).unwrap_err();
        assert_eq!(error, TooManyScopes.into());
    }
}

#[test]
fn a_policy_cuts_down_and_never_adds() {
    let asked = access(&["repository:a:pull,push repository:b:* repository:c:pull"]);
    let granted = access(&["repository:a:* repository:b:pull,delete registry:catalog:*"]);
    let expected = access(&["repository:a:pull,push repository:b:pull,delete"]);
    assert_eq!(asked.intersection(&granted), expected);
    assert_eq!(granted.intersection(&asked), expected);
    assert!(asked.intersection(&Access::default()).is_empty());
    // Three actions are not all of them.
    let most = access(&["repository:a:pull,push,delete"]);
    assert!(!most.allows(&repository("a"), Action::All));
}

#[test]
fn every_route_says_what_it_needs() {
    let repo: RepoName = "a/b".parse().unwrap();
    let digest = Digest::of(Algorithm::Sha256, b"");
    let id = UploadId::from_bytes([7; 16]);
    let reading = ["pull", "pull", "pull,push", "pull,push", "pull,push", "delete"];
    let pushing = ["pull,push"; 6];
    for (route, actions) in [
        (Route::Tags { repo: repo.clone() }, reading),
        (Route::Referrers { repo: repo.clone(), digest }, reading),
        (route::parse("/v2/a/b/manifests/x").unwrap(), reading),
        (Route::Blob { repo: repo.clone(), digest }, reading),
        (Route::Uploads { repo: repo.clone() }, pushing),
        (Route::Upload { repo, id }, pushing),
    ] {
        for (method, actions) in Method::ALL.into_iter().zip(actions) {
            let scope = required(&route, method).unwrap();
            assert_eq!(
                scope.to_string(),
                format!("repository:a/b:{actions}"),
                "{method:?} {route}"
            );
        }
    }
    for method in Method::ALL {
        let catalog = required(&Route::Catalog, method).unwrap();
        assert_eq!(catalog.to_string(), "registry:catalog:*");
        for route in [Route::Base, Route::Registries, Route::View, Route::Extensions] {
            assert_eq!(required(&route, method), None);
        }
    }
}

#[test]
fn a_token_for_one_repository_or_action_does_not_serve_another() {
    let route = |name: &str| route::parse(&format!("/v2/{name}/manifests/x")).unwrap();
    let need = |name: &str, method| required(&route(name), method).unwrap();
    let pull_a = access(&["repository:a:pull"]);
    assert!(pull_a.covers(&need("a", Method::Get)));
    assert!(!pull_a.covers(&need("a", Method::Put)));
    assert!(!pull_a.covers(&need("a", Method::Delete)));
    assert!(!pull_a.covers(&need("b", Method::Get)));
    assert!(!access(&["repository:a:push"]).covers(&need("a", Method::Put)));
    assert!(access(&["repository:a:*"]).covers(&need("a", Method::Delete)));
    assert!(!access(&["repository:host:5000/a:*"]).covers(&need("a", Method::Get)));
}

#[test]
fn methods_have_their_names() {
    for method in Method::ALL {
        assert_eq!(Method::from_name(method.name()), Some(method));
    }
    for name in ["", "get", "OPTIONS", "GET "] {
        assert_eq!(Method::from_name(name), None);
    }
}

fn any_actions() -> impl Strategy<Value = Actions> {
    prop::collection::vec(prop::sample::select(&Action::ALL), 0..4)
        .prop_map(|actions| actions.into_iter().collect())
}

fn any_scope() -> impl Strategy<Value = Scope> {
    let resource = prop_oneof![
        "[a-c](/[a-c])?".prop_map(|name| repository(&name)),
        Just(Resource::Catalog),
        "[a-c]:[0-9]{1,2}/[a-c]"
            .prop_map(|name| Resource::Foreign { kind: "repository".to_owned(), name }),
    ];
    (resource, any_actions()).prop_map(|(resource, actions)| Scope { resource, actions })
}

fn any_access() -> impl Strategy<Value = Access> {
    prop::collection::vec(any_scope(), 0..9).prop_map(|scopes| {
        let mut access = Access::default();
        scopes.into_iter().for_each(|scope| access.insert(scope));
        access
    })
}

proptest! {
    #[test]
    fn text_round_trips(access in any_access()) {
        prop_assert_eq!(Access::parse([access.to_string().as_str()]), Ok(access));
    }

    #[test]
    fn an_intersection_allows_what_both_allow(a in any_access(), b in any_access(), scope in any_scope()) {
        let both = a.intersection(&b);
        prop_assert_eq!(&both, &b.intersection(&a));
        for action in Action::ALL {
            let resource = &scope.resource;
            let expected = a.allows(resource, action) && b.allows(resource, action);
            prop_assert_eq!(both.allows(resource, action), expected);
        }
        if !scope.actions.is_empty() {
            prop_assert_eq!(both.covers(&scope), a.covers(&scope) && b.covers(&scope));
        }
        prop_assert!(both.scopes().all(|scope| a.covers(&scope) && b.covers(&scope)));
    }

    #[test]
    fn no_text_panics(text in "\\PC*|repository(\\([a-z]*\\))?:[a-zA-Z:/. ]{0,9}:[a-z,*]{0,9}") {
        let _ = text.parse::<Scope>();
        let _ = Access::parse([text.as_str()]);
    }
}
