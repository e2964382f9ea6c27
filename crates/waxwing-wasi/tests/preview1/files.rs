//! Open files: positions, sizes, times, flags and rights.

use crate::guest::*;
use std::time::{Duration, SystemTime};
use waxwing_wasi::preview1::Errno;
use waxwing_wasi::{DirPerms, FilePerms, WasiCtxBuilder};

/// A guest with the file `file` of these contents open for reading and writing.
fn with_file(contents: &str) -> (tempfile::TempDir, Guest, u32) {
    let temporary = scratch();
    std::fs::write(temporary.path().join("file"), contents).unwrap();
    let mut guest = Guest::with_dir(temporary.path());
    let fd = guest.open(3, "file", &Open::READ_WRITE).unwrap();
    (temporary, guest, fd)
}

fn contents(temporary: &tempfile::TempDir) -> String {
    std::fs::read_to_string(temporary.path().join("file")).unwrap()
}

#[test]
fn reads_and_writes_move_the_position() {
    let (temporary, mut guest, fd) = with_file("0123456789");
    assert_eq!(guest.fd_read(fd, 4), Ok(b"0123".to_vec()));
    assert_eq!(guest.fd_tell(fd), Ok(4));
    assert_eq!(guest.fd_write(fd, b"abc"), Ok(3));
    assert_eq!(guest.fd_tell(fd), Ok(7));
    assert_eq!(guest.fd_read(fd, 100), Ok(b"789".to_vec()));
    assert_eq!(guest.fd_read(fd, 100), Ok(vec![]));
    assert_eq!(contents(&temporary), "0123abc789");
}

#[test]
fn vectored_reads_and_writes_cover_all_buffers() {
    let (temporary, mut guest, fd) = with_file("0123456789");
    let many: Vec<_> = (0..20).map(|index| (100 - 2 * index, 1)).collect();
    let (list, count) = guest.buffers(&many);
    guest
        .call("fd_read", &[fd.into(), list, count, 200])
        .unwrap();
    assert_eq!(guest.u32(200), 10);
    assert_eq!(
        guest.read(82, 19),
        b"9\x008\x007\x006\x005\x004\x003\x002\x001\x000"
    );
    guest
        .call("fd_write", &[fd.into(), list, count, 200])
        .unwrap();
    assert_eq!(guest.u32(200), 20);
    assert_eq!(
        contents(&temporary),
        "01234567890123456789\0\0\0\0\0\0\0\0\0\0"
    );

    guest
        .call("fd_pwrite", &[fd.into(), list, 2, 4, 200])
        .unwrap();
    guest
        .call("fd_pread", &[fd.into(), list, 3, 3, 200])
        .unwrap();
    assert_eq!(guest.u32(200), 3);
    assert_eq!(guest.read(96, 5), b"1\x000\x003");
}

#[test]
fn positioned_access_leaves_the_position() {
    let (temporary, mut guest, fd) = with_file("0123456789");
    assert_eq!(guest.fd_pwrite(fd, b"ab", 8), Ok(2));
    assert_eq!(guest.fd_pread(fd, 100, 7), Ok(b"7ab".to_vec()));
    assert_eq!(guest.fd_pread(fd, 100, 50), Ok(vec![]));
    assert_eq!(guest.fd_tell(fd), Ok(0));
    assert_eq!(guest.fd_pread(fd, 1, -1), Err(Errno::Inval));
    assert_eq!(guest.fd_pwrite(fd, b"x", i64::MIN), Err(Errno::Inval));
    assert_eq!(contents(&temporary), "01234567ab");
}

#[test]
fn seeking_goes_from_the_start_the_position_and_the_end() {
    let (_temporary, mut guest, fd) = with_file("0123456789");
    assert_eq!(guest.fd_seek(fd, 3, 0), Ok(3));
    assert_eq!(guest.fd_seek(fd, 2, 1), Ok(5));
    assert_eq!(guest.fd_seek(fd, -1, 2), Ok(9));
    assert_eq!(guest.fd_seek(fd, 0, 1), Ok(9));
    assert_eq!(guest.fd_seek(fd, 90, 2), Ok(100));
    assert_eq!(guest.fd_seek(fd, -101, 1), Err(Errno::Inval));
    assert_eq!(guest.fd_seek(fd, -1, 0), Err(Errno::Inval));
    assert_eq!(guest.fd_seek(fd, 0, 3), Err(Errno::Inval));
    assert_eq!(guest.fd_tell(fd), Ok(100));
}

