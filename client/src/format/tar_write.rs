//! Writing a tar as a stream: a header, the content, zero bytes up to the next block.
//!
//! The content comes from elsewhere, piece by piece, and goes into a file, a socket or a program; so
//! this makes the bytes around it and touches none of those. Times and owners are zero: one image
//! gives one archive, byte for byte.

/// The unit of a tar in bytes.
pub(super) const BLOCK_BYTES: u64 = 512;
/// What stands behind the last file: two empty blocks.
pub const END: [u8; 2 * BLOCK_BYTES as usize] = [0; 2 * BLOCK_BYTES as usize];
/// Zero bytes to fill a block with.
const ZEROS: [u8; BLOCK_BYTES as usize] = [0; BLOCK_BYTES as usize];
/// Anybody may read, the owner may write.
const FILE_MODE: u32 = 0o644;
/// The longest name a header itself holds.
const NAME_BYTES_MAX: usize = 100;

/// What stands before a file of `size` bytes called `path`.
pub fn header(path: &str, size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if path.len() > NAME_BYTES_MAX {
        // GNU's way for a long name: it is the content of an entry of its own, with a zero at its end.
        let size = path.len() as u64 + 1;
        bytes.extend(entry("././@LongLink", size, tar::EntryType::GNULongName));
        bytes.extend(path.as_bytes());
        bytes.push(0);
        bytes.extend(padding(size));
    }
    bytes.extend(entry(path, size, tar::EntryType::Regular));
    bytes
}

/// What stands behind a file of `size` bytes.
pub fn padding(size: u64) -> &'static [u8] {
    let filled = size % BLOCK_BYTES;
    if filled == 0 { &[] } else { &ZEROS[filled as usize..] }
}

fn entry(path: &str, size: u64, kind: tar::EntryType) -> [u8; BLOCK_BYTES as usize] {
    let mut header = tar::Header::new_gnu();
    let shown = path.len().min(NAME_BYTES_MAX);
    header.as_old_mut().name[..shown].copy_from_slice(&path.as_bytes()[..shown]);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(FILE_MODE);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    *header.as_bytes()
}
