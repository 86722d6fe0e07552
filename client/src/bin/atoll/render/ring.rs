//! `atoll ctl ring`.

use std::fmt::Write as _;

use atoll_core::admin::Shares;

use super::{NOTHING, change};
use crate::{
    human,
    table::{
        Column::{Left, Right},
        Table,
    },
};

/// The whole page.
pub fn text(shares: &Shares) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "epoch {}  {} ring of {} points  {} copies  largest share over fair share {:.3}\n",
        shares.epoch,
        shares.mode,
        human::count(shares.points),
        shares.replicas,
        shares.imbalance
    );
    let mut table = Table::new(&[
        Right("ID"),
        Left("NAME"),
        Left("ZONE"),
        Right("WEIGHT"),
        Right("POINTS"),
        Right("SHARE"),
        Right("TARGET"),
    ]);
    for node in &shares.nodes {
        table.row([
            node.id.to_string(),
            node.name.clone(),
            if node.zone.is_empty() { NOTHING.to_owned() } else { node.zone.clone() },
            node.weight.to_string(),
            human::count(node.points),
            format!("{:.2} %", node.percent),
            format!("{:.2} %", node.target_percent),
        ]);
    }
    text.push_str(&table.text());
    if shares.plan.is_some() {
        text.push('\n');
        text.push_str(&change::plan(&shares.plan));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_nodes_and_a_staged_plan() {
        let shares = serde_json::from_str(include_str!("../../../../tests/admin/ring.json"));
        assert_eq!(text(&shares.unwrap()), include_str!("../../../../tests/admin/ring.txt"));
    }
}