#[test]
fn appending_writes_at_the_end_until_it_is_switched_off() {
    let (temporary, mut guest, fd) = with_file("012");
    guest.close(fd).unwrap();
    let append = Open {
        fdflags: APPEND,
        ..Open::READ_WRITE
    };
    let fd = guest.open(3, "file", &append).unwrap();
    assert_eq!(guest.fdstat(fd).unwrap().flags, APPEND);
    assert_eq!(guest.fd_write(fd, b"34"), Ok(2));
    assert_eq!(guest.fd_tell(fd), Ok(5));
    assert_eq!(guest.fd_seek(fd, 0, 0), Ok(0));
    assert_eq!(guest.fd_write(fd, b"5"), Ok(1));
    assert_eq!(guest.call("fd_fdstat_set_flags", &[fd.into(), 0]), Ok(()));
    assert_eq!(guest.fdstat(fd).unwrap().flags, 0);
    assert_eq!(guest.fd_seek(fd, 0, 0), Ok(0));
    assert_eq!(guest.fd_write(fd, b"x"), Ok(1));
    assert_eq!(contents(&temporary), "x12345");

    let append = Open {
        fdflags: APPEND,
        oflags: TRUNC,
        ..Open::WRITE
    };
    let fd = guest.open(3, "file", &append).unwrap();
    assert_eq!(guest.fd_write(fd, b"new"), Ok(3));
    assert_eq!(contents(&temporary), "new");
}

#[test]
fn synchronous_flags_are_kept_and_can_be_changed() {
    let (temporary, mut guest, fd) = with_file("");
    for flags in [SYNC, DSYNC, NONBLOCK, SYNC | DSYNC | APPEND] {
        assert_eq!(
            guest.call("fd_fdstat_set_flags", &[fd.into(), flags.into()]),
            Ok(())
        );
        assert_eq!(guest.fdstat(fd).unwrap().flags, flags);
        assert_eq!(guest.fd_write(fd, b"x"), Ok(1));
        assert_eq!(guest.fd_pwrite(fd, b"y", 0), Ok(1));
    }
    assert!(contents(&temporary).starts_with("yxxx"));
    let synchronous = Open {
        fdflags: SYNC,
        ..Open::WRITE
    };
    let fd = guest.open(3, "file", &synchronous).unwrap();
    assert_eq!(guest.fdstat(fd).unwrap().flags, SYNC);
    assert_eq!(guest.call("fd_sync", &[fd.into()]), Ok(()));
    assert_eq!(guest.call("fd_datasync", &[fd.into()]), Ok(()));
    assert_eq!(guest.call("fd_sync", &[3]), Ok(()));
    assert_eq!(guest.call("fd_datasync", &[3]), Ok(()));
    assert_eq!(guest.call("fd_sync", &[0]), Err(Errno::Inval));
}

#[test]
fn opening_modes_decide_the_rights() {
    let (_temporary, mut guest, fd) = with_file("x");
    let all = guest.fdstat(fd).unwrap();
    assert_eq!(all.file_type, FILETYPE_REGULAR_FILE);
    assert_eq!(
        all.base & (FD_READ | FD_WRITE | FD_SEEK),
        FD_READ | FD_WRITE | FD_SEEK
    );
    assert_eq!(all.inheriting, 0);

    let reader = guest.open(3, "file", &Open::READ).unwrap();
    let stat = guest.fdstat(reader).unwrap();
    assert_eq!(
        stat.base & (FD_READ | FD_WRITE | FD_ALLOCATE | FD_FILESTAT_SET_SIZE),
        FD_READ
    );
    assert_eq!(guest.fd_write(reader, b"y"), Err(Errno::Notcapable));
    assert_eq!(guest.fd_pwrite(reader, b"y", 0), Err(Errno::Notcapable));
    let size = [reader.into(), 0];
    assert_eq!(
        guest.call("fd_filestat_set_size", &size),
        Err(Errno::Notcapable)
    );

    let writer = guest.open(3, "file", &Open::WRITE).unwrap();
    assert_eq!(
        guest.fdstat(writer).unwrap().base & (FD_READ | FD_WRITE),
        FD_WRITE
    );
    assert_eq!(guest.fd_read(writer, 1), Err(Errno::Notcapable));
    assert_eq!(guest.fd_pread(writer, 1, 0), Err(Errno::Notcapable));

    let neither = guest
        .open(
            3,
            "file",
            &Open {
                rights: 0,
                ..Open::READ
            },
        )
        .unwrap();
    assert_eq!(guest.fd_read(neither, 1), Err(Errno::Notcapable));
    assert_eq!(guest.fd_write(neither, b"y"), Err(Errno::Notcapable));
    assert_eq!(guest.fd_filestat(neither).unwrap().size, 1);
}

