//! The inventory against plain maps, and through power cuts.

use std::collections::BTreeMap;

use atoll_core::Algorithm;
use proptest::{collection::vec, prelude::*, sample};

use super::*;
use crate::io::{
    clock::SimClock,
    disk::sim::{Faults, Loss, SimDisk},
};

fn blob(number: u8) -> Digest {
    // Close together and far apart, and of both algorithms.
    let algorithm = if number.is_multiple_of(5) { Algorithm::Sha512 } else { Algorithm::Sha256 };
    let mut bytes = vec![0; algorithm.len_bytes()];
    bytes[0] = number / 8 * 85;
    bytes[31] = number;
    Digest::from_bytes(algorithm, &bytes).unwrap()
}

fn open(disk: &SimDisk) -> Inventory {
    let mount: Arc<dyn Disk> = disk.mount();
    Inventory::open(&mount, Path::new("inventory.redb"), Arc::new(SimClock::new()), [3; 16])
        .unwrap()
}

fn catch_up(inventory: &Inventory) {
    (0..SHARDS).for_each(|number| inventory.shard_is_checked(number));
    while inventory.add_up().unwrap() {}
}

#[derive(Clone, Debug)]
enum Step {
    Note(u8),
    Remove(u8),
    Raise(Vec<u8>, u64),
    Witness(u64),
    AddUp,
    /// The process ends, in order or not, and another one starts.
    Restart(bool),
    PowerCut(Loss),
}

fn step() -> impl Strategy<Value = Step> {
    let number = 0..24_u8;
    prop_oneof![
        6 => number.clone().prop_map(Step::Note),
        3 => number.clone().prop_map(Step::Remove),
        3 => (vec(number, 0..4), 0..6_u64).prop_map(|(blobs, stamp)| Step::Raise(blobs, stamp)),
        1 => (0..6_u64).prop_map(Step::Witness),
        1 => Just(Step::AddUp),
        1 => any::<bool>().prop_map(Step::Restart),
        1 => sample::select(&Loss::ALL[..]).prop_map(Step::PowerCut),
    ]
}

/// What is true whatever happened.
#[derive(Default)]
struct Model {
    /// The files: sizes.
    files: BTreeMap<Digest, u64>,
    /// The stamps that were answered for.
    promised: BTreeMap<Digest, u64>,
    /// The highest epoch that was witnessed.
    witnessed: u64,
}

struct Run {
    disk: SimDisk,
    inventory: Option<Inventory>,
    model: Model,
}

impl Run {
    fn new() -> Run {
        let disk = SimDisk::new(1, Faults::default());
        let inventory = open(&disk);
        // As if a quorum had been asked before anything happened.
        inventory.learn_floor(GcEpoch(0)).unwrap();
        Run { disk, inventory: Some(inventory), model: Model::default() }
    }

