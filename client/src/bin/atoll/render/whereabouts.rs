//! `atoll ctl where`.

use std::fmt::Write as _;

use atoll_core::admin::{Copy, CopyState, Object, ObjectKind, Whereabouts};

use super::{NOTHING, notes};
use crate::{
    human,
    table::{
        Column::{Left, Right},
        Table,
    },
};

/// The whole page.
pub fn text(found: &Whereabouts) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}  epoch {}\n", found.target, found.epoch);
    let mut table = Table::new(&[
        Left("KIND"),
        Left("DIGEST"),
        Right("SIZE"),
        Right("COPIES"),
        Left("OWNERS"),
        Left("ALSO AT"),
    ]);
    let mut lacking = 0;
    for object in &found.objects {
        let owners = object.copies.iter().filter(|copy| copy.owner).count();
        lacking += usize::from(object.present() < owners);
        table.row([
            kind(object.kind).to_owned(),
            human::digest(&object.digest),
            object.size_bytes.map_or(NOTHING.to_owned(), human::bytes),
            format!("{} of {owners}", object.present()),
            copies(object, |copy| copy.owner),
            copies(object, |copy| !copy.owner && copy.state != CopyState::Absent),
        ]);
    }
    text.push_str(&table.text());
    if lacking > 0 {
        let _ = writeln!(text, "\n! absent   ? did not answer");
    }
    text.push_str(&notes(&found.notes));
    text
}

fn kind(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Manifest => "manifest",
        ObjectKind::Config => "config",
        ObjectKind::Layer => "layer",
        ObjectKind::Blob => "blob",
    }
}

/// Nodes in their order, each with a mark when its copy is not certain.
fn copies(object: &Object, which: fn(&&Copy) -> bool) -> String {
    let mark = |copy: &Copy| match copy.state {
        CopyState::Present => copy.node.to_string(),
        CopyState::Absent => format!("{}!", copy.node),
        CopyState::Unknown => format!("{}?", copy.node),
    };
    let nodes: Vec<String> = object.copies.iter().filter(which).map(mark).collect();
    if nodes.is_empty() { NOTHING.to_owned() } else { nodes.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_with_a_copy_that_is_missing() {
        let found = serde_json::from_str(include_str!("../../../../tests/admin/where.json"));
        assert_eq!(text(&found.unwrap()), include_str!("../../../../tests/admin/where.txt"));
    }
}
