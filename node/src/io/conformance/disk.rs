//! The suite of [`Disk`]: every sentence of its documentation that one can see without a crash.

use std::{io, path::Path, sync::Arc};

use crate::io::disk::{DirEntry, Disk, create_dir_all_durable};

/// One promise, tried in a folder of its own.
type Part = fn(&Place<'_>);

/// Runs all of it.
pub fn suite(disk: &Arc<dyn Disk>) {
    assert_eq!(disk.list(Path::new("")).unwrap(), [], "the suite wants an empty disk");
    let parts: [(&str, Part); 8] = [
        ("bytes", bytes_come_back),
        ("ends", reads_end_with_the_file),
        ("lengths", lengths_change),
        ("modes", handles_keep_to_their_mode),
        ("names", names_change),
        ("folders", folders_change),
        ("handles", handles_outlive_names),
        ("paths", paths_stay_inside),
    ];
    for (folder, part) in parts {
        disk.create_dir(Path::new(folder)).unwrap();
        part(&Place { disk, folder });
    }
    let space = disk.space().unwrap();
    assert!(space.available > 0 && space.available <= space.total);
}

struct Place<'a> {
    disk: &'a Arc<dyn Disk>,
    folder: &'a str,
}

impl Place<'_> {
    fn at(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.folder).join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let file = self.disk.create_new(&self.at(name)).unwrap();
        file.write_at(bytes, 0).unwrap();
        file.sync().unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        let file = self.disk.open_read(&self.at(name)).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn names(&self) -> Vec<String> {
        let entries = self.disk.list(Path::new(self.folder)).unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    }
}