    fn inventory(&self) -> &Inventory {
        self.inventory.as_ref().unwrap()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Note(number) => {
                // What a digest names has one length.
                let size = u64::from(number);
                self.model.files.insert(blob(number), size);
                self.inventory().note(&blob(number), size).unwrap();
                self.model.promised.insert(blob(number), self.model.witnessed);
            }
            Step::Remove(number) => {
                self.inventory().remove(&blob(number)).unwrap();
                self.model.files.remove(&blob(number));
                self.model.promised.remove(&blob(number));
            }
            Step::Raise(numbers, stamp) => {
                let here = |number: &u8| self.model.files.get_key_value(&blob(*number));
                let here: Vec<_> = numbers
                    .iter()
                    .filter_map(here)
                    .map(|(digest, size)| (*digest, *size))
                    .collect();
                self.inventory().raise(&here, GcEpoch(stamp)).unwrap();
                self.model.witnessed = self.model.witnessed.max(stamp);
                for (digest, _) in here {
                    let promised = self.model.promised.entry(digest).or_default();
                    *promised = stamp.max(*promised);
                }
            }
            Step::Witness(stamp) => {
                self.inventory().witness(GcEpoch(stamp)).unwrap();
                self.model.witnessed = self.model.witnessed.max(stamp);
            }
            Step::AddUp => while self.inventory().add_up().unwrap() {},
            Step::Restart(in_order) => self.restart(in_order),
            Step::PowerCut(loss) => {
                // The process dies first: what it would still write when it is dropped is lost.
                self.disk.power_cut(loss);
                self.restart(false);
            }
        }
    }

    fn restart(&mut self, in_order: bool) {
        if in_order {
            catch_up(self.inventory());
            self.inventory().close().unwrap();
        }
        let was_complete = in_order;
        self.inventory = None;
        let inventory = open(&self.disk);
        assert!(inventory.knows_floor());
        let is_checked = inventory.next_shard().is_none();
        assert_eq!(is_checked, was_complete);
        self.inventory = Some(inventory);
        if !is_checked {
            self.compare_with_files();
        }
    }

    /// What the store does in the background.
    fn compare_with_files(&self) {
        for number in 0..SHARDS {
            let (algorithm, byte) = shard(number);
            let of_shard =
                |digest: &&Digest| digest.algorithm() == algorithm && digest.as_bytes()[0] == byte;
            let mut rows = self.inventory().rows_of_shard(number).unwrap();
            for digest in self.model.files.keys().filter(of_shard) {
                if rows.remove(digest).is_none() {
                    self.inventory().restore(digest, self.model.files[digest]).unwrap();
                }
            }
            rows.keys().for_each(|digest| self.inventory().remove(digest).unwrap());
            self.inventory().shard_is_checked(number);
        }
    }

    fn check(&self) {
        let inventory = self.inventory();
        let mut files: Vec<_> = self.model.files.iter().collect();
        files.sort_by_key(|(digest, _)| row::key(digest));
        let page = inventory.page(None, usize::MAX).unwrap();
        let found: Vec<_> = page.iter().map(|entry| (&entry.digest, &entry.size)).collect();
        assert_eq!(found, files);
        for entry in &page {
            let promised = self.model.promised[&entry.digest];
            assert!(entry.stamp.0 >= promised, "{entry:?} was promised {promised}");
            assert!(entry.stamp.0 <= self.model.witnessed, "{entry:?} is kept for nobody");
            assert_eq!(inventory.get(&entry.digest).unwrap().as_ref(), Some(entry));
        }
        if let Some(sums) = sums_of(inventory) {
            let mut expected = Sums::new([3; 16]);
            let digests: Vec<Digest> = files.iter().map(|(digest, _)| **digest).collect();
            expected.see(&digests, None);
            let (cells, all) = cells();
            assert_eq!(Some(sums), expected.of(cells, &all));
        }
    }
}

fn cells() -> (Cells, Vec<Cell>) {
    let cells = Cells::new(1 << 12).unwrap();
    (cells, cells.iter().collect())
}

fn sums_of(inventory: &Inventory) -> Option<Vec<Sum>> {
    let (cells, all) = cells();
    inventory.sums(cells, &all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn rows_follow_the_files_and_no_stamp_that_was_promised_falls(steps in vec(step(), 1..40)) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
            run.check();
        }
        catch_up(run.inventory());
        prop_assert!(run.inventory().progress().is_complete());
        prop_assert!(sums_of(run.inventory()).is_some());
        run.check();
    }

    #[test]
    fn a_part_of_the_ring_is_read_in_pages(
        numbers in vec(0..24_u8, 0..24), from in 0..24_u8, to in 0..24_u8, limit in 1..5_usize,
    ) {
        let inventory = open(&SimDisk::new(1, Faults::default()));
        numbers.iter().for_each(|number| inventory.note(&blob(*number), 1).unwrap());
        let (from, to) = (position(&blob(from)), position(&blob(to)));
        let mut all: Vec<Digest> = numbers.iter().map(|number| blob(*number)).collect();
        all.sort_by_key(row::key);
        all.dedup();
        let is_between = |digest: &&Digest| (from..=to).contains(&position(digest));
        let expected: Vec<Digest> = all.iter().filter(is_between).copied().collect();
        let mut found: Vec<Digest> = Vec::new();
        loop {
            let page = inventory.range(&from, &to, found.last(), limit).unwrap();
            prop_assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page.iter().map(|entry| entry.digest));
            prop_assert!(found.len() <= all.len(), "{found:?}");
        }
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_new_inventory_gives_nothing_up_until_it_is_told() {
    let disk = SimDisk::new(1, Faults::default());
    let inventory = open(&disk);
    inventory.note(&blob(1), 1).unwrap();
    assert_eq!(inventory.stamp(&blob(1)).unwrap(), GcEpoch(u64::MAX));
    // It answers for epoch 7 before it learns of 5: what it learned is older.
    inventory.raise(&[(blob(1), 1)], GcEpoch(7)).unwrap();
    inventory.learn_floor(GcEpoch(5)).unwrap();
    assert_eq!(inventory.stamp(&blob(1)).unwrap(), GcEpoch(7));
    drop(inventory);
    assert_eq!(open(&disk).stamp(&blob(1)).unwrap(), GcEpoch(7));
}