#[test]
fn rights_can_be_dropped_and_not_regained() {
    let (_temporary, mut guest, fd) = with_file("0123");
    let stat = guest.fdstat(fd).unwrap();
    let set = |guest: &mut Guest, fd: u32, base: u64, inheriting: u64| {
        guest.call(
            "fd_fdstat_set_rights",
            &[fd.into(), base as i64, inheriting as i64],
        )
    };
    assert_eq!(
        set(&mut guest, fd, stat.base & !(FD_READ | FD_SEEK), 0),
        Ok(())
    );
    assert_eq!(guest.fd_read(fd, 1), Err(Errno::Notcapable));
    assert_eq!(guest.fd_seek(fd, 1, 0), Err(Errno::Notcapable));
    assert_eq!(guest.fd_seek(fd, 0, 1), Ok(0));
    assert_eq!(guest.fd_write(fd, b"x"), Ok(1));
    assert_eq!(set(&mut guest, fd, stat.base, 0), Err(Errno::Notcapable));
    assert_eq!(set(&mut guest, fd, 0, FD_READ), Err(Errno::Notcapable));
    assert_eq!(set(&mut guest, fd, 1 << 40, 0), Err(Errno::Notcapable));

    let dir = guest.fdstat(3).unwrap();
    assert_eq!(dir.base & (FD_READ | FD_WRITE | FD_SEEK | FD_TELL), 0);
    assert_eq!(
        set(&mut guest, 3, dir.base, dir.inheriting & !FD_WRITE),
        Ok(())
    );
    assert_eq!(
        guest.open(3, "file", &Open::READ_WRITE),
        Err(Errno::Notcapable)
    );
    assert!(guest.open(3, "file", &Open::READ).is_ok());
    let truncate = Open {
        oflags: TRUNC,
        rights: 0,
        ..Open::READ
    };
    assert!(guest.open(3, "file", &truncate).is_ok());
    let base = dir.base & !PATH_FILESTAT_SET_SIZE;
    assert_eq!(set(&mut guest, 3, base, dir.inheriting & !FD_WRITE), Ok(()));
    assert_eq!(guest.open(3, "file", &truncate), Err(Errno::Notcapable));
    assert_eq!(set(&mut guest, 3, base & !PATH_OPEN, 0), Ok(()));
    assert_eq!(guest.open(3, "file", &Open::READ), Err(Errno::Notcapable));
}

#[test]
fn sizes_change() {
    let (temporary, mut guest, fd) = with_file("0123456789");
    assert_eq!(guest.call("fd_filestat_set_size", &[fd.into(), 3]), Ok(()));
    assert_eq!(contents(&temporary), "012");
    assert_eq!(guest.call("fd_filestat_set_size", &[fd.into(), 5]), Ok(()));
    assert_eq!(contents(&temporary), "012\0\0");
    assert_eq!(
        guest.call("fd_filestat_set_size", &[fd.into(), -1]),
        Err(Errno::Inval)
    );
    let stat = guest.fd_filestat(fd).unwrap();
    assert_eq!(
        (stat.size, stat.links, stat.file_type),
        (5, 1, FILETYPE_REGULAR_FILE)
    );
    assert_eq!(guest.path_filestat(3, "file", false), Ok(stat));
}

#[test]
fn allocation_extends_a_file() {
    let (_temporary, mut guest, fd) = with_file("0123456789");
    match guest.call("fd_allocate", &[fd.into(), 8, 8]) {
        Ok(()) => assert_eq!(guest.fd_filestat(fd).unwrap().size, 16),
        // Not every file system can.
        Err(errno) => assert_eq!(errno, Errno::Notsup),
    }
    assert_eq!(
        guest.call("fd_allocate", &[fd.into(), 0, 0]),
        Err(Errno::Inval)
    );
    assert_eq!(
        guest.call("fd_allocate", &[fd.into(), -1, 1]),
        Err(Errno::Inval)
    );
    assert_eq!(guest.call("fd_allocate", &[3, 0, 1]), Err(Errno::Isdir));
}

