//! Reading a tar that anybody may have made: what is in it, and where.
//!
//! The headers are read once, from one to the next; the content stays where it is and is read from
//! there when it is needed. Nothing is unpacked, so no path can lead anywhere; one that tries to is
//! refused all the same, because whoever gets such an archive should hear of it.

use std::{
    collections::BTreeMap,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::{ArchiveFault, FormatError, tar_write::BLOCK_BYTES};
use crate::local_files::{self, LocalFile};

/// The most files in an archive: an image has at most some thousand layers.
const FILES_MAX: u64 = 100_000;
/// The longest path, and the longest record that says one, in bytes.
const PATH_BYTES_MAX: u64 = 4096;
/// How many links may follow each other.
const LINKS_MAX: usize = 8;

/// The files of a tar.
#[derive(Debug)]
pub(super) struct TarFiles {
    path: PathBuf,
    files: BTreeMap<String, Place>,
}

#[derive(Debug)]
enum Place {
    File {
        offset: u64,
        size: u64,
    },
    /// Old dockers save a layer that stands twice as a link.
    Link(String),
}

/// What the records before a header say about it.
#[derive(Default)]
struct Ahead {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl TarFiles {
    /// Reads the headers of the tar at `path`.
    pub fn read(path: &Path) -> Result<TarFiles, FormatError> {
        let at = |error| FormatError::Io { action: "read", path: path.to_path_buf(), error };
        let (file, length) = local_files::open(path).map_err(at)?;
        let scanned = Scan { file: &file, length, files: BTreeMap::new() }.run();
        match scanned {
            Ok(files) => Ok(TarFiles { path: path.to_path_buf(), files }),
            Err(Stopped::Io(error)) => Err(at(error)),
            Err(Stopped::Fault(fault)) => {
                Err(FormatError::Archive { path: path.to_path_buf(), fault })
            }
        }
    }

    /// Where the archive is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Offset and length of a file; `None` when there is none of this name.
    pub fn find(&self, name: &str) -> Result<Option<(u64, u64)>, FormatError> {
        let mut at = name.to_owned();
        for _ in 0..LINKS_MAX {
            match self.files.get(&at) {
                None if at == name => return Ok(None),
                None => break,
                Some(Place::File { offset, size }) => return Ok(Some((*offset, *size))),
                Some(Place::Link(target)) => at.clone_from(target),
            }
        }
        let fault = ArchiveFault::Link { name: shortened(name) };
        Err(FormatError::Archive { path: self.path.clone(), fault })
    }
}

enum Stopped {
    Io(io::Error),
    Fault(ArchiveFault),
}

impl From<ArchiveFault> for Stopped {
    fn from(fault: ArchiveFault) -> Stopped {
        Stopped::Fault(fault)
    }
}

struct Scan<'a> {
    file: &'a LocalFile,
    length: u64,
    files: BTreeMap<String, Place>,
}

impl Scan<'_> {
    fn run(mut self) -> Result<BTreeMap<String, Place>, Stopped> {
        let mut at = 0;
        let mut ahead = Ahead::default();
        let mut entries = 0;
        // Two empty blocks end a tar; so does its end, as many programs have it.
        while let Some(header) = self.header(at)? {
            entries += 1;
            if entries > FILES_MAX {
                return Err(ArchiveFault::TooMuch { what: "files", max: FILES_MAX }.into());
            }
            let plain = header.entry_size().map_err(|_| ArchiveFault::Header { at })?;
            let size = ahead.size.take().unwrap_or(plain);
            let data = at + BLOCK_BYTES;
            let name = ahead.name.clone().unwrap_or_else(|| lossy(&header.path_bytes()));
            let end = data.checked_add(size).filter(|end| *end <= self.length);
            let end =
                end.ok_or_else(|| ArchiveFault::Truncated { name: shortened(&name), size })?;
            let kind = header.entry_type();
            if kind.is_gnu_longname() {
                ahead.name = Some(self.text(data, size)?);
            } else if kind.is_gnu_longlink() {
                ahead.link = Some(self.text(data, size)?);
            } else if kind.is_pax_local_extensions() {
                self.extensions(data, size, &mut ahead)?;
            } else {
                let told = std::mem::take(&mut ahead);
                self.take(&header, &name, told.link, data, size)?;
            }
            at = end.next_multiple_of(BLOCK_BYTES);
        }
        Ok(self.files)
    }

    /// The header at a place; `None` at the end.
    fn header(&self, at: u64) -> Result<Option<tar::Header>, Stopped> {
        if at >= self.length {
            return Ok(None);
        }
        let mut block = [0; BLOCK_BYTES as usize];
        let present = self.length - at;
        if present < BLOCK_BYTES {
            return Err(ArchiveFault::Header { at }.into());
        }
        self.file.read_exact_at(&mut block, at).map_err(Stopped::Io)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if at == 0
            && let Some(with) = compression(&block)
        {
            return Err(ArchiveFault::Compressed { with }.into());
        }
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(&block);
        let said = header.cksum().map_err(|_| ArchiveFault::Header { at })?;
        header.set_cksum();
        let is_header = header.cksum().is_ok_and(|computed| computed == said);
        if is_header { Ok(Some(header)) } else { Err(ArchiveFault::Header { at }.into()) }
    }

    fn take(
        &mut self,
        header: &tar::Header,
        name: &str,
        link: Option<String>,
        offset: u64,
        size: u64,
    ) -> Result<(), ArchiveFault> {
        let kind = header.entry_type();
        let name = inside("", name)?;
        let place = if kind.is_file() || kind.is_contiguous() {
            Place::File { offset, size }
        } else if kind.is_symlink() || kind.is_hard_link() {
            let target = header.link_name_bytes().map(|target| lossy(&target));
            let target = link.or(target).unwrap_or_default();
            // A symbolic link starts at its own folder, a hard link at the top.
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            Place::Link(inside(if kind.is_symlink() { folder } else { "" }, &target)?)
        } else {
            // Folders and devices: nothing that an image is read from.
            return Ok(());
        };
        match self.files.insert(name.clone(), place) {
            None => Ok(()),
            Some(_) => Err(ArchiveFault::Twice { name: shortened(&name) }),
        }
    }

    /// The content of a record that says a name.
    fn record(&self, offset: u64, size: u64) -> Result<Vec<u8>, Stopped> {
        if size > PATH_BYTES_MAX {
            let fault = ArchiveFault::TooMuch { what: "bytes in one path", max: PATH_BYTES_MAX };
            return Err(fault.into());
        }
        let mut bytes = vec![0; size as usize];
        self.file.read_exact_at(&mut bytes, offset).map_err(Stopped::Io)?;
        Ok(bytes)
    }

    fn text(&self, offset: u64, size: u64) -> Result<String, Stopped> {
        let bytes = self.record(offset, size)?;
        Ok(lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()))
    }

    fn extensions(&self, offset: u64, size: u64, ahead: &mut Ahead) -> Result<(), Stopped> {
        let bytes = self.record(offset, size)?;
        for extension in tar::PaxExtensions::new(&bytes) {
            let extension = extension.map_err(|_| ArchiveFault::Header { at: offset })?;
            let value = lossy(extension.value_bytes());
            match extension.key() {
                Ok("path") => ahead.name = Some(value),
                Ok("linkpath") => ahead.link = Some(value),
                Ok("size") => {
                    let size = value.parse().map_err(|_| ArchiveFault::Header { at: offset })?;
                    ahead.size = Some(size);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The path `name`, seen from `folder`, in its one spelling.
fn inside(folder: &str, name: &str) -> Result<String, ArchiveFault> {
    let outside = || ArchiveFault::Outside { name: shortened(name) };
    if name.starts_with('/') || name.contains('\0') || name.len() as u64 > PATH_BYTES_MAX {
        return Err(outside());
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(outside)?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// The program that unpacks what starts so.
fn compression(start: &[u8]) -> Option<&'static str> {
    const STARTS: [(&[u8], &str); 4] = [
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ", "xz"),
    ];
    STARTS.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, with)| *with)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}
