//! What is accepted, and what each wrong document gets.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Algorithm;

fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

fn descriptor(media_type: &str, content: &str) -> Value {
    json!({ "mediaType": media_type, "digest": digest(content), "size": content.len() })
}

fn config() -> Value {
    descriptor("application/vnd.oci.image.config.v1+json", "config")
}

fn layer(content: &str) -> Value {
    descriptor("application/vnd.oci.image.layer.v1.tar+gzip", content)
}

fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config(),
        "layers": [layer("one"), layer("two"), layer("one")],
    })
}

fn index() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(OCI_MANIFEST, "child"), descriptor(OCI_INDEX, "nested")],
    })
}

fn with(mut document: Value, field: &str, value: Value) -> Value {
    document[field] = value;
    document
}

fn without(mut document: Value, field: &str) -> Value {
    document.as_object_mut().unwrap().remove(field);
    document
}

/// Parses with the Content-Type the document itself names.
fn read(document: &Value) -> Result<Manifest, ManifestError> {
    parse(document["mediaType"].as_str(), document.to_string().as_bytes())
}

fn read_as(content_type: &str, body: &str) -> Result<Manifest, ManifestError> {
    parse(Some(content_type), body.as_bytes())
}

fn sorted(contents: &[&str]) -> Vec<Digest> {
    let mut digests: Vec<_> = contents.iter().map(|content| digest(content)).collect();
    digests.sort();
    digests
}

#[test]
fn an_image_needs_its_config_and_layers() {
    let manifest = read(&image()).unwrap();
    assert_eq!(manifest.kind, Kind::Image);
    assert_eq!(manifest.media_type, OCI_MANIFEST);
    assert_eq!(manifest.blobs, sorted(&["config", "one", "two"]));
    assert_eq!(manifest.children, []);
    assert_eq!(manifest.artifact_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
}

#[test]
fn an_index_has_children_and_no_type_of_its_own() {
    let manifest = read(&index()).unwrap();
    assert_eq!(manifest.kind, Kind::Index);
    assert_eq!(manifest.children, sorted(&["child", "nested"]));
    assert_eq!(manifest.blobs, []);
    assert_eq!(manifest.artifact_type, None);
    let typed = with(index(), "artifactType", json!("application/vnd.example+json"));
    assert_eq!(read(&typed).unwrap().artifact_type.unwrap(), "application/vnd.example+json");
}

#[test]
fn docker_documents_are_read_alike() {
    let docker = with(image(), "mediaType", json!(DOCKER_MANIFEST));
    assert_eq!(read(&docker).unwrap().blobs, sorted(&["config", "one", "two"]));
    let list = with(index(), "mediaType", json!(DOCKER_LIST));
    assert_eq!(read(&list).unwrap().children, sorted(&["child", "nested"]));
}

#[test]
fn empty_lists_are_fine() {
    for empty in [json!([]), Value::Null] {
        assert_eq!(
            read(&with(image(), "layers", empty.clone())).unwrap().blobs,
            sorted(&["config"])
        );
        assert_eq!(read(&with(index(), "manifests", empty)).unwrap().children, []);
    }
}

#[test]
fn layers_that_need_not_exist_are_left_out() {
    let urls = |url: &str| with(layer("far"), "urls", json!([url]));
    for far in [
        urls("file:///etc/passwd"),
        urls("http://169.254.169.254/"),
        descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "far"),
        descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "far"),
    ] {
        let manifest = read(&with(image(), "layers", json!([layer("one"), far]))).unwrap();
        assert_eq!(manifest.blobs, sorted(&["config", "one"]));
        assert_eq!(manifest.foreign_blobs, sorted(&["far"]));
    }
    // No place to fetch it from: it must be here.
    let near = with(layer("near"), "urls", json!([]));
    let manifest = read(&with(image(), "layers", json!([near]))).unwrap();
    assert_eq!(manifest.blobs, sorted(&["config", "near"]));
    // Needed once is needed.
    let both = json!([with(layer("one"), "urls", json!(["https://a"])), layer("one")]);
    assert_eq!(read(&with(image(), "layers", both)).unwrap().foreign_blobs, []);
}

#[test]
fn extra_fields_and_data_are_none_of_our_business() {
    let data = with(config(), "data", json!("e30="));
    let document = with(with(image(), "config", data), "org.example", json!({ "x": [1, 2.5, {}] }));
    assert!(read(&document).is_ok());
}

