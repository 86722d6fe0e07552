//! Who this node is: its name, kept in the data folder so that it outlives configuration files.
//!
//! ```text
//! node-id        the name, one line of text
//! ```

use std::{io, path::Path};

use crate::{
    config::NodeName,
    io::{Disk, Entropy, disk::replace_durable},
};

const FILE: &str = "node-id";

/// Longer than any name: what is read of the file at most.
const FILE_BYTES_MAX: usize = 128;

/// The node's name: the configured one, else the one kept, else one drawn now. What is answered is
/// durable.
///
/// # Errors
/// Those of the disk.
pub fn establish(
    disk: &dyn Disk,
    entropy: &dyn Entropy,
    configured: Option<&NodeName>,
) -> io::Result<NodeName> {
    let kept = read(disk)?;
    let name = match (configured, &kept) {
        (Some(configured), _) => configured.clone(),
        (None, Some(kept)) => kept.clone(),
        (None, None) => draw(entropy),
    };
    if kept.as_ref() != Some(&name) {
        write(disk, &name)?;
        if let Some(kept) = kept {
            tracing::warn!(from = %kept, to = %name, "node renamed by its configuration");
        }
    }
    Ok(name)
}

fn draw(entropy: &dyn Entropy) -> NodeName {
    let mut bytes = [0; 4];
    entropy.fill(&mut bytes);
    let name = format!("node-{:08x}", u32::from_le_bytes(bytes));
    NodeName::parse(&name).expect("a word, a hyphen and hexadecimal digits are a name")
}

/// The kept name; `None` when there is none, or nothing that could be one.
fn read(disk: &dyn Disk) -> io::Result<Option<NodeName>> {
    let file = match disk.open_read(Path::new(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = [0; FILE_BYTES_MAX];
    let read = file.read_at(&mut text, 0)?;
    let text = std::str::from_utf8(&text[..read]).ok();
    Ok(text.and_then(|text| NodeName::parse(text.trim_end())))
}

fn write(disk: &dyn Disk, name: &NodeName) -> io::Result<()> {
    replace_durable(disk, Path::new(FILE), format!("{name}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{
        disk::sim::{Faults, Loss, SimDisk},
        entropy::SimEntropy,
    };

    #[test]
    fn a_drawn_name_is_kept_through_a_power_cut_and_a_configured_one_wins() {
        let device = SimDisk::new(1, Faults::default());
        let entropy = SimEntropy::new(1);
        let drawn = establish(device.mount().as_ref(), &entropy, None).unwrap();
        device.power_cut(Loss::DropAll);
        assert_eq!(establish(device.mount().as_ref(), &entropy, None).unwrap(), drawn);
        let wanted = NodeName::parse("reef-1").unwrap();
        let named = establish(device.mount().as_ref(), &entropy, Some(&wanted)).unwrap();
        assert_eq!(named, wanted);
        device.power_cut(Loss::DropAll);
        assert_eq!(establish(device.mount().as_ref(), &entropy, None).unwrap(), wanted);
    }
}
