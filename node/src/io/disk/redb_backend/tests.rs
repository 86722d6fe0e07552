//! A database under power cuts: what was committed is there, what was not is whole or absent.

use std::collections::BTreeMap;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::*;
use crate::io::{
    disk::sim::{AfterSyncError, CrashPoint, Faults, Loss, NameOrder, SimDisk},
    entropy::rng::SeededRng,
};

type Model = BTreeMap<u64, Vec<u8>>;

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");

/// A database and the folder that its process has open.
#[derive(Debug)]
struct Opened(Database, #[expect(dead_code, reason = "held")] Arc<dyn Disk>);

impl std::ops::Deref for Opened {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.0
    }
}

fn open(device: &SimDisk) -> Result<Opened, redb::Error> {
    let disk = device.mount();
    let backend = DiskBackend::open(&disk, Path::new("db"))?;
    let database = Database::builder().set_cache_size(256 << 10).create_with_backend(backend)?;
    Ok(Opened(database, disk))
}

fn commit(database: &Database, changes: &[(u64, Option<Vec<u8>>)]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(TABLE)?;
        for (key, value) in changes {
            match value {
                Some(value) => table.insert(key, value.as_slice())?,
                None => table.remove(key)?,
            };
        }
    }
    Ok(transaction.commit()?)
}

fn rows(database: &Database) -> Model {
    let transaction = database.begin_read().unwrap();
    match transaction.open_table(TABLE) {
        Ok(table) => table
            .iter()
            .unwrap()
            .map(|row| row.map(|(key, value)| (key.value(), value.value().to_vec())).unwrap())
            .collect(),
        Err(redb::TableError::TableDoesNotExist(_)) => Model::new(),
        Err(error) => panic!("{error}"),
    }
}

fn draw_changes(rng: &mut SeededRng) -> Vec<(u64, Option<Vec<u8>>)> {
    let count = 1 + rng.below(8);
    (0..count).map(|_| draw_change(rng)).collect()
}

fn draw_change(rng: &mut SeededRng) -> (u64, Option<Vec<u8>>) {
    let key = rng.below(200);
    if rng.chance(0.3) {
        return (key, None);
    }
    let len_max = if rng.chance(0.1) { 20_000 } else { 300 };
    let mut value = vec![0; rng.below(len_max) as usize];
    rng.fill(&mut value);
    (key, Some(value))
}

fn apply(model: &mut Model, changes: &[(u64, Option<Vec<u8>>)]) {
    for (key, value) in changes {
        match value {
            Some(value) => model.insert(*key, value.clone()),
            None => model.remove(key),
        };
    }
}

/// Runs transactions until the power goes; answers the changes whose fate is unknown.
fn run_until_crash(
    device: &SimDisk,
    model: &mut Model,
    rng: &mut SeededRng,
) -> Vec<(u64, Option<Vec<u8>>)> {
    let Ok(database) = open(device) else { return Vec::new() };
    loop {
        let changes = draw_changes(rng);
        if commit(&database, &changes).is_err() {
            return changes;
        }
        apply(model, &changes);
    }
}

#[test]
fn committed_rows_survive_power_cuts() {
    for seed in 0..8 {
        let order = if seed % 2 == 0 { NameOrder::PerFolder } else { NameOrder::Journal };
        let device = SimDisk::new(seed, Faults { name_order: order, ..Faults::default() });
        let mut rng = SeededRng::new(seed);
        let mut model = Model::new();
        for cut in 0..40 {
            let point = if rng.chance(0.5) { CrashPoint::Before } else { CrashPoint::After };
            device.crash_at(device.operation_count() + rng.below(80), point);
            let unknown = run_until_crash(&device, &mut model, &mut rng);
            let loss = Loss::ALL[rng.below(4) as usize];
            device.power_cut(loss);

            let database = open(&device).unwrap_or_else(|error| {
                panic!("seed {seed} cut {cut} {loss:?}: {error}\n{}", device.log().join("\n"))
            });
            let found = rows(&database);
            let mut with_unknown = model.clone();
            apply(&mut with_unknown, &unknown);
            assert!(
                found == model || found == with_unknown,
                "seed {seed} cut {cut} {loss:?}\n{}",
                device.log().join("\n")
            );
            model = found;
        }
    }
}