#[test]
fn what_a_referrers_listing_needs_is_read() {
    let document = with(image(), "subject", descriptor(OCI_MANIFEST, "subject"));
    let document = with(document, "annotations", json!({ "a": "1", "A": "2", "": "" }));
    let document = with(document, "artifactType", json!("application/vnd.sbom"));
    let manifest = read(&document).unwrap();
    assert_eq!(manifest.subject, Some(digest("subject")));
    assert_eq!(manifest.artifact_type.as_deref(), Some("application/vnd.sbom"));
    assert_eq!(manifest.annotations.len(), 3);
    // Go writes what is absent as an empty text or null.
    let empty = with(with(image(), "artifactType", json!("")), "subject", Value::Null);
    let manifest = read(&empty).unwrap();
    assert_eq!(manifest.subject, None);
    assert_eq!(manifest.artifact_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
}

#[test]
fn sha512_names_content_too() {
    let long = Digest::of(Algorithm::Sha512, b"child");
    let child = with(descriptor(OCI_MANIFEST, "child"), "digest", json!(long));
    assert_eq!(read(&with(index(), "manifests", json!([child]))).unwrap().children, [long]);
}

#[test]
fn the_header_and_the_body_must_agree() {
    let body = image().to_string();
    for header in [
        OCI_MANIFEST.to_owned(),
        format!("{OCI_MANIFEST}; charset=utf-8"),
        format!("{OCI_MANIFEST} ;q=1"),
        OCI_MANIFEST.to_uppercase(),
    ] {
        assert_eq!(read_as(&header, &body).unwrap().media_type, OCI_MANIFEST, "{header}");
    }
    assert_eq!(parse(None, body.as_bytes()).unwrap().media_type, OCI_MANIFEST);
    for header in [OCI_INDEX, DOCKER_MANIFEST, "application/json", "application/octet-stream"] {
        let error = read_as(header, &body).unwrap_err();
        assert!(matches!(error, ManifestError::MediaTypeMismatch { .. }), "{error}");
        assert!(error.to_string().contains(header) && error.to_string().contains(OCI_MANIFEST));
    }
    let silent = without(image(), "mediaType").to_string();
    assert_eq!(read_as(OCI_MANIFEST, &silent).unwrap().kind, Kind::Image);
    assert_eq!(parse(None, silent.as_bytes()), Err(ManifestError::MediaTypeMissing));
    for list in ["", "json", "/", "a/", "a/b/c", "a b/c", &format!("{OCI_MANIFEST}, {OCI_INDEX}")] {
        let error = read_as(list, &body).unwrap_err();
        assert!(matches!(error, ManifestError::ContentType { .. }), "{list}: {error}");
    }
    let odd = with(image(), "mediaType", json!("odd")).to_string();
    assert!(matches!(parse(None, odd.as_bytes()), Err(ManifestError::Field { .. })));
}

#[test]
fn unknown_types_are_kept_and_not_understood() {
    let body = r#"{"mediaType":"application/vnd.example.thing+json","subject":7,"Config":1}"#;
    let manifest = read_as("application/vnd.example.thing+json", body).unwrap();
    assert_eq!(manifest.kind, Kind::Opaque);
    assert_eq!((manifest.subject, manifest.blobs, manifest.children), (None, vec![], vec![]));
    for body in ["[]", "null", "\"x\"", "1", "true", "{\"a\":1,\"a\":2}", "{}{}", ""] {
        assert!(read_as("application/vnd.example.thing+json", body).is_err(), "{body}");
    }
}

#[test]
fn schema_1_is_refused_by_name() {
    let signed = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let plain = "application/vnd.docker.distribution.manifest.v1+json";
    let body = r#"{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[],"history":[]}"#;
    for header in [Some(signed), Some(plain), Some("application/json"), Some(OCI_MANIFEST), None] {
        assert_eq!(parse(header, body.as_bytes()), Err(ManifestError::Schema1), "{header:?}");
    }
    let named = format!(r#"{{"mediaType":"{plain}"}}"#);
    assert_eq!(parse(None, named.as_bytes()), Err(ManifestError::Schema1));
}

#[test]
fn only_schema_version_2_is_known() {
    for wrong in [json!("2"), json!(3), json!(2.0), json!(-2), Value::Null, json!([2])] {
        let error = read(&with(image(), "schemaVersion", wrong)).unwrap_err();
        assert!(matches!(error, ManifestError::SchemaVersion { .. }), "{error}");
    }
    let error = read(&without(index(), "schemaVersion")).unwrap_err();
    assert!(matches!(error, ManifestError::SchemaVersion { .. }), "{error}");
}

#[test]
fn what_is_not_a_json_object_is_refused() {
    for body in ["null", "[]", "\"x\"", "7", "true"] {
        let error = read_as(OCI_MANIFEST, body).unwrap_err();
        assert!(matches!(error, ManifestError::NotObject { .. }), "{body}: {error}");
    }
    for body in [" ", "{", "{}}", "{\"a\":}", "{'a':1}", "{\"a\":1,}", "\0", "{\"a\":\"\\ud800\"}"]
    {
        let error = read_as(OCI_MANIFEST, body).unwrap_err();
        assert!(matches!(error, ManifestError::Json { .. }), "{body}: {error}");
    }
    assert_eq!(read_as(OCI_MANIFEST, ""), Err(ManifestError::Empty));
    assert!(read_as(OCI_MANIFEST, "{}").is_err());
    let body = image().to_string();
    let marked = format!("\u{feff}{body}");
    assert_eq!(read_as(OCI_MANIFEST, &marked), Err(ManifestError::ByteOrderMark));
    let utf16: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(parse(Some(OCI_MANIFEST), &utf16).is_err());
    let latin1 = b"{\"a\":\"\xe9\"}";
    assert_eq!(parse(Some(OCI_MANIFEST), latin1), Err(ManifestError::Utf8 { position: 6 }));
}

#[test]
fn two_readings_of_one_document_are_refused() {
    let twice = image().to_string().replacen('{', r#"{"layers":[],"#, 1);
    let escaped = image().to_string().replacen('{', r#"{"l\u0061yers":[],"#, 1);
    let inside = image().to_string().replacen(r#""size":"#, r#""size":1,"size":"#, 1);
    for body in [twice, escaped, inside] {
        let error = read_as(OCI_MANIFEST, &body).unwrap_err();
        assert!(matches!(error, ManifestError::DuplicateKey { .. }), "{error}");
    }
    let error = read(&with(image(), "Layers", json!([]))).unwrap_err();
    assert!(matches!(error, ManifestError::KeyCase { known: "layers", .. }), "{error}");
    for document in [
        with(image(), "manifests", json!([])),
        with(index(), "layers", Value::Null),
        with(index(), "config", config()),
        with(index(), "fsLayers", json!([])),
    ] {
        let error = read(&document).unwrap_err();
        assert!(matches!(error, ManifestError::Ambiguous { .. }), "{error}");
    }
}

#[test]
fn required_fields_are_required() {
    for (document, field) in [
        (without(image(), "config"), "config"),
        (with(image(), "config", Value::Null), "config"),
        (without(image(), "layers"), "layers"),
        (without(index(), "manifests"), "manifests"),
    ] {
        let media_type = document["mediaType"].as_str().unwrap().to_owned();
        assert_eq!(
            read(&document),
            Err(ManifestError::Missing { field: Box::leak(field.into()), media_type })
        );
    }
}

#[test]
fn wrong_fields_are_named() {
    let wrong = |field: &str, value: Value| with(layer("x"), field, value);
    for bad in [
        wrong("digest", json!("sha256:baddigeststring")),
        wrong("digest", json!("sha256:../../x")),
        wrong("digest", json!(digest("x").to_string().to_uppercase())),
        wrong("digest", json!(7)),
        wrong("size", json!(-1)),
        wrong("size", json!("12")),
        wrong("size", json!(1.5)),
        wrong("size", json!(u64::MAX)),
        wrong("mediaType", json!("")),
        wrong("mediaType", json!("text")),
        wrong("mediaType", json!(7)),
        wrong("urls", json!("https://a")),
        without(layer("x"), "digest"),
        without(layer("x"), "size"),
        without(layer("x"), "mediaType"),
        json!(["text/plain", digest("x"), 1, null]),
        json!("x"),
        Value::Null,
    ] {
        let places = [
            ("subject", with(image(), "subject", bad.clone())),
            ("config", with(image(), "config", bad.clone())),
            ("layers[1]", with(image(), "layers", json!([layer("one"), bad]))),
            ("manifests[0]", with(index(), "manifests", json!([bad]))),
        ];
        for (place, document) in places {
            if bad.is_null() && !place.contains('[') {
                continue;
            }
            let Err(ManifestError::Field { field, .. }) = read(&document) else {
                panic!("{place} {bad}: {:?}", read(&document));
            };
            assert!(field.starts_with(place), "{field} {place}");
        }
    }
    for (field, value) in [
        ("annotations", json!([])),
        ("annotations", json!({ "a": 1 })),
        ("layers", json!({})),
        ("artifactType", json!("not a type")),
        ("artifactType", json!(1)),
        ("mediaType", json!(1)),
    ] {
        let body = with(image(), field, value).to_string();
        let error = read_as(OCI_MANIFEST, &body).unwrap_err();
        assert!(matches!(error, ManifestError::Field { .. }), "{field}: {error}");
    }
}

#[test]
fn every_limit_holds_at_its_edge() {
    let padded = |bytes: usize| {
        let body = image().to_string();
        let padding = " ".repeat(bytes - body.len());
        read_as(OCI_MANIFEST, &(body + &padding))
    };
    assert!(padded(MANIFEST_BYTES_MAX).is_ok());
    let found = MANIFEST_BYTES_MAX + 1;
    assert_eq!(padded(found), Err(ManifestError::TooLarge { found }));

    // The outermost object is the first level.
    let nested = |depth: usize| {
        let value = "[".repeat(depth - 1) + &"]".repeat(depth - 1);
        read_as(OCI_MANIFEST, &image().to_string().replacen('{', &format!(r#"{{"x":{value},"#), 1))
    };
    assert!(nested(MANIFEST_DEPTH_MAX).is_ok());
    for depth in [MANIFEST_DEPTH_MAX + 1, 10_000] {
        assert_eq!(nested(depth), Err(ManifestError::TooDeep));
    }
    let open_only = "{\"a\":".repeat(10_000);
    assert_eq!(read_as(OCI_MANIFEST, &open_only), Err(ManifestError::TooDeep));

    let listed = |count: usize| {
        read(&with(index(), "manifests", json!(vec![descriptor(OCI_MANIFEST, "x"); count])))
    };
    assert!(listed(MANIFEST_DESCRIPTORS_MAX).is_ok());
    let found = MANIFEST_DESCRIPTORS_MAX + 1;
    let field = "manifests";
    assert_eq!(listed(found), Err(ManifestError::TooManyDescriptors { field, found }));

    let annotated = |count: usize| {
        let all: BTreeMap<_, _> = (0..count).map(|i| (i.to_string(), "")).collect();
        read(&with(image(), "annotations", json!(all)))
    };
    assert!(annotated(MANIFEST_ANNOTATIONS_MAX).is_ok());
    let found = MANIFEST_ANNOTATIONS_MAX + 1;
    assert_eq!(annotated(found), Err(ManifestError::TooManyAnnotations { found }));

    let zeros = format!(r#"{{"x":[{}0]}}"#, "0,".repeat(MANIFEST_VALUES_MAX));
    assert_eq!(read_as("application/json", &zeros), Err(ManifestError::TooManyValues));
}

#[test]
fn a_large_manifest_of_390_long_annotations_is_fine() {
    let all: BTreeMap<_, _> = (0..390).map(|i| (i.to_string(), "x".repeat(10_000))).collect();
    assert_eq!(read(&with(image(), "annotations", json!(all))).unwrap().annotations.len(), 390);
}

#[test]
fn an_error_repeats_only_the_start_of_a_long_text() {
    let long = "x".repeat(1_000_000);
    for document in [
        with(image(), "config", json!({ "mediaType": "a/b", "digest": long, "size": 1 })),
        with(image(), "config", json!({ "mediaType": "a/b", "digest": digest("x"), "size": long })),
        with(image(), "config", json!(long)),
        with(image(), "artifactType", json!(long)),
        with(image(), "schemaVersion", json!(long)),
    ] {
        assert!(read(&document).unwrap_err().to_string().len() < 1_000);
    }
    let error = parse(Some(&long), b"{}").unwrap_err();
    assert!(error.to_string().len() < 1_000);
    let other = with(image(), "mediaType", json!(long)).to_string();
    assert!(read_as(OCI_MANIFEST, &other).unwrap_err().to_string().len() < 1_000);
}

proptest! {
    #[test]
    fn no_bytes_panic(header: Option<String>, body: Vec<u8>) {
        let _ = parse(header.as_deref(), &body);
        let _ = parse(Some(OCI_MANIFEST), &body);
    }

    /// Documents that are nearly right reach further than noise.
    #[test]
    fn no_damage_panics(at: prop::sample::Index, byte: u8, is_index: bool) {
        let (document, media_type) =
            if is_index { (index(), OCI_INDEX) } else { (image(), OCI_MANIFEST) };
        let mut body = document.to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        let _ = parse(Some(media_type), &body);
    }

    #[test]
    fn every_layer_is_listed_once(contents in prop::collection::vec("[a-d]{1,2}", 0..20)) {
        let layers: Vec<_> = contents.iter().map(|content| layer(content)).collect();
        let blobs = read(&with(image(), "layers", json!(layers))).unwrap().blobs;
        prop_assert!(blobs.windows(2).all(|pair| pair[0] < pair[1]));
        for content in contents {
            prop_assert!(blobs.contains(&digest(&content)));
        }
    }
}
