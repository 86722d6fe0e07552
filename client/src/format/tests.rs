//! Real folders and tars, also such as nobody should have made.
#![allow(clippy::disallowed_methods, reason = "real files are what is tested")]

use std::{fs, io::Read as _, path::Path};

use atoll_core::{Algorithm, Digest, manifest::media_type::OCI_INDEX};
use proptest::prelude::*;

use super::*;

const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

fn described(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, Digest::of(Algorithm::Sha256, bytes), bytes.len() as u64)
}

/// An image of these layers: its descriptor, and all its blobs with the manifest.
fn image(layers: &[&[u8]]) -> (Descriptor, Vec<Vec<u8>>) {
    let layer_list: Vec<Descriptor> =
        layers.iter().map(|layer| described(LAYER_TYPE, layer)).collect();
    let ids: Vec<Digest> = layer_list.iter().map(|layer| layer.digest).collect();
    let config = serde_json::json!({"os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}});
    let config = config.to_string().into_bytes();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": OCI,
        "config": described("application/vnd.oci.image.config.v1+json", &config),
        "layers": layer_list,
    });
    let manifest = manifest.to_string().into_bytes();
    let descriptor = described(OCI, &manifest);
    let mut blobs = vec![manifest, config];
    blobs.extend(layers.iter().map(|layer| layer.to_vec()));
    (descriptor, blobs)
}

/// An index of images for these platforms.
fn index(images: &[(&str, &Descriptor)]) -> (Descriptor, Vec<u8>) {
    let mut index = Index::default();
    for (platform, image) in images {
        let mut entry = (*image).clone();
        let platform: crate::Platform = platform.parse().unwrap();
        let mut value = serde_json::to_value(&entry).unwrap();
        value["platform"] = serde_json::to_value(&platform).unwrap();
        entry = serde_json::from_value(value).unwrap();
        index.put(entry);
    }
    let bytes = serde_json::to_vec(&index).unwrap();
    (described(OCI_INDEX, &bytes), bytes)
}

fn put(folder: &LayoutFolder, blobs: &[Vec<u8>]) {
    for blob in blobs {
        folder.put(&Digest::of(Algorithm::Sha256, blob), blob).unwrap();
    }
}

fn named(mut descriptor: Descriptor, name: &str) -> Descriptor {
    descriptor.annotations.insert(REF_NAME.to_owned(), name.to_owned());
    descriptor
}

/// A tar of these files, as the stream is written.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, content) in files {
        let size = content.len() as u64;
        bytes.extend([&header(path, size)[..], content, padding(size)].concat());
    }
    bytes.extend(END);
    bytes
}

/// The members of an archive as a tar; blobs come from `blobs`.
fn packed(members: &[Member], blobs: &[Vec<u8>]) -> Vec<u8> {
    let files: Vec<(&str, &[u8])> = members
        .iter()
        .map(|member| match member {
            Member::Document(path, bytes) => (path.as_str(), &bytes[..]),
            Member::Blob(path, blob) => {
                let is_it = |bytes: &&Vec<u8>| Digest::of(Algorithm::Sha256, bytes) == blob.digest;
                (path.as_str(), &blobs.iter().find(is_it).unwrap()[..])
            }
        })
        .collect();
    tar(&files)
}

fn opened(folder: &Path, bytes: &[u8]) -> Result<Tree, FormatError> {
    let path = folder.join("image.tar");
    fs::write(&path, bytes).unwrap();
    Tree::open(&path)
}

