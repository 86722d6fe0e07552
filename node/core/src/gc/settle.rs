//! What is to be done about the marks that the groups hold.
//!
//! A round condemns in groups 1 … S−1 first and then in group 0, there only what all of them marked.
//! A group accepts an epoch once. So:
//! - a blob marked `e` in group 0 is *decided*: every other group has marked it, or has finished it
//!   already, because finishing goes the same way, group 0 last;
//! - a blob marked `e` elsewhere, once group 0 has passed `e` without marking it, is *abandoned*: the
//!   decision cannot come any more;
//! - in between it is *open*, and whoever wants it closed makes group 0 pass `e`.
//!
//! Each of these stays true once it is, so drivers may look at the groups one after the other, act
//! late, act twice, and act at the same time as another driver. That is why a new leader needs
//! nothing from the old one: it settles what it finds.
//!
//! Not a majority of groups and no record of its own: the mark in one group is the record.

use std::collections::{BTreeMap, BTreeSet};

use super::GcEpoch;
use crate::Digest;

/// What one group holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The newest epoch it has accepted.
    pub epoch: GcEpoch,
    /// The blobs it has condemned, each with the epoch that did.
    pub condemned: BTreeMap<Digest, GcEpoch>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Let group 0 pass `epoch` without condemning anything; then look again.
    Close {
        /// Up to where.
        epoch: GcEpoch,
    },
    /// Take marks back.
    Abort {
        /// In which group.
        group: usize,
        /// Of which epoch.
        epoch: GcEpoch,
        /// Of which blobs.
        digests: Vec<Digest>,
    },
    /// Delete the copies, and finish: in the groups 1 … S−1, then in group 0.
    Delete {
        /// Of which epoch.
        epoch: GcEpoch,
        /// Of which blobs.
        digests: Vec<Digest>,
    },
}

/// The steps that the marks of all groups, group 0 first, call for. None when there are no marks.
pub fn settle(groups: &[Marks]) -> Vec<Step> {
    let Some((decider, others)) = groups.split_first() else { return Vec::new() };
    let decided = by_epoch(decider.condemned.iter());
    let mut steps: Vec<Step> =
        decided.into_iter().map(|(epoch, digests)| Step::Delete { epoch, digests }).collect();
    let mut open = None;
    for (number, group) in others.iter().enumerate() {
        let undecided = by_epoch(
            group.condemned.iter().filter(|(digest, e)| decider.condemned.get(digest) != Some(e)),
        );
        for (epoch, digests) in undecided {
            if decider.epoch >= epoch {
                steps.push(Step::Abort { group: number + 1, epoch, digests });
            } else {
                open = open.max(Some(epoch));
            }
        }
    }
    steps.extend(open.map(|epoch| Step::Close { epoch }));
    steps
}

/// Which of `candidates` every group but group 0 has marked with `epoch`: what group 0 may be asked
/// to condemn.
pub fn agreed<'a>(
    others: &[Marks],
    epoch: GcEpoch,
    candidates: impl IntoIterator<Item = &'a Digest>,
) -> BTreeSet<Digest> {
    let marked =
        |digest: &&Digest| others.iter().all(|group| group.condemned.get(*digest) == Some(&epoch));
    candidates.into_iter().filter(marked).copied().collect()
}

fn by_epoch<'a>(
    marks: impl Iterator<Item = (&'a Digest, &'a GcEpoch)>,
) -> BTreeMap<GcEpoch, Vec<Digest>> {
    let mut by_epoch: BTreeMap<GcEpoch, Vec<Digest>> = BTreeMap::new();
    for (digest, epoch) in marks {
        by_epoch.entry(*epoch).or_default().push(*digest);
    }
    by_epoch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    fn digest(content: &str) -> Digest {
        Digest::of(Algorithm::Sha256, content.as_bytes())
    }

    fn marks(epoch: u64, condemned: &[(&str, u64)]) -> Marks {
        let condemned = condemned.iter().map(|(of, e)| (digest(of), GcEpoch(*e))).collect();
        Marks { epoch: GcEpoch(epoch), condemned }
    }

    #[test]
    fn a_mark_in_group_0_decides() {
        let groups = [marks(2, &[("x", 2)]), marks(2, &[("x", 2)]), marks(2, &[])];
        let delete = Step::Delete { epoch: GcEpoch(2), digests: vec![digest("x")] };
        assert_eq!(settle(&groups), [delete]);
        assert_eq!(settle(&[marks(9, &[]), marks(9, &[])]), []);
        assert_eq!(settle(&[]), []);
    }

    #[test]
    fn a_mark_that_group_0_passed_over_is_abandoned() {
        let groups = [marks(3, &[("x", 1)]), marks(2, &[("x", 2)]), marks(3, &[("y", 3)])];
        let abort = |group, epoch, of: &str| Step::Abort {
            group,
            epoch: GcEpoch(epoch),
            digests: vec![digest(of)],
        };
        let delete = Step::Delete { epoch: GcEpoch(1), digests: vec![digest("x")] };
        assert_eq!(settle(&groups), [delete, abort(1, 2, "x"), abort(2, 3, "y")]);
    }

    #[test]
    fn what_group_0_has_not_heard_of_is_closed_first() {
        let groups = [marks(1, &[]), marks(2, &[("x", 2)]), marks(5, &[("y", 5)])];
        assert_eq!(settle(&groups), [Step::Close { epoch: GcEpoch(5) }]);
    }

    #[test]
    fn only_what_all_marked_with_this_epoch_is_agreed() {
        let others = [marks(2, &[("x", 2), ("y", 1), ("z", 2)]), marks(2, &[("x", 2), ("y", 2)])];
        let candidates = ["x", "y", "z"].map(digest);
        let found = agreed(&others, GcEpoch(2), &candidates);
        assert_eq!(found, [digest("x")].into());
        assert_eq!(agreed(&[], GcEpoch(2), &candidates).len(), 3, "one group decides alone");
    }
}
