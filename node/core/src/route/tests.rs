//! Every route at every depth of name, and every path that must be refused, with its error.

use proptest::prelude::*;

use super::*;
use crate::{Algorithm, name::REPO_NAME_BYTES_MAX};

const UUID: &str = "123e4567-e89b-42d3-a456-426614174000";

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"content")
}

fn repo(name: &str) -> RepoName {
    name.parse().unwrap()
}

#[test]
fn knows_the_routes_of_the_whole_registry() {
    for (path, route) in [
        ("/v2", Route::Base),
        ("/v2/", Route::Base),
        ("/v2/_catalog", Route::Catalog),
        ("/v2/registries", Route::Registries),
        ("/v2/_atoll/view", Route::View),
        ("/v2/_oci/ext/discover", Route::Extensions),
    ] {
        assert_eq!(parse(path).unwrap().repo(), None);
        assert_eq!(parse(path), Ok(route), "{path}");
    }
}

#[test]
fn keywords_may_be_part_of_a_name() {
    let blob = |name| Route::Blob { repo: repo(name), digest: digest() };
    let manifest = |name, tag: &str| Route::Manifest {
        repo: repo(name),
        reference: Reference::Tag(tag.parse().unwrap()),
    };
    for (path, route) in [
        ("a/blobs/uploads", Route::Uploads { repo: repo("a") }),
        ("a/blobs/uploads/", Route::Uploads { repo: repo("a") }),
        ("a/blobs/uploads/blobs/uploads", Route::Uploads { repo: repo("a/blobs/uploads") }),
        ("a/blobs/uploads/blobs/uploads/", Route::Uploads { repo: repo("a/blobs/uploads") }),
        ("blobs/blobs/uploads/", Route::Uploads { repo: repo("blobs") }),
        (&format!("a/blobs/uploads/blobs/{}", digest()), blob("a/blobs/uploads")),
        (&format!("blobs/blobs/{}", digest()), blob("blobs")),
        (&format!("a/manifests/x/blobs/{}", digest()), blob("a/manifests/x")),
        ("manifests/tags/list", Route::Tags { repo: repo("manifests") }),
        ("tags/list/tags/list", Route::Tags { repo: repo("tags/list") }),
        ("a/tags/manifests/list", manifest("a/tags", "list")),
        ("a/blobs/manifests/uploads", manifest("a/blobs", "uploads")),
        ("manifests/tags/list/manifests/tags", manifest("manifests/tags/list", "tags")),
        ("registries/manifests/x", manifest("registries", "x")),
    ] {
        assert_eq!(parse(&format!("/v2/{path}")), Ok(route), "{path}");
    }
}

#[test]
fn only_the_colon_of_a_digest_may_be_escaped() {
    let digest = digest();
    for escaped in ["%3A", "%3a"] {
        let text = digest.to_string().replace(':', escaped);
        let blob = Route::Blob { repo: repo("a"), digest };
        assert_eq!(parse(&format!("/v2/a/blobs/{text}")), Ok(blob));
        let manifest = Route::Manifest { repo: repo("a"), reference: Reference::Digest(digest) };
        assert_eq!(parse(&format!("/v2/a/manifests/{text}")), Ok(manifest));
        let referrers = Route::Referrers { repo: repo("a"), digest };
        assert_eq!(parse(&format!("/v2/a/referrers/{text}")), Ok(referrers));
    }
    let twice = digest.to_string().replace(':', "%253A");
    assert!(matches!(parse(&format!("/v2/a/blobs/{twice}")), Err(RouteError::Digest(_))));
    let hex = digest.to_string().replace("sha", "%73ha");
    assert!(matches!(parse(&format!("/v2/a/blobs/{hex}")), Err(RouteError::Digest(_))));
    assert!(matches!(parse("/v2/a%3Ab/manifests/x"), Err(RouteError::Name(_))));
    assert!(matches!(parse("/v2/a/manifests/l%61test"), Err(RouteError::Tag(_))));
}