#[test]
fn an_unreadable_file_is_put_aside() {
    let disk = SimDisk::new(1, Faults::default());
    let inventory = open(&disk);
    inventory.learn_floor(GcEpoch(3)).unwrap();
    inventory.note(&blob(1), 1).unwrap();
    drop(inventory);
    let mount: Arc<dyn Disk> = disk.mount();
    let file = mount.open_write(Path::new("inventory.redb")).unwrap();
    file.write_at(&[0xaa; 512], 0).unwrap();
    let inventory = open(&disk);
    assert!(!inventory.knows_floor());
    assert_eq!(inventory.page(None, 9).unwrap(), []);
    assert!(mount.file_len(Path::new("inventory.unreadable")).is_ok());
}

/// A stamp costs a sync when its epoch is news, and then never again.
#[test]
fn a_known_epoch_costs_no_sync() {
    let disk = SimDisk::new(1, Faults::default());
    let inventory = open(&disk);
    inventory.learn_floor(GcEpoch(1)).unwrap();
    let copies: Vec<(Digest, u64)> = (0..20).map(|number| (blob(number), 1)).collect();
    copies.iter().for_each(|(digest, size)| inventory.note(digest, *size).unwrap());
    inventory.raise(&copies, GcEpoch(2)).unwrap();
    let before = disk.operation_count();
    inventory.raise(&copies, GcEpoch(2)).unwrap();
    inventory.raise(&copies, GcEpoch(1)).unwrap();
    inventory.witness(GcEpoch(2)).unwrap();
    assert_eq!(disk.operation_count(), before);
}

/// A failing file harms no push, and what was promised is kept.
#[test]
fn a_broken_inventory_keeps_every_copy() {
    let disk = SimDisk::new(1, Faults::default());
    let inventory = open(&disk);
    inventory.learn_floor(GcEpoch(3)).unwrap();
    inventory.note(&blob(1), 1).unwrap();
    disk.fail_operation(disk.operation_count(), 5);
    assert!(inventory.witness(GcEpoch(4)).is_err());
    assert!(inventory.note(&blob(2), 1).is_err());
    assert!(inventory.raise(&[(blob(1), 1)], GcEpoch(3)).is_ok(), "the floor holds for that");
    assert!(inventory.raise(&[(blob(1), 1)], GcEpoch(4)).is_err());
    assert_eq!(sums_of(&inventory), None);
    assert!(inventory.add_up().is_err());
}

#[test]
fn a_full_disk_has_no_room_for_an_inventory() {
    let disk = SimDisk::new(1, Faults { capacity: 10_000, ..Faults::default() });
    let inventory = open(&disk);
    assert!(!inventory.knows_floor());
    assert!(inventory.witness(GcEpoch(0)).is_ok());
    assert!(inventory.witness(GcEpoch(1)).is_err());
    assert_eq!(inventory.stamp(&blob(1)).ok(), None);
}
