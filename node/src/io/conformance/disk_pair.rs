//! Two disks, one history: random calls on both must get the same answers.
//!
//! The suite says what must hold; this looks for what nobody thought of saying.

use std::{io, path::Path, sync::Arc};

use crate::io::{
    disk::{Disk, DiskFile},
    entropy::rng::SeededRng,
};

/// Few names, so that calls meet: files where folders are wanted, moves into oneself, the root.
const PATHS: [&str; 12] =
    ["a", "b", "d", "e", "d/a", "d/b", "d/e", "d/e/a", "e/a", "a/x", "", "../a"];

/// Handles held open at a time.
const HANDLES_MAX: usize = 4;

type Handle = (Arc<dyn DiskFile>, Arc<dyn DiskFile>);

/// Runs `calls` random calls on two empty disks and compares every answer and what is left.
///
/// # Panics
/// At the first difference, with the seed and the call.
pub fn compare(left: &Arc<dyn Disk>, right: &Arc<dyn Disk>, seed: u64, calls: u32) {
    let mut pair = Pair { left, right, handles: Vec::new(), rng: SeededRng::new(seed) };
    for number in 0..calls {
        let (call, answers) = pair.one_call();
        assert_eq!(answers.0, answers.1, "seed {seed}, call {number}: {call}");
    }
    assert_eq!(tree(left, ""), tree(right, ""), "seed {seed}: what is left");
}

struct Pair<'a> {
    left: &'a Arc<dyn Disk>,
    right: &'a Arc<dyn Disk>,
    handles: Vec<Handle>,
    rng: SeededRng,
}

/// An answer, as far as both sides must agree: the value, or the kind of error.
type Answer = String;

impl Pair<'_> {
    fn one_call(&mut self) -> (String, (Answer, Answer)) {
        let path = self.path();
        let other = self.path();
        match self.rng.below(14) {
            0 | 1 => {
                self.open(&format!("create_new {path}"), |disk| disk.create_new(path.as_ref()))
            }
            2 => self.open(&format!("open_write {path}"), |disk| disk.open_write(path.as_ref())),
            3 => self.open(&format!("open_read {path}"), |disk| disk.open_read(path.as_ref())),
            4 => self.both(&format!("file_len {path}"), |disk| disk.file_len(path.as_ref())),
            5 | 6 => self.both(&format!("rename {path} to {other}"), |disk| {
                disk.rename(path.as_ref(), other.as_ref())
            }),
            7 => self.both(&format!("unlink {path}"), |disk| disk.unlink(path.as_ref())),
            8 | 9 => {
                self.both(&format!("create_dir {path}"), |disk| disk.create_dir(path.as_ref()))
            }
            10 => self.both(&format!("remove_dir {path}"), |disk| disk.remove_dir(path.as_ref())),
            11 => self.both(&format!("list {path}"), |disk| disk.list(path.as_ref())),
            12 => self.both(&format!("sync_dir {path}"), |disk| disk.sync_dir(path.as_ref())),
            _ => self.handle_call(),
        }
    }

    fn path(&mut self) -> &'static str {
        PATHS[self.rng.below(PATHS.len() as u64) as usize]
    }

    fn both<T: std::fmt::Debug>(
        &self,
        call: &str,
        make: impl Fn(&Arc<dyn Disk>) -> io::Result<T>,
    ) -> (String, (Answer, Answer)) {
        (call.to_owned(), (answer(make(self.left)), answer(make(self.right))))
    }

    fn open(
        &mut self,
        call: &str,
        make: impl Fn(&Arc<dyn Disk>) -> io::Result<Arc<dyn DiskFile>>,
    ) -> (String, (Answer, Answer)) {
        let (left, right) = (make(self.left), make(self.right));
        let answers = (answer(left.as_ref().map(|_| ())), answer(right.as_ref().map(|_| ())));
        if let (Ok(left), Ok(right)) = (left, right) {
            if self.handles.len() == HANDLES_MAX {
                let oldest = self.rng.below(HANDLES_MAX as u64) as usize;
                self.handles.swap_remove(oldest);
            }
            self.handles.push((left, right));
        }
        (call.to_owned(), answers)
    }

    fn handle_call(&mut self) -> (String, (Answer, Answer)) {
        if self.handles.is_empty() {
            return ("no handle".to_owned(), Default::default());
        }
        let index = self.rng.below(self.handles.len() as u64) as usize;
        let offset = self.rng.below(2_000);
        let mut bytes = vec![0; self.rng.below(1_500) as usize];
        self.rng.fill(&mut bytes);
        let which = self.rng.below(5);
        let call = |file: &Arc<dyn DiskFile>| match which {
            0 | 1 => answer(file.write_at(&bytes, offset)),
            2 => answer(file.set_len(offset)),
            3 => answer(file.sync()),
            _ => {
                let mut buffer = vec![0; bytes.len()];
                let read = file.read_at(&mut buffer, offset);
                answer(read.map(|read| (read, buffer)))
            }
        };
        let (left, right) = &self.handles[index];
        (format!("handle call {which} at {offset}"), (call(left), call(right)))
    }
}

fn answer<T: std::fmt::Debug, E: std::borrow::Borrow<io::Error>>(result: Result<T, E>) -> Answer {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{:?}", error.borrow().kind()),
    }
}

/// Every file and folder below `folder`, with contents.
fn tree(disk: &Arc<dyn Disk>, folder: &str) -> Vec<(String, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for entry in disk.list(Path::new(folder)).unwrap() {
        let path = format!("{folder}/{}", entry.name).trim_start_matches('/').to_owned();
        if entry.is_dir {
            let below = tree(disk, &path);
            found.push((path, None));
            found.extend(below);
        } else {
            let file = disk.open_read(Path::new(&path)).unwrap();
            let mut bytes = vec![0; file.len().unwrap() as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
            found.push((path, Some(bytes)));
        }
    }
    found
}