#[test]
fn refuses_wrong_names() {
    let long = "a".repeat(REPO_NAME_BYTES_MAX + 1);
    let huge = "a/".repeat(2_048) + "a";
    let deep = vec!["a"; 200].join("/");
    for name in [
        "../etc/passwd",
        "a/../b",
        "..",
        ".",
        "%2e%2e",
        "a/%2e%2e/%2e%2e",
        "%2f",
        "a%2fb",
        "a%5cb",
        "%252e",
        "Foo/bar",
        "a//b",
        "/a",
        "a/",
        "/",
        "",
        "a___b",
        "a..b",
        "-a",
        "a-",
        "a/.b",
        "aux:",
        "_catalog",
        "_oci",
        "a\\b",
        "a b",
        "é",
        "a\0b",
        &long,
        &huge,
        &deep,
    ] {
        for tail in [
            "manifests/x",
            "tags/list",
            "blobs/uploads",
            "blobs/uploads/",
            &format!("blobs/uploads/{UUID}"),
            &format!("blobs/{}", digest()),
            &format!("referrers/{}", digest()),
        ] {
            let error = parse(&format!("/v2/{name}/{tail}"));
            assert!(matches!(error, Err(RouteError::Name(_))), "{name} {tail}: {error:?}");
        }
    }
    assert!(matches!(parse("/v2/manifests/x"), Err(RouteError::Name(_))));
    assert!(matches!(parse("/v2/tags/list"), Err(RouteError::Name(_))));
    assert!(matches!(parse("/v2/blobs/uploads/"), Err(RouteError::Name(_))));
}

#[test]
fn names_that_are_only_odd_are_served() {
    for name in ["con", "nul", "aux", "com1/lpt1", "0", "v2"] {
        let path = format!("/v2/{name}/tags/list");
        assert_eq!(parse(&path), Ok(Route::Tags { repo: repo(name) }));
    }
}

#[test]
fn refuses_wrong_tags() {
    for tag in
        ["", ".a", "-a", "a/b", "a/b/c", "a@b", "a b", "..", "../x", "%2e", &"t".repeat(129), "a/"]
    {
        let error = parse(&format!("/v2/a/manifests/{tag}"));
        assert!(matches!(error, Err(RouteError::Tag(_))), "{tag}: {error:?}");
    }
}

#[test]
fn refuses_wrong_digests() {
    let hex = digest().hex();
    for wrong in [
        "",
        "x",
        "sha256:",
        &hex,
        &format!("sha256:{}", &hex[1..]),
        &format!("sha256:{hex}0"),
        &format!("sha256:{}", hex.to_uppercase()),
        "sha256:../../x",
        "sha256:%2e%2e%2f",
        &format!("md5:{hex}"),
        &format!("sha1:{hex}"),
        &format!("blake3:{hex}"),
        &format!("sha256+b64u:{hex}"),
        &format!("SHA256:{hex}"),
        &format!("sha256::{hex}"),
        &format!(":{hex}"),
        &format!("sha256:{hex}/"),
        &format!("sha256:{hex}/x"),
    ] {
        for keyword in ["blobs", "referrers"] {
            let error = parse(&format!("/v2/a/{keyword}/{wrong}"));
            assert!(matches!(error, Err(RouteError::Digest(_))), "{keyword} {wrong}: {error:?}");
        }
        if wrong.contains(':') && !wrong.contains('/') {
            let error = parse(&format!("/v2/a/manifests/{wrong}"));
            assert!(matches!(error, Err(RouteError::Digest(_))), "{wrong}: {error:?}");
        }
    }
}

#[test]
fn refuses_wrong_upload_ids() {
    for id in [
        "x",
        "../x",
        "../../../etc/passwd",
        "..",
        ".",
        "a/b",
        "%2e%2e",
        &"0".repeat(4_096),
        &UUID.to_uppercase(),
        &format!("{UUID}/"),
        &format!("{UUID}/.."),
    ] {
        let error = parse(&format!("/v2/a/blobs/uploads/{id}"));
        assert!(matches!(error, Err(RouteError::UploadId(_))), "{id}: {error:?}");
    }
}