#[test]
fn advice_is_taken() {
    let (_temporary, mut guest, fd) = with_file("0123456789");
    for advice in 0..6 {
        assert_eq!(guest.call("fd_advise", &[fd.into(), 0, 10, advice]), Ok(()));
    }
    assert_eq!(
        guest.call("fd_advise", &[fd.into(), 0, 10, 6]),
        Err(Errno::Inval)
    );
    assert_eq!(
        guest.call("fd_advise", &[fd.into(), -1, 10, 0]),
        Err(Errno::Inval)
    );
    assert_eq!(guest.call("fd_advise", &[99, 0, 10, 0]), Err(Errno::Badf));
}

#[test]
fn times_are_set_and_kept() {
    const ATIM: i64 = 1;
    const ATIM_NOW: i64 = 2;
    const MTIM: i64 = 4;
    const MTIM_NOW: i64 = 8;
    let (_temporary, mut guest, fd) = with_file("");
    let times = |guest: &mut Guest| {
        let stat = guest.fd_filestat(fd).unwrap();
        (stat.accessed, stat.modified)
    };
    let set = |guest: &mut Guest, atim, mtim, flags| {
        guest.call("fd_filestat_set_times", &[fd.into(), atim, mtim, flags])
    };
    assert_eq!(
        set(&mut guest, 1_000_000_001, 2_000_000_002, ATIM | MTIM),
        Ok(())
    );
    assert_eq!(times(&mut guest), (1_000_000_001, 2_000_000_002));
    assert_eq!(set(&mut guest, 5, 3_000_000_003, MTIM), Ok(()));
    assert_eq!(times(&mut guest), (1_000_000_001, 3_000_000_003));
    assert_eq!(set(&mut guest, 0, 0, 0), Ok(()));
    assert_eq!(times(&mut guest), (1_000_000_001, 3_000_000_003));

    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let recent = (since_1970 - Duration::from_secs(60)).as_nanos() as u64;
    assert_eq!(set(&mut guest, 0, 0, MTIM_NOW), Ok(()));
    let (accessed, modified) = times(&mut guest);
    assert_eq!(accessed, 1_000_000_001);
    assert!(modified > recent);
    assert_eq!(set(&mut guest, 0, 0, ATIM_NOW), Ok(()));
    assert!(times(&mut guest).0 > recent);

    assert_eq!(set(&mut guest, 0, 0, ATIM | ATIM_NOW), Err(Errno::Inval));
    assert_eq!(set(&mut guest, 0, 0, MTIM | MTIM_NOW), Err(Errno::Inval));
    assert_eq!(set(&mut guest, 0, 0, 16), Err(Errno::Inval));
    assert_eq!(
        guest.call("fd_filestat_set_times", &[0, 0, 0, 0]),
        Err(Errno::Inval)
    );
    assert_eq!(
        guest.call("fd_filestat_set_times", &[3, 0, 7, MTIM]),
        Ok(())
    );
    assert_eq!(guest.fd_filestat(3).unwrap().modified, 7);
}

#[test]
fn directories_are_not_files() {
    let (_temporary, mut guest, _) = with_file("");
    assert_eq!(guest.fd_read(3, 1), Err(Errno::Isdir));
    assert_eq!(guest.fd_write(3, b"x"), Err(Errno::Isdir));
    assert_eq!(guest.fd_pread(3, 1, 0), Err(Errno::Isdir));
    assert_eq!(guest.fd_pwrite(3, b"x", 0), Err(Errno::Isdir));
    assert_eq!(guest.fd_seek(3, 0, 0), Err(Errno::Isdir));
    assert_eq!(guest.fd_tell(3), Err(Errno::Isdir));
    assert_eq!(
        guest.call("fd_filestat_set_size", &[3, 0]),
        Err(Errno::Isdir)
    );
    assert_eq!(guest.call("fd_advise", &[3, 0, 0, 0]), Err(Errno::Isdir));
    assert_eq!(guest.fd_filestat(3).unwrap().file_type, FILETYPE_DIRECTORY);
    assert_eq!(guest.fdstat(3).unwrap().file_type, FILETYPE_DIRECTORY);
}