fn fails<T>(result: io::Result<T>, kind: io::ErrorKind) {
    match result {
        Ok(_) => panic!("succeeded instead of failing with {kind:?}"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}

fn bytes_come_back(place: &Place<'_>) {
    let file = place.disk.create_new(&place.at("a")).unwrap();
    assert!(file.is_empty().unwrap());
    file.write_at(b"world", 6).unwrap();
    assert_eq!(place.read("a"), b"\0\0\0\0\0\0world", "a gap reads as zeros");
    file.write_at(b"hello ", 0).unwrap();
    file.write_at(b"", 100).unwrap();
    file.sync().unwrap();
    assert_eq!(place.read("a"), b"hello world");
    assert_eq!(place.disk.file_len(&place.at("a")).unwrap(), 11);

    let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    file.write_at(&large, 5).unwrap();
    let mut read = vec![0; large.len()];
    file.read_exact_at(&mut read, 5).unwrap();
    assert!(read == large);
}

fn reads_end_with_the_file(place: &Place<'_>) {
    place.write("a", b"0123456789");
    let file = place.disk.open_read(&place.at("a")).unwrap();
    let mut buffer = [0xff; 8];
    assert_eq!(file.read_at(&mut buffer, 6).unwrap(), 4);
    assert_eq!(&buffer, b"6789\xff\xff\xff\xff", "no more is touched");
    assert_eq!(file.read_at(&mut buffer, 10).unwrap(), 0);
    assert_eq!(file.read_at(&mut buffer, 1_000).unwrap(), 0);
    assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
    fails(file.read_exact_at(&mut buffer, 6), io::ErrorKind::UnexpectedEof);
}

fn lengths_change(place: &Place<'_>) {
    place.write("a", b"0123456789");
    let file = place.disk.open_write(&place.at("a")).unwrap();
    file.set_len(4).unwrap();
    assert_eq!(place.read("a"), b"0123");
    file.set_len(8).unwrap();
    assert_eq!(place.read("a"), b"0123\0\0\0\0", "what was cut off does not come back");
    assert_eq!(file.len().unwrap(), 8);
    assert!(file.write_at(b"x", u64::MAX - 1).is_err(), "no disk is that large");
    assert_eq!(file.len().unwrap(), 8);
}

fn handles_keep_to_their_mode(place: &Place<'_>) {
    place.write("a", b"a");
    let file = place.disk.open_read(&place.at("a")).unwrap();
    assert!(file.write_at(b"b", 0).is_err());
    assert!(file.set_len(0).is_err());
    file.sync().unwrap();
    assert_eq!(place.read("a"), b"a");
    fails(place.disk.create_new(&place.at("a")), io::ErrorKind::AlreadyExists);
    for result in [place.disk.open_read(&place.at("b")), place.disk.open_write(&place.at("b"))] {
        fails(result, io::ErrorKind::NotFound);
    }
    fails(place.disk.file_len(&place.at("b")), io::ErrorKind::NotFound);
    let folder = Path::new(place.folder);
    for result in [place.disk.open_read(folder), place.disk.open_write(folder)] {
        fails(result, io::ErrorKind::IsADirectory);
    }
    fails(place.disk.file_len(folder), io::ErrorKind::IsADirectory);
}

fn names_change(place: &Place<'_>) {
    let disk = place.disk;
    place.write("a", b"a");
    place.write("b", b"b");
    disk.rename(&place.at("a"), &place.at("c")).unwrap();
    assert_eq!(place.names(), ["b", "c"]);
    disk.rename(&place.at("b"), &place.at("c")).unwrap();
    assert_eq!(place.names(), ["c"]);
    assert_eq!(place.read("c"), b"b", "the file there is replaced");
    disk.rename(&place.at("c"), &place.at("c")).unwrap();
    fails(disk.rename(&place.at("a"), &place.at("d")), io::ErrorKind::NotFound);
    fails(disk.rename(&place.at("c"), &place.at("x/d")), io::ErrorKind::NotFound);
    fails(disk.rename(&place.at("c"), &place.at("c/d")), io::ErrorKind::NotADirectory);
    disk.unlink(&place.at("c")).unwrap();
    fails(disk.unlink(&place.at("c")), io::ErrorKind::NotFound);
    disk.sync_dir(Path::new(place.folder)).unwrap();
    assert_eq!(place.names(), [""; 0]);
}

fn folders_change(place: &Place<'_>) {
    let disk = place.disk;
    let kind = |name: &str, is_dir| DirEntry { name: name.to_owned(), is_dir };
    disk.create_dir(&place.at("d")).unwrap();
    place.write("d/a", b"a");
    place.write("f", b"f");
    fails(disk.create_dir(&place.at("d")), io::ErrorKind::AlreadyExists);
    fails(disk.create_dir(&place.at("f")), io::ErrorKind::AlreadyExists);
    fails(disk.create_dir(&place.at("x/y")), io::ErrorKind::NotFound);
    fails(disk.create_dir(&place.at("f/y")), io::ErrorKind::NotADirectory);
    fails(disk.create_new(&place.at("d")), io::ErrorKind::AlreadyExists);
    assert_eq!(disk.list(Path::new(place.folder)).unwrap(), [kind("d", true), kind("f", false)]);

    disk.rename(&place.at("d"), &place.at("e")).unwrap();
    assert_eq!(place.read("e/a"), b"a", "a folder moves with its content");
    fails(disk.rename(&place.at("e"), &place.at("e/e")), io::ErrorKind::InvalidInput);
    fails(disk.rename(&place.at("e"), &place.at("f")), io::ErrorKind::NotADirectory);
    fails(disk.rename(&place.at("f"), &place.at("e")), io::ErrorKind::IsADirectory);
    disk.create_dir(&place.at("empty")).unwrap();
    fails(disk.rename(&place.at("empty"), &place.at("e")), io::ErrorKind::DirectoryNotEmpty);
    disk.rename(&place.at("e"), &place.at("empty")).unwrap();
    assert_eq!(place.read("empty/a"), b"a");

    fails(disk.remove_dir(&place.at("empty")), io::ErrorKind::DirectoryNotEmpty);
    fails(disk.remove_dir(&place.at("f")), io::ErrorKind::NotADirectory);
    fails(disk.remove_dir(&place.at("x")), io::ErrorKind::NotFound);
    fails(disk.unlink(&place.at("empty")), io::ErrorKind::IsADirectory);
    disk.unlink(&place.at("empty/a")).unwrap();
    disk.remove_dir(&place.at("empty")).unwrap();
    fails(disk.list(&place.at("empty")), io::ErrorKind::NotFound);
    fails(disk.list(&place.at("f")), io::ErrorKind::NotADirectory);
    fails(disk.sync_dir(&place.at("empty")), io::ErrorKind::NotFound);
    fails(disk.sync_dir(&place.at("f")), io::ErrorKind::NotADirectory);

    for _ in 0..2 {
        create_dir_all_durable(disk.as_ref(), &place.at("p/q/r")).unwrap();
    }
    assert_eq!(disk.list(&place.at("p/q")).unwrap(), [kind("r", true)]);
}

fn handles_outlive_names(place: &Place<'_>) {
    let disk = place.disk;
    place.write("a", b"first");
    place.write("b", b"second");
    let first = disk.open_write(&place.at("a")).unwrap();
    disk.rename(&place.at("b"), &place.at("a")).unwrap();
    first.write_at(b"FIRST and more", 0).unwrap();
    assert_eq!(place.read("a"), b"second", "the handle stays with its file");
    let second = disk.open_read(&place.at("a")).unwrap();
    disk.unlink(&place.at("a")).unwrap();
    for (file, expected) in [(first, "FIRST and more"), (second, "second")] {
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, expected.as_bytes());
        file.sync().unwrap();
    }
}

fn paths_stay_inside(place: &Place<'_>) {
    let disk = place.disk;
    for outside in ["/etc/passwd", "..", "../x", "paths/../../x", "paths/.."] {
        let outside = Path::new(outside);
        for result in [disk.open_read(outside), disk.open_write(outside), disk.create_new(outside)]
        {
            fails(result, io::ErrorKind::InvalidInput);
        }
        fails(disk.list(outside), io::ErrorKind::InvalidInput);
        fails(disk.create_dir(outside), io::ErrorKind::InvalidInput);
        fails(disk.rename(&place.at("a"), outside), io::ErrorKind::InvalidInput);
        fails(disk.rename(outside, &place.at("a")), io::ErrorKind::InvalidInput);
        fails(disk.sync_dir(outside), io::ErrorKind::InvalidInput);
    }
    for root in ["", "."] {
        fails(disk.remove_dir(Path::new(root)), io::ErrorKind::InvalidInput);
        fails(disk.rename(Path::new(root), &place.at("a")), io::ErrorKind::InvalidInput);
        disk.sync_dir(Path::new(root)).unwrap();
    }
    place.write("./a", b"a");
    assert_eq!(place.names(), ["a"]);
    fails(disk.create_new(Path::new("LOCK")), io::ErrorKind::InvalidInput);
}
