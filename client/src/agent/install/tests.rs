#![allow(clippy::disallowed_methods, reason = "tests look at the disk themselves")]

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _};

use proptest::prelude::*;

use super::*;

const ALL: [Program; 3] = [Program::Docker, Program::Containerd, Program::Podman];

fn wish(agent: &str) -> Wish {
    let registries = vec!["registry.example:5000".to_owned()];
    Wish { registries, agent: agent.to_owned(), is_plain: true }
}

/// Everything below a folder: what it is, its mode, its content.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Option<Vec<u8>>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let facts = fs::symlink_metadata(&path).expect("facts");
            let bytes = facts.is_file().then(|| fs::read(&path).expect("read"));
            if facts.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path, (facts.permissions().mode(), bytes));
        }
    }
    found
}

fn put(root: &Root, path: &str, bytes: &[u8], mode: u32) {
    let place = root.at(Path::new(path));
    fs::create_dir_all(place.parent().expect("a folder")).expect("made");
    fs::write(&place, bytes).expect("written");
    fs::set_permissions(&place, fs::Permissions::from_mode(mode)).expect("set");
}

const CONFIG: &str = "/etc/containerd/config.toml";
const HOSTS: &str = "/etc/containerd/certs.d/registry.example:5000/hosts.toml";

#[test]
fn a_bare_machine_is_bare_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Root::new(folder.path());
    let plan = root.plan(&ALL, &wish("127.0.0.1:5080")).expect("a plan");
    let before = tree(folder.path());
    let shown = root.show(&plan).expect("shown");
    assert_eq!(tree(folder.path()), before, "to show is not to do");
    for part in [CONFIG, HOSTS, podman::FILE, "+[host.\"http://127.0.0.1:5080\"]"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert_eq!(root.install(&plan).expect("installed").len(), 3);
    assert!(root.changed().expect("read").is_empty());
    let back = root.uninstall(&ALL, false).expect("taken back");
    assert_eq!(back.len(), 3);
    assert_eq!(tree(folder.path()), before);
    assert_eq!(root.uninstall(&ALL, false).expect("nothing to do").len(), 0);
}

#[test]
fn what_was_there_comes_back_with_its_mode() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Root::new(folder.path());
    put(&root, CONFIG, b"# mine\nversion = 2", 0o640);
    put(&root, HOSTS, b"server = \"https://r\"\n[host.\"https://m\"]\n", 0o604);
    put(&root, podman::FILE, b"\xff not even text", 0o600);
    let before = tree(folder.path());
    for port in [5080, 5081] {
        // The second time in place of the first.
        let plan = root.plan(&ALL, &wish(&format!("127.0.0.1:{port}"))).expect("a plan");
        root.install(&plan).expect("installed");
        let hosts = fs::read_to_string(root.at(Path::new(HOSTS))).expect("read");
        assert_eq!(hosts.matches("127.0.0.1:").count(), 1, "{hosts}");
        let mode = fs::metadata(root.at(Path::new(HOSTS))).expect("facts").permissions().mode();
        assert_eq!(mode & 0o777, 0o604);
    }
    root.uninstall(&[Program::Containerd], false).expect("taken back in parts");
    root.uninstall(&[Program::Podman], false).expect("taken back in parts");
    assert_eq!(tree(folder.path()), before);
}

#[test]
fn a_file_that_somebody_changed_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Root::new(folder.path());
    let before = tree(folder.path());
    let plan = root.plan(&ALL, &wish("127.0.0.1:5080")).expect("a plan");
    root.install(&plan).expect("installed");
    put(&root, HOSTS, b"# mine now\n", 0o644);
    assert_eq!(root.changed().expect("read"), [PathBuf::from(HOSTS)]);
    assert!(matches!(root.plan(&ALL, &wish("127.0.0.1:5080")), Err(InstallError::Changed { .. })));
    let error = root.uninstall(&ALL, false).expect_err("refused");
    assert!(error.to_string().contains("--force"), "{error}");
    assert!(error.to_string().contains(HOSTS), "{error}");
    assert_eq!(fs::read(root.at(Path::new(HOSTS))).expect("read"), b"# mine now\n");
    assert!(!root.at(Path::new(podman::FILE)).exists(), "the others are taken back");
    root.uninstall(&ALL, true).expect("forced");
    assert_eq!(tree(folder.path()), before);
}

#[test]
fn a_link_is_not_written_through() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Root::new(folder.path());
    put(&root, "/elsewhere", b"theirs", 0o644);
    let place = root.at(Path::new(podman::FILE));
    fs::create_dir_all(place.parent().expect("a folder")).expect("made");
    std::os::unix::fs::symlink(root.at(Path::new("/elsewhere")), &place).expect("linked");
    let before = tree(folder.path());
    let plan = root.plan(&[Program::Podman], &wish("127.0.0.1:5080")).expect("a plan");
    assert!(matches!(root.install(&plan), Err(InstallError::NotPlain { .. })));
    assert_eq!(tree(folder.path()), before);
}

fn file() -> impl Strategy<Value = Option<(Vec<u8>, u32)>> {
    let mode = prop::sample::select(vec![0o644_u32, 0o600, 0o755, 0o640, 0o444, 0o4711]);
    prop::option::of((prop::collection::vec(any::<u8>(), 0..200), mode))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever was there, and however often it was installed: afterwards it is there again.
    #[test]
    fn taking_back_undoes_installing(
        before in prop::collection::vec(file(), 3),
        after in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..4),
        crash in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::new(folder.path());
        let paths = ["/etc/a", "/etc/b/c/d", "/new/e"];
        for (path, file) in paths.iter().zip(&before) {
            if let Some((bytes, mode)) = file {
                put(&root, path, bytes, *mode);
            }
        }
        let found = tree(folder.path());
        for (round, bytes) in after.iter().enumerate() {
            let edits: Vec<Edit> = paths.iter().skip(round % 2).map(|path| Edit {
                program: Program::Podman, path: path.into(), after: bytes.clone(),
            }).collect();
            journal::apply(&root, &edits).expect("installed");
        }
        if crash {
            // As if the machine had stopped before the last file was written.
            let place = root.at(Path::new(paths[2]));
            match &before[2] {
                Some((bytes, mode)) => put(&root, paths[2], bytes, *mode),
                None => fs::remove_file(place).expect("removed"),
            }
        }
        root.uninstall(&ALL, false).expect("taken back");
        prop_assert_eq!(tree(folder.path()), found);
    }
}
