//! One story per fault.

use super::*;

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn device() -> SimDisk {
    SimDisk::new(1, Faults::default())
}

fn write(disk: &Arc<dyn Disk>, name: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
    let file = disk.create_new(path(name)).unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

/// A file that survives anything.
fn write_durable(disk: &Arc<dyn Disk>, name: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
    let file = write(disk, name, bytes);
    file.sync().unwrap();
    disk.sync_dir(path(name).parent().unwrap()).unwrap();
    file
}

fn contents(disk: &Arc<dyn Disk>, name: &str) -> io::Result<Vec<u8>> {
    let file = disk.open_read(path(name))?;
    let mut bytes = vec![0; file.len()? as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn names(disk: &Arc<dyn Disk>, folder: &str) -> Vec<String> {
    disk.list(path(folder)).unwrap().into_iter().map(|entry| entry.name).collect()
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().expect("an error").kind()
}

#[test]
fn what_was_synced_survives_and_the_rest_does_not() {
    let device = device();
    let disk = device.mount();
    write_durable(&disk, "kept", b"kept");
    write(&disk, "nameless", b"x").sync().unwrap();
    let unsynced = write(&disk, "empty", b"lost bytes");
    disk.sync_dir(path("")).unwrap();
    disk.unlink(path("nameless")).unwrap();
    drop(unsynced);
    write(&disk, "young", b"y").sync().unwrap();

    device.power_cut(Loss::DropAll);
    let disk = device.mount();
    assert_eq!(names(&disk, ""), ["empty", "kept", "nameless"]);
    assert_eq!(contents(&disk, "kept").unwrap(), b"kept");
    assert_eq!(contents(&disk, "empty").unwrap(), b"");
    assert_eq!(contents(&disk, "nameless").unwrap(), b"x", "its removal was not synced");
}

#[test]
fn keep_all_keeps_all() {
    let device = device();
    let disk = device.mount();
    disk.create_dir(path("d")).unwrap();
    write(&disk, "d/a", b"a");
    disk.rename(path("d"), path("e")).unwrap();
    device.power_cut(Loss::KeepAll);
    assert_eq!(contents(&device.mount(), "e/a").unwrap(), b"a");
}

#[test]
fn a_process_kill_loses_nothing_and_makes_nothing_durable() {
    let device = device();
    let disk = device.mount();
    let file = write(&disk, "a", b"a");
    device.process_kill();
    assert!(is_power_lost(&file.write_at(b"b", 0).unwrap_err()));
    assert!(is_power_lost(&disk.create_new(path("b")).unwrap_err()));
    assert_eq!(contents(&device.mount(), "a").unwrap(), b"a");
    device.power_cut(Loss::DropAll);
    assert_eq!(names(&device.mount(), ""), [""; 0]);
}

#[test]
fn a_crash_point_stops_the_world_until_the_power_is_back() {
    for (point, expected) in [(CrashPoint::Before, vec!["a"]), (CrashPoint::After, vec!["a", "b"])]
    {
        let device = device();
        let disk = device.mount();
        disk.create_new(path("a")).unwrap();
        device.crash_at(device.operation_count(), point);
        for attempt in ["b", "c"] {
            assert!(is_power_lost(&disk.create_new(path(attempt)).unwrap_err()));
        }
        assert!(is_power_lost(&disk.list(path("")).unwrap_err()));
        assert!(is_power_lost(&device.mount().list(path("")).unwrap_err()));
        device.power_cut(Loss::KeepAll);
        assert!(is_power_lost(&disk.list(path("")).unwrap_err()), "the old mount stays dead");
        assert_eq!(names(&device.mount(), ""), expected);
        assert!(device.log().iter().any(|line| line.contains("create `b`")));
    }
}

#[test]
fn a_random_loss_keeps_some_writes_and_some_names() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let device = SimDisk::new(seed, Faults::default());
        let disk = device.mount();
        let file = write_durable(&disk, "a", b"........");
        file.write_at(b"1", 1).unwrap();
        file.write_at(b"2", 2).unwrap();
        disk.create_new(path("b")).unwrap();
        disk.create_new(path("c")).unwrap();
        device.power_cut(Loss::Random);
        let disk = device.mount();
        let (content, names) = (contents(&disk, "a").unwrap(), names(&disk, ""));
        assert_ne!(names, ["a", "c"], "names of one folder survive in order");
        outcomes.insert((content, names));
    }
    assert_eq!(outcomes.len(), 4 * 3, "every combination shows up");
}

/// A rename is in both folders or in none; syncing one side settles both.
#[test]
fn a_rename_is_atomic() {
    for order in [NameOrder::PerFolder, NameOrder::Journal] {
        let mut places = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let device = SimDisk::new(seed, Faults { name_order: order, ..Faults::default() });
            let disk = device.mount();
            for folder in ["d", "e"] {
                disk.create_dir(path(folder)).unwrap();
            }
            disk.sync_dir(path("")).unwrap();
            write_durable(&disk, "d/a", b"a");
            disk.rename(path("d/a"), path("e/b")).unwrap();
            if seed % 2 == 0 {
                disk.sync_dir(path("e")).unwrap();
            }
            device.power_cut(Loss::Random);
            let disk = device.mount();
            let at = (names(&disk, "d"), names(&disk, "e"));
            assert_eq!(at.0.len() + at.1.len(), 1, "{order:?} seed {seed}: {at:?}");
            assert!(seed % 2 == 1 || at.1 == ["b"], "{order:?} seed {seed}: {at:?}");
            places.insert(at);
        }
        assert_eq!(places.len(), 2);
    }
}