/// A sync fails, the process is started again, and only later the power goes: the kernel had called the
/// pages clean, so without being written anew they would be gone from under what was built on them.
#[test]
fn committed_rows_survive_failed_syncs() {
    for seed in 0..40 {
        let device = SimDisk::new(seed, Faults::default());
        let mut rng = SeededRng::new(seed);
        let mut model = Model::new();
        for round in 0..6 {
            device.set_faults(|faults| {
                faults.sync_error = 0.3;
                faults.after_sync_error = if rng.chance(0.5) {
                    AfterSyncError::KeepPages
                } else {
                    AfterSyncError::DropPages
                };
            });
            let unknown = run_until_crash(&device, &mut model, &mut rng);
            device.set_faults(|faults| faults.sync_error = 0.0);
            device.process_kill();

            let database = open(&device).unwrap_or_else(|error| {
                panic!("seed {seed} round {round}: {error}\n{}", device.log().join("\n"))
            });
            let found = rows(&database);
            let mut with_unknown = model.clone();
            apply(&mut with_unknown, &unknown);
            assert!(found == model || found == with_unknown, "seed {seed} round {round}");
            model = found;
            for _ in 0..rng.below(10) {
                let changes = draw_changes(&mut rng);
                commit(&database, &changes).unwrap();
                apply(&mut model, &changes);
            }
            let loss = Loss::ALL[rng.below(4) as usize];
            device.power_cut(loss);
            drop(database);
            let database = open(&device).unwrap_or_else(|error| {
                panic!("seed {seed} round {round} {loss:?}: {error}\n{}", device.log().join("\n"))
            });
            assert_eq!(rows(&database), model, "seed {seed} round {round} {loss:?}");
        }
    }
}

/// The tests above can fail: a disk that lies about its syncs loses what was committed.
#[test]
fn a_lying_disk_is_found_out() {
    let device = SimDisk::new(0, Faults::default());
    let database = open(&device).unwrap();
    device.set_faults(|faults| faults.lying_sync = 1.0);
    commit(&database, &[(1, Some(b"row".to_vec()))]).unwrap();
    device.power_cut(Loss::DropAll);
    drop(database);
    assert_eq!(rows(&open(&device).unwrap()), Model::new());
}

/// A crash at every operation of a database's first moments: the next start always succeeds.
#[test]
fn a_creation_cut_short_starts_anew() {
    let create = |device: &SimDisk| open(device).map(drop);
    let rehearsal = SimDisk::new(0, Faults::default());
    create(&rehearsal).unwrap();
    let mut restarted = 0;
    for number in 0..rehearsal.operation_count() {
        for (seed, loss) in Loss::ALL.into_iter().enumerate() {
            for point in [CrashPoint::Before, CrashPoint::After] {
                let device = SimDisk::new(seed as u64, Faults::default());
                device.crash_at(number, point);
                assert!(create(&device).is_err() || number > 0, "the crash was not noticed");
                device.power_cut(loss);
                let database = open(&device)
                    .unwrap_or_else(|error| panic!("{number} {point:?} {loss:?}: {error}"));
                commit(&database, &[(1, Some(b"row".to_vec()))]).unwrap();
                restarted += 1;
            }
        }
    }
    assert!(restarted >= 8 * 5, "a creation takes more operations than {restarted} / 8");
}

#[test]
fn a_damaged_database_is_refused_and_kept() {
    let device = SimDisk::new(0, Faults::default());
    let database = open(&device).unwrap();
    commit(&database, &[(1, Some(vec![1; 5000]))]).unwrap();
    drop(database);
    device.rot(Path::new("db"), 0, 0).unwrap();
    let len = device.mount().file_len(Path::new("db")).unwrap();
    open(&device).unwrap_err();
    assert_eq!(device.mount().file_len(Path::new("db")).unwrap(), len);
}