#[test]
fn descriptors_are_numbered_from_the_lowest_and_can_be_renumbered() {
    let (_temporary, mut guest, first) = with_file("");
    let second = guest.open(3, "file", &Open::READ).unwrap();
    assert_eq!((first, second), (4, 5));
    assert_eq!(guest.close(first), Ok(()));
    assert_eq!(guest.fd_tell(first), Err(Errno::Badf));
    assert_eq!(guest.open(3, "file", &Open::READ), Ok(4));
    assert_eq!(guest.call("fd_renumber", &[4, 3]), Ok(()));
    assert_eq!(guest.close(4), Err(Errno::Badf));
    assert_eq!(guest.fd_tell(3), Ok(0));
    assert_eq!(guest.call("fd_prestat_get", &[3, 0]), Err(Errno::Badf));
    assert_eq!(guest.call("fd_renumber", &[3, 1000]), Err(Errno::Badf));
    assert_eq!(guest.call("fd_renumber", &[3, -1]), Err(Errno::Badf));
    assert_eq!(guest.call("fd_renumber", &[3, 3]), Ok(()));
}

#[test]
fn functions_of_descriptors_refuse_those_that_are_not_open() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    let calls: &[(&str, &[i64])] = &[
        ("fd_advise", &[9, 0, 0, 0]),
        ("fd_allocate", &[9, 0, 1]),
        ("fd_close", &[-1]),
        ("fd_datasync", &[9]),
        ("fd_fdstat_get", &[9, 0]),
        ("fd_fdstat_set_flags", &[9, 0]),
        ("fd_fdstat_set_rights", &[9, 0, 0]),
        ("fd_filestat_get", &[9, 0]),
        ("fd_filestat_set_size", &[9, 0]),
        ("fd_filestat_set_times", &[9, 0, 0, 0]),
        ("fd_pread", &[9, 0, 0, 0, 0]),
        ("fd_prestat_dir_name", &[9, 0, 0]),
        ("fd_prestat_get", &[9, 0]),
        ("fd_pwrite", &[9, 0, 0, 0, 0]),
        ("fd_read", &[9, 0, 0, 0]),
        ("fd_readdir", &[9, 0, 0, 0, 0]),
        ("fd_renumber", &[9, 0]),
        ("fd_seek", &[9, 0, 0, 0]),
        ("fd_sync", &[9]),
        ("fd_tell", &[9, 0]),
        ("fd_write", &[9, 0, 0, 0]),
        ("path_create_directory", &[9, 0, 1]),
        ("path_filestat_get", &[9, 0, 0, 1, 0]),
        ("path_filestat_set_times", &[9, 0, 0, 1, 0, 0, 0]),
        ("path_link", &[9, 0, 0, 1, 9, 0, 1]),
        ("path_open", &[9, 0, 0, 1, 0, 0, 0, 0, 0]),
        ("path_readlink", &[9, 0, 1, 0, 0, 0]),
        ("path_remove_directory", &[9, 0, 1]),
        ("path_rename", &[9, 0, 1, 9, 0, 1]),
        ("path_symlink", &[0, 1, 9, 0, 1]),
        ("path_unlink_file", &[9, 0, 1]),
        ("sock_accept", &[9, 0, 0]),
        ("sock_recv", &[9, 0, 0, 0, 0, 0]),
        ("sock_send", &[9, 0, 0, 0, 0]),
        ("sock_shutdown", &[9, 1]),
    ];
    for (name, arguments) in calls {
        assert_eq!(guest.call(name, arguments), Err(Errno::Badf), "{name}");
    }
}

#[test]
fn permissions_of_the_embedder_limit_files() {
    let temporary = scratch();
    std::fs::write(temporary.path().join("file"), "x").unwrap();
    let guest = |file_perms| {
        let mut builder = WasiCtxBuilder::new();
        let all = DirPerms::all();
        builder
            .preopened_dir(temporary.path(), "/", all, file_perms)
            .unwrap();
        Guest::new(&mut builder)
    };
    let mut reader = guest(FilePerms::READ);
    assert_eq!(reader.open(3, "file", &Open::WRITE), Err(Errno::Perm));
    assert_eq!(reader.open(3, "new", &Open::CREATE), Err(Errno::Perm));
    let truncate = Open {
        oflags: TRUNC,
        ..Open::READ
    };
    assert_eq!(reader.open(3, "file", &truncate), Err(Errno::Perm));
    let fd = reader.open(3, "file", &Open::READ).unwrap();
    assert_eq!(reader.fd_read(fd, 10), Ok(b"x".to_vec()));
    assert_eq!(
        reader.call("fd_filestat_set_times", &[fd.into(), 0, 0, 4]),
        Err(Errno::Perm)
    );

    let mut writer = guest(FilePerms::WRITE);
    assert_eq!(writer.open(3, "file", &Open::READ), Err(Errno::Perm));
    let fd = writer.open(3, "file", &Open::WRITE).unwrap();
    assert_eq!(writer.fd_write(fd, b"y"), Ok(1));
}