#[test]
fn a_layout_holds_several_images_and_an_index_and_hands_back_what_was_put() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().join("layout");
    let folder = LayoutFolder::create(&root).unwrap();
    let (arm, arm_blobs) = image(&[b"arm"]);
    let (amd, amd_blobs) = image(&[b"amd", b"more"]);
    let (both, both_bytes) = index(&[("linux/arm64/v8", &arm), ("linux/amd64", &amd)]);
    put(&folder, &arm_blobs);
    put(&folder, &amd_blobs);
    put(&folder, &[both_bytes]);
    folder.name(named(both.clone(), "v1")).unwrap();
    folder.name(named(amd.clone(), "v1")).unwrap();
    folder.name(named(both.clone(), "v2")).unwrap();

    let layout = Layout::open(Tree::open(&root).unwrap()).unwrap();
    assert_eq!(layout.index().manifests.len(), 2, "a name leads to one image");
    let whole = layout.image(Some("v2"), None).unwrap();
    assert_eq!((whole.root.digest, whole.documents.len(), whole.blobs.len()), (both.digest, 3, 5));
    let one = layout.image(Some("v2"), Some("linux/arm64".parse().unwrap())).unwrap();
    assert_eq!((one.root.digest, one.documents.len(), one.blobs.len()), (arm.digest, 1, 2));
    let mut read = Vec::new();
    let blob = layout.blob(&one.blobs[1]).unwrap().expect("it was put");
    { blob }.read_to_end(&mut read).unwrap();
    assert_eq!(read, b"arm");

    let error = layout.image(Some("v2"), Some("linux/s390x".parse().unwrap())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no image for linux/s390x, only for linux/arm64/v8, linux/amd64"
    );
    let error = layout.image(None, None).unwrap_err().to_string();
    assert_eq!(error, "it must be said which image is meant; there is: v1, v2");
    // A second writer goes on with what is there.
    let again = LayoutFolder::create(&root).unwrap();
    assert!(again.holds(&amd.digest, amd.size) && !again.holds(&amd.digest, amd.size + 1));
    fs::write(root.join(blob_path(&amd.digest)), vec![b'x'; amd.size as usize]).unwrap();
    assert!(!again.holds(&amd.digest, amd.size), "damaged");
    assert!(matches!(layout.image(Some("v1"), None), Err(FormatError::Content { .. })));
}