#[test]
fn refuses_everything_else() {
    for path in [
        "",
        "/",
        "v2",
        "v2/",
        "/v1/",
        "/V2/",
        "//v2/",
        "/v2//",
        "/v2x",
        "/v2x/a/b",
        "/v2x/a/manifests/y",
        "/v2%2Fa/manifests/y",
        "/x/v2/a/manifests/y",
        "/v20/",
        "/v2/a",
        "/v2/_catalog/",
        "/v2/registries/",
        "/v2/_atoll",
        "/v2/_oci/ext",
        "/v2/a/tags",
        "/v2/a/tags/",
        "/v2/a/tags/list/",
        "/v2/a/tags/x",
        "/v2/a/manifests",
        "/v2/a/blobs",
        "/v2/a/uploads/x",
        "/v2/../../etc/passwd",
        "*",
        "/etc/passwd",
    ] {
        let error = parse(path);
        assert!(matches!(error, Err(RouteError::UnknownRoute(_))), "{path}: {error:?}");
    }
    let error = parse(&"/x".repeat(100_000)).unwrap_err();
    assert!(error.to_string().len() < 1_000, "an error repeats only the start of the path");
}

fn any_repo() -> impl Strategy<Value = RepoName> {
    let component = prop_oneof![
        Just("blobs".to_owned()),
        Just("uploads".to_owned()),
        Just("manifests".to_owned()),
        Just("tags".to_owned()),
        Just("list".to_owned()),
        Just("referrers".to_owned()),
        Just("v2".to_owned()),
        "[a-z0-9]{1,3}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}",
    ];
    prop_oneof![prop::collection::vec(component, 1..12), Just(vec!["a".to_owned(); 128]),]
        .prop_map(|components| components.join("/").parse().unwrap())
}

fn any_digest() -> impl Strategy<Value = Digest> {
    (any::<bool>(), any::<[u8; 8]>()).prop_map(|(sha512, content)| {
        Digest::of(if sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 }, &content)
    })
}

fn any_reference() -> impl Strategy<Value = Reference> {
    prop_oneof![
        any_digest().prop_map(Reference::Digest),
        "uploads|list|tags|[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"
            .prop_map(|tag| Reference::Tag(tag.parse().unwrap())),
    ]
}

fn any_route() -> impl Strategy<Value = Route> {
    (any_repo(), any_digest(), any_reference(), any::<[u8; 16]>(), 0..6).prop_map(
        |(repo, digest, reference, id, which)| match which {
            0 => Route::Tags { repo },
            1 => Route::Referrers { repo, digest },
            2 => Route::Manifest { repo, reference },
            3 => Route::Blob { repo, digest },
            4 => Route::Uploads { repo },
            _ => Route::Upload { repo, id: UploadId::from_bytes(id) },
        },
    )
}

proptest! {
    #[test]
    fn every_route_of_every_name_parses_back(route in any_route()) {
        prop_assert_eq!(parse(&route.to_string()), Ok(route));
    }

    #[test]
    fn no_path_panics(path in "(/v2)?(/|blobs|uploads|manifests|tags|list|referrers|[a-z]|%3A|\\PC){0,12}") {
        let _ = parse(&path);
    }

    #[test]
    fn what_parses_is_canonical_but_for_a_slash_and_a_colon(
        path in "/v2(/(blobs|uploads|manifests|tags|list|referrers|[a-zA-Z0-9._%-]{1,3})){0,6}/?"
    ) {
        if let Ok(route) = parse(&path) {
            let canonical = route.to_string();
            prop_assert!(canonical == path || canonical == format!("{path}/"), "{} {}", canonical, path);
        }
    }
}