/// A rename made durable through its target takes along what its source folder did before.
#[test]
fn a_synced_rename_leaves_no_second_name() {
    for loss in [Loss::DropAll, Loss::KeepAll] {
        let device = device();
        let disk = device.mount();
        disk.create_dir(path("d")).unwrap();
        disk.create_dir(path("e")).unwrap();
        disk.sync_dir(path("")).unwrap();
        write(&disk, "d/a", b"a").sync().unwrap();
        disk.rename(path("d/a"), path("e/b")).unwrap();
        disk.sync_dir(path("e")).unwrap();
        device.power_cut(loss);
        let disk = device.mount();
        assert_eq!((names(&disk, "d"), names(&disk, "e")), (vec![], vec!["b".to_owned()]));
    }
}

#[test]
fn folders_are_independent_unless_there_is_a_journal() {
    let mut second_without_first = [0, 0];
    for (index, order) in [NameOrder::PerFolder, NameOrder::Journal].into_iter().enumerate() {
        for seed in 0..100 {
            let device = SimDisk::new(seed, Faults { name_order: order, ..Faults::default() });
            let disk = device.mount();
            disk.create_dir(path("d")).unwrap();
            disk.create_dir(path("e")).unwrap();
            disk.sync_dir(path("")).unwrap();
            disk.create_new(path("d/1")).unwrap();
            disk.create_new(path("e/2")).unwrap();
            device.power_cut(Loss::Random);
            let disk = device.mount();
            if names(&disk, "d").is_empty() && !names(&disk, "e").is_empty() {
                second_without_first[index] += 1;
            }
        }
    }
    assert!(second_without_first[0] > 0);
    assert_eq!(second_without_first[1], 0);
}

#[test]
fn a_folder_that_was_not_synced_takes_its_content_with_it() {
    let device = device();
    let disk = device.mount();
    disk.create_dir(path("d")).unwrap();
    write_durable(&disk, "d/a", b"a");
    device.power_cut(Loss::DropAll);
    assert_eq!(names(&device.mount(), ""), [""; 0]);
}

#[test]
fn a_failed_sync_forgets() {
    for after in [AfterSyncError::KeepPages, AfterSyncError::DropPages] {
        let device = device();
        let disk = device.mount();
        let file = write_durable(&disk, "a", b"old");
        file.write_at(b"new", 0).unwrap();
        device.set_faults(|faults| {
            faults.sync_error = 1.0;
            faults.after_sync_error = after;
        });
        assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
        device.set_faults(|faults| faults.sync_error = 0.0);
        file.sync().unwrap();
        let seen: &[u8] = if after == AfterSyncError::KeepPages { b"new" } else { b"old" };
        assert_eq!(contents(&disk, "a").unwrap(), seen);
        device.power_cut(Loss::KeepAll);
        assert_eq!(contents(&device.mount(), "a").unwrap(), b"old", "{after:?}");
    }
}