#[test]
fn a_folder_with_other_things_in_it_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("thesis.txt"), "").unwrap();
    assert!(matches!(LayoutFolder::create(root.path()), Err(FormatError::NoLayout { .. })));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn what_is_not_the_blob_never_gets_its_name() {
    let root = tempfile::tempdir().unwrap();
    let folder = LayoutFolder::create(root.path()).unwrap();
    let digest = Digest::of(Algorithm::Sha256, b"right");
    let mut blob = folder.begin(&digest, 5).unwrap();
    assert!(matches!(blob.write(b"wrong"), Err(FormatError::Content { .. })));
    drop(blob);
    let mut blob = folder.begin(&digest, 5).unwrap();
    blob.write(b"righ").unwrap();
    assert!(matches!(blob.finish(), Err(FormatError::Content { .. })));
    assert_eq!(fs::read_dir(root.path().join("blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn an_archive_of_either_kind_is_read_back() {
    let root = tempfile::tempdir().unwrap();
    let (descriptor, blobs) = image(&[b"one", b"two"]);
    let mut walk = Walk::new(descriptor.clone(), None);
    walk.found(blobs[0].clone()).unwrap();
    let graph = walk.finish().unwrap();
    let name = "reef-1:5000/team/app:v1".parse().unwrap();
    let docker = packed(&members(ArchiveKind::Docker, &graph, &name, None).unwrap(), &blobs);

    let layout = Layout::open(opened(root.path(), &docker).unwrap()).unwrap();
    for wanted in [None, Some("v1"), Some("reef-1:5000/team/app:v1")] {
        assert_eq!(layout.image(wanted, None).unwrap().root.digest, descriptor.digest);
    }
    let archive = DockerArchive::open(opened(root.path(), &docker).unwrap()).unwrap();
    let saved = archive.find(Some("reef-1:5000/team/app:v1")).unwrap();
    let made = archive.image(saved).unwrap();
    let digests = |blobs: &[Descriptor]| blobs.iter().map(|blob| blob.digest).collect::<Vec<_>>();
    let made_blobs: Vec<Descriptor> = made.blobs.iter().map(|(blob, _)| blob.clone()).collect();
    assert_eq!(digests(&made_blobs), digests(&graph.blobs), "config and layers keep their bytes");
    Document::read(&made.descriptor, &made.manifest).unwrap();
    let error = archive.find(Some("other")).unwrap_err().to_string();
    assert!(error.ends_with("there is: reef-1:5000/team/app:v1"), "{error}");
    let other_layer = Digest::of(Algorithm::Sha256, b"two").hex();
    let swapped = tar(&[
        ("manifest.json", br#"[{"Config": "c", "Layers": ["l"]}]"#),
        ("c", format!(r#"{{"rootfs": {{"diff_ids": ["sha256:{other_layer}"]}}}}"#).as_bytes()),
        ("l", b"one"),
    ]);
    let archive = DockerArchive::open(opened(root.path(), &swapped).unwrap()).unwrap();
    let error = archive.image(archive.find(None).unwrap()).unwrap_err().to_string();
    assert!(error.contains("the config expects a layer"), "{error}");
}

#[test]
fn archives_that_do_harm_are_refused_with_the_reason() {
    let root = tempfile::tempdir().unwrap();
    let fault = |bytes: &[u8]| match opened(root.path(), bytes) {
        Err(FormatError::Archive { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    assert!(matches!(fault(&tar(&[("../../etc/passwd", b"x")])), ArchiveFault::Outside { .. }));
    assert!(matches!(fault(&tar(&[("/etc/passwd", b"x")])), ArchiveFault::Outside { .. }));
    assert!(matches!(fault(&tar(&[("a", b"x"), ("./a", b"y")])), ArchiveFault::Twice { .. }));
    assert_eq!(
        fault(b"\x1f\x8b\x08....................").to_string(),
        "what stands at byte 0 is no tar header"
    );
    let mut gzip = vec![0; 600];
    gzip[..3].copy_from_slice(b"\x1f\x8b\x08");
    assert_eq!(fault(&gzip).to_string(), "it is compressed with gzip; unpack it first");
    let mut lies = header("layer", 1 << 40);
    lies.extend([0; 1024]);
    assert!(matches!(fault(&lies), ArchiveFault::Truncated { size, .. } if size == 1 << 40));
    let mut damaged = tar(&[("a", b"x")]);
    damaged[3] ^= 1;
    assert_eq!(fault(&damaged), ArchiveFault::Header { at: 0 });

    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    link.as_old_mut().name[0] = b'l';
    link.as_old_mut().linkname[..12].copy_from_slice(b"../../passwd");
    link.set_cksum();
    assert!(matches!(fault(link.as_bytes()), ArchiveFault::Outside { .. }));
    link.as_old_mut().linkname = [0; 100];
    link.as_old_mut().linkname[0] = b'l';
    link.set_cksum();
    let tree = opened(root.path(), link.as_bytes()).unwrap();
    assert!(tree.find("l").unwrap_err().to_string().contains("leads to no file"));
}

#[test]
fn a_list_of_docker_that_leads_elsewhere_is_refused() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("secret"), "{}").unwrap();
    let folder = root.path().join("saved");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("manifest.json"), r#"[{"Config": "../secret", "Layers": []}]"#).unwrap();
    let archive = DockerArchive::open(Tree::open(&folder).unwrap()).unwrap();
    let error = archive.image(archive.find(None).unwrap()).unwrap_err().to_string();
    assert!(error.contains("`../secret` is no path inside it"), "{error}");
}

#[test]
fn a_walk_has_an_end_however_indexes_lead_on() {
    let (mut at, _) = image(&[]);
    let mut chain = Vec::new();
    for _ in 0..6 {
        let (descriptor, bytes) = index(&[("linux/amd64", &at)]);
        chain.push(bytes);
        at = descriptor;
    }
    let mut walk = Walk::new(at, None);
    let stopped = chain.into_iter().rev().find_map(|bytes| walk.found(bytes).err());
    assert!(stopped.expect("too deep").to_string().contains("nests deeper"));
}

proptest! {
    #[test]
    fn what_is_packed_is_found(
        files in prop::collection::btree_map("[a-z]{1,60}(/[a-z]{1,90}){0,2}", prop::collection::vec(any::<u8>(), 0..1500), 0..8),
    ) {
        let list: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
        let root = tempfile::tempdir().unwrap();
        let tree = opened(root.path(), &tar(&list)).unwrap();
        for (name, bytes) in list {
            prop_assert_eq!(tree.document(name, 9999, "a file").unwrap(), bytes);
        }
        prop_assert!(tree.find("A").unwrap().is_none());
    }

    #[test]
    fn no_archive_panics(
        mut bytes in prop::collection::vec(any::<u8>(), 0..2000),
        changed in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let root = tempfile::tempdir().unwrap();
        let _ = opened(root.path(), &bytes);
        bytes = tar(&[("manifest.json", b"[]"), ("index.json", &bytes)]);
        for (at, byte) in changed {
            *at.get_mut(&mut bytes) = byte;
        }
        let _ = opened(root.path(), &bytes).map(DockerArchive::open);
    }
}