#[test]
fn a_failed_folder_sync_forgets_the_names() {
    let device = device();
    let disk = device.mount();
    disk.create_new(path("a")).unwrap();
    device.set_faults(|faults| faults.sync_error = 1.0);
    disk.sync_dir(path("")).unwrap_err();
    device.set_faults(|faults| faults.sync_error = 0.0);
    disk.sync_dir(path("")).unwrap();
    assert_eq!(names(&disk, ""), ["a"]);
    device.power_cut(Loss::KeepAll);
    assert_eq!(names(&device.mount(), ""), [""; 0]);
}

#[test]
fn a_lying_sync_says_ok() {
    let device = device();
    let disk = device.mount();
    device.set_faults(|faults| faults.lying_sync = 1.0);
    write_durable(&disk, "a", b"a");
    device.power_cut(Loss::DropAll);
    assert_eq!(names(&device.mount(), ""), [""; 0]);
}

#[test]
fn lies_and_rot_stay_where_the_disk_is_frail() {
    let device = device();
    let disk = device.mount();
    disk.create_dir(path("frail")).unwrap();
    disk.sync_dir(path("")).unwrap();
    device.set_faults(|faults| {
        faults.frail = Some("frail".into());
        (faults.lying_sync, faults.read_rot) = (1.0, 1.0);
    });
    for folder in ["", "frail"] {
        let name = Path::new(folder).join("a");
        let file = disk.create_new(&name).unwrap();
        file.write_at(b"a", 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir(path(folder)).unwrap();
    }
    assert_eq!(contents(&disk, "a").unwrap(), b"a");
    assert_ne!(contents(&disk, "frail/a").unwrap(), b"a");
    device.power_cut(Loss::DropAll);
    let disk = device.mount();
    assert_eq!(names(&disk, ""), ["a", "frail"]);
    assert_eq!(names(&disk, "frail"), [""; 0]);
}

#[test]
fn a_full_disk_takes_what_fits_and_says_so() {
    let device = device();
    let disk = device.mount();
    device.set_faults(|faults| faults.capacity = 10);
    let file = disk.create_new(path("a")).unwrap();
    file.write_at(b"12345678", 0).unwrap();
    let error = file.write_at(b"xxxx", 8).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(contents(&disk, "a").unwrap(), b"12345678xx");
    assert_eq!(disk.space().unwrap(), Space { total: 10, available: 0 });
    assert_eq!(kind(disk.create_new(path("b"))), io::ErrorKind::StorageFull);
    assert_eq!(kind(file.set_len(11)), io::ErrorKind::StorageFull);
    file.write_at(b"in place", 0).unwrap();

    disk.unlink(path("a")).unwrap();
    assert_eq!(disk.space().unwrap().available, 0, "the handle still holds the room");
    drop(file);
    assert_eq!(disk.space().unwrap().available, 10);
}

#[test]
fn errors_come_as_planned_and_by_chance() {
    let device = device();
    let disk = device.mount();
    let file = disk.create_new(path("a")).unwrap();
    device.fail_operation(device.operation_count() + 1, 5);
    file.write_at(b"first", 0).unwrap();
    assert_eq!(file.write_at(b"second", 0).unwrap_err().raw_os_error(), Some(5));
    device.fail_read(device.read_count() + 1, 5);
    assert_eq!(file.read_at(&mut [0; 5], 0).unwrap(), 5);
    assert_eq!(file.read_at(&mut [0; 5], 0).unwrap_err().raw_os_error(), Some(5));
    assert_eq!(contents(&disk, "a").unwrap(), b"first");

    device.set_faults(|faults| (faults.read_error, faults.write_error) = (0.5, 0.5));
    let writes = (0..100).filter(|_| file.write_at(b"x", 0).is_err()).count();
    let reads = (0..100).filter(|_| file.read_at(&mut [0], 0).is_err()).count();
    assert!((20..80).contains(&writes) && (20..80).contains(&reads), "{writes} {reads}");
}

#[test]
fn bits_rot_at_rest_and_on_the_way() {
    let device = device();
    let disk = device.mount();
    let file = write_durable(&disk, "a", &[0; 4]);
    device.rot(path("a"), 2, 3).unwrap();
    assert_eq!(contents(&disk, "a").unwrap(), [0, 0, 8, 0]);
    assert_eq!(kind(device.rot(path("a"), 4, 0)), io::ErrorKind::UnexpectedEof);
    let (rotten, offset) = device.rot_somewhere().unwrap();
    assert_eq!((rotten.as_path(), offset < 4), (path("a"), true));

    device.power_cut(Loss::DropAll);
    let at_rest = contents(&device.mount(), "a").unwrap();
    assert_ne!(at_rest, [0, 0, 8, 0]);
    drop(file);
    device.set_faults(|faults| faults.read_rot = 1.0);
    assert_ne!(contents(&device.mount(), "a").unwrap(), at_rest);
    device.set_faults(|faults| faults.read_rot = 0.0);
    assert_eq!(contents(&device.mount(), "a").unwrap(), at_rest);
}

#[test]
fn a_misdirected_write_lands_on_another_sector() {
    let device = device();
    let disk = device.mount();
    let file = write_durable(&disk, "a", &[0; 64 << 10]);
    device.set_faults(|faults| faults.misdirected_write = 1.0);
    file.write_at(&[1; 512], 100).unwrap();
    let after = contents(&disk, "a").unwrap();
    let at = after.iter().position(|byte| *byte == 1).unwrap();
    assert_eq!(at % 512, 0);
    assert_eq!(after[at..at + 512], [1; 512]);
    assert_eq!(after.len(), 64 << 10);
}

#[test]
fn stalls_add_up_until_they_are_taken() {
    let device = device();
    let disk = device.mount();
    let second = Duration::from_secs(1);
    device.set_faults(|faults| {
        faults.latency = Duration::from_millis(2)..=Duration::from_millis(4);
    });
    write_durable(&disk, "a", b"a");
    let taken = disk.take_stall();
    assert!(taken >= 4 * Duration::from_millis(2) && taken <= 4 * Duration::from_millis(4));
    assert_eq!(disk.take_stall(), Duration::ZERO);
    device.set_faults(|faults| (faults.stall, faults.stall_time) = (1.0, second));
    disk.list(path("")).unwrap();
    assert!(disk.take_stall() >= second);
}

#[test]
fn a_fork_goes_its_own_way() {
    let device = device();
    let disk = device.mount();
    write(&disk, "a", b"a");
    let fork = device.fork(2);
    fork.power_cut(Loss::DropAll);
    assert_eq!(names(&fork.mount(), ""), [""; 0]);
    assert_eq!(contents(&disk, "a").unwrap(), b"a");
}

/// The same seed and calls give the same disk, errors included.
#[test]
fn a_seed_repeats_itself() {
    let run = |seed| {
        let faults = Faults { write_error: 0.2, sync_error: 0.2, ..Faults::default() };
        let device = SimDisk::new(seed, faults);
        let disk = device.mount();
        for number in 0_u32..50 {
            if let Ok(file) = disk.create_new(path(&number.to_string())) {
                let _ = file.write_at(&number.to_le_bytes(), u64::from(number) * 100);
                let _ = file.sync();
            }
        }
        device.power_cut(Loss::Torn);
        let disk = device.mount();
        let left: Vec<_> = names(&disk, "")
            .into_iter()
            .map(|name| (contents(&disk, &name).unwrap(), name))
            .collect();
        (device.log(), left)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn nameless_files_are_dropped_in_the_end() {
    let device = device();
    let disk = device.mount();
    for round in 0..2_000 {
        let name = format!("{round}");
        write_durable(&disk, &name, b"x");
        disk.unlink(path(&name)).unwrap();
        disk.sync_dir(path("")).unwrap();
    }
    let held = device.state.lock().files.len();
    assert!(held < 600, "{held} files are held");
}
