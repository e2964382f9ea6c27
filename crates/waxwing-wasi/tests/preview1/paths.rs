//! Directories and names: everything that a path leads to.

use crate::guest::*;
use std::collections::BTreeSet;
use waxwing_wasi::preview1::Errno;
use waxwing_wasi::{DirPerms, FilePerms, WasiCtxBuilder};

fn empty() -> (tempfile::TempDir, Guest) {
    let temporary = scratch();
    let guest = Guest::with_dir(temporary.path());
    (temporary, guest)
}

#[test]
fn preopened_directories_are_named() {
    let (first, second) = (scratch(), scratch());
    let mut builder = WasiCtxBuilder::new();
    for (path, name) in [(&first, "."), (&second, "/data")] {
        builder
            .preopened_dir(path, name, DirPerms::all(), FilePerms::all())
            .unwrap();
    }
    let mut guest = Guest::new(&mut builder);
    for (fd, name) in [(3, "."), (4, "/data")] {
        assert_eq!(guest.call("fd_prestat_get", &[fd, 0]), Ok(()));
        assert_eq!((guest.u32(0), guest.u32(4)), (0, name.len() as u32));
        let length = name.len() as i64;
        let short = guest.call("fd_prestat_dir_name", &[fd, 100, length - 1]);
        assert_eq!(short, Err(Errno::Nametoolong));
        assert_eq!(
            guest.call("fd_prestat_dir_name", &[fd, 100, length + 1]),
            Ok(())
        );
        assert_eq!(guest.read(100, name.len() as u32), name.as_bytes());
        let outside = [fd, MEMORY.into(), length];
        assert_eq!(
            guest.call("fd_prestat_dir_name", &outside),
            Err(Errno::Fault)
        );
    }
    assert_eq!(guest.call("fd_prestat_get", &[5, 0]), Err(Errno::Badf));
}

#[test]
fn directories_that_cannot_be_opened_are_named_in_the_error() {
    let mut builder = WasiCtxBuilder::new();
    let missing = scratch().path().join("missing");
    let error = builder
        .preopened_dir(&missing, "/guest", DirPerms::all(), FilePerms::all())
        .unwrap_err();
    assert!(error.to_string().contains(&*missing.to_string_lossy()));
    assert!(error.to_string().contains("/guest"));
}

#[test]
fn files_are_created_as_the_flags_say() {
    let (temporary, mut guest) = empty();
    assert_eq!(guest.open(3, "a", &Open::READ), Err(Errno::Noent));
    let fd = guest.open(3, "a", &Open::CREATE).unwrap();
    assert_eq!(guest.fd_write(fd, b"abc"), Ok(3));
    let exclusive = Open {
        oflags: CREAT | EXCL,
        ..Open::CREATE
    };
    assert_eq!(guest.open(3, "a", &exclusive), Err(Errno::Exist));
    assert!(guest.open(3, "b", &exclusive).is_ok());
    assert!(guest.open(3, "a", &Open::CREATE).is_ok());
    assert_eq!(std::fs::read(temporary.path().join("a")).unwrap(), b"abc");
    let truncate = Open {
        oflags: TRUNC,
        ..Open::WRITE
    };
    assert!(guest.open(3, "a", &truncate).is_ok());
    assert_eq!(std::fs::read(temporary.path().join("a")).unwrap(), b"");

    let create_to_read = Open {
        oflags: CREAT,
        ..Open::READ
    };
    let fd = guest.open(3, "c", &create_to_read).unwrap();
    assert_eq!(guest.fd_write(fd, b"x"), Err(Errno::Notcapable));
    assert!(guest.open(3, "c", &create_to_read).is_ok());
    assert!(
        guest
            .open(
                3,
                "d",
                &Open {
                    rights: 0,
                    ..Open::CREATE
                }
            )
            .is_ok()
    );

    for oflags in [16, 0x8000] {
        assert_eq!(
            guest.open(
                3,
                "a",
                &Open {
                    oflags,
                    ..Open::READ
                }
            ),
            Err(Errno::Inval)
        );
    }
    let fdflags = 32;
    assert_eq!(
        guest.open(
            3,
            "a",
            &Open {
                fdflags,
                ..Open::READ
            }
        ),
        Err(Errno::Inval)
    );
}

#[test]
fn directories_are_opened_with_or_without_the_flag() {
    let (_temporary, mut guest) = empty();
    guest.create_directory(3, "d").unwrap();
    guest.open(3, "d/file", &Open::CREATE).unwrap();
    let all_rights = Open {
        rights: u64::MAX,
        ..Open::DIRECTORY
    };
    for how in [Open::DIRECTORY, Open::READ, all_rights] {
        let fd = guest.open(3, "d", &how).unwrap();
        assert_eq!(guest.fdstat(fd).unwrap().file_type, FILETYPE_DIRECTORY);
        assert_eq!(
            guest.fdstat(fd).unwrap().base,
            guest.fdstat(3).unwrap().base
        );
        assert_eq!(guest.readdir(fd, 4096, 0).unwrap().0.len(), 3);
        assert!(guest.open(fd, "file", &Open::READ).is_ok());
        assert_eq!(
            guest.call("fd_prestat_get", &[fd.into(), 0]),
            Err(Errno::Badf)
        );
    }
    assert_eq!(guest.open(3, "d", &Open::WRITE), Err(Errno::Isdir));
    assert_eq!(
        guest.open(3, "d/file", &Open::DIRECTORY),
        Err(Errno::Notdir)
    );
    assert_eq!(guest.open(3, "d/file/", &Open::READ), Err(Errno::Notdir));
    assert_eq!(guest.open(3, "d/file/x", &Open::READ), Err(Errno::Notdir));
    assert!(guest.open(3, "d/../d/./file", &Open::READ).is_ok());
    let create = Open {
        oflags: DIRECTORY | CREAT,
        ..Open::READ
    };
    assert_eq!(guest.open(3, "e", &create), Err(Errno::Inval));
    let file = guest.open(3, "d/file", &Open::READ).unwrap();
    assert_eq!(guest.open(file, "x", &Open::READ), Err(Errno::Notdir));
}

#[test]
fn directories_are_made_and_removed() {
    let (_temporary, mut guest) = empty();
    assert_eq!(guest.create_directory(3, "d"), Ok(()));
    assert_eq!(guest.create_directory(3, "d"), Err(Errno::Exist));
    assert_eq!(guest.create_directory(3, "d/e/"), Ok(()));
    assert_eq!(guest.create_directory(3, "x/y"), Err(Errno::Noent));
    assert_eq!(guest.remove_directory(3, "d"), Err(Errno::Notempty));
    assert_eq!(guest.unlink(3, "d"), Err(Errno::Isdir));
    assert_eq!(guest.remove_directory(3, "d/e"), Ok(()));
    assert_eq!(guest.remove_directory(3, "d/"), Ok(()));
    assert_eq!(guest.remove_directory(3, "d"), Err(Errno::Noent));

    guest.open(3, "f", &Open::CREATE).unwrap();
    assert_eq!(guest.remove_directory(3, "f"), Err(Errno::Notdir));
    assert_eq!(guest.create_directory(3, "f/d"), Err(Errno::Notdir));
    assert_eq!(guest.unlink(3, "f/"), Err(Errno::Notdir));
    assert_eq!(guest.unlink(3, "f"), Ok(()));
    assert_eq!(guest.unlink(3, "f"), Err(Errno::Noent));
}

#[test]
fn entries_are_listed_with_cookies() {
    let (_temporary, mut guest) = empty();
    let mut expected: BTreeSet<String> = (0..300).map(|index| format!("file-{index}")).collect();
    for name in &expected {
        let fd = guest.open(3, name, &Open::CREATE).unwrap();
        guest.close(fd).unwrap();
    }
    guest.create_directory(3, "directory").unwrap();
    guest.symlink("file-0", 3, "symlink").unwrap();
    expected.extend([".", "..", "directory", "symlink"].map(str::to_owned));

    for length in [64, 100, 4096, 65536] {
        let mut found = Vec::new();
        let mut cookie = 0;
        loop {
            let (entries, more) = guest.readdir(3, length, cookie).unwrap();
            if let Some(last) = entries.last() {
                cookie = last.next;
            }
            found.extend(entries);
            if !more {
                break;
            }
        }
        let names: BTreeSet<_> = found.iter().map(|entry| entry.name.clone()).collect();
        assert_eq!(found.len(), expected.len(), "each entry once");
        assert_eq!(names, expected);
        for entry in &found {
            let stat = match &*entry.name {
                ".." => continue,
                name => guest.path_filestat(3, name, false).unwrap(),
            };
            assert_eq!((entry.file_type, entry.inode), (stat.file_type, stat.inode));
        }
        // Reading again from any entry gives the one after it.
        let (again, _) = guest.readdir(3, 4096, found[7].next).unwrap();
        assert_eq!(again[0], found[8]);
    }
}

#[test]
fn listing_sees_changes_and_survives_removals() {
    let (_temporary, mut guest) = empty();
    let names = |entries: &[Entry]| -> BTreeSet<String> {
        entries.iter().map(|entry| entry.name.clone()).collect()
    };
    let (entries, more) = guest.readdir(3, 4096, 0).unwrap();
    assert!(!more);
    assert_eq!(names(&entries), [".", ".."].map(str::to_owned).into());
    for index in 0..50 {
        let fd = guest.open(3, &format!("f{index}"), &Open::CREATE).unwrap();
        guest.close(fd).unwrap();
    }
    assert_eq!(guest.readdir(3, 4096, 0).unwrap().0.len(), 52);

    let mut cookie = 0;
    loop {
        let (entries, more) = guest.readdir(3, 200, cookie).unwrap();
        for entry in &entries {
            cookie = entry.next;
            if entry.name.starts_with('f') {
                guest.unlink(3, &entry.name).unwrap();
            }
        }
        if !more {
            break;
        }
    }
    assert_eq!(guest.readdir(3, 4096, 0).unwrap().0.len(), 2);
}

#[test]
fn entries_are_cut_off_where_the_buffer_ends() {
    let (_temporary, mut guest) = empty();
    assert_eq!(guest.readdir(3, 0, 0), Ok((vec![], true)));
    assert_eq!(guest.readdir(3, 10, 0), Ok((vec![], true)));
    assert_eq!(guest.readdir(3, 24, 0), Ok((vec![], true)));
    assert_eq!(guest.readdir(3, 25, 0).unwrap().0.len(), 1);
    assert_eq!(guest.readdir(3, 100, u64::MAX), Err(Errno::Inval));
    let file = guest.open(3, "file", &Open::CREATE).unwrap();
    assert_eq!(guest.readdir(file, 100, 0), Err(Errno::Notdir));
    let outside = [3, i64::from(MEMORY) - 10, 11, 0, 0];
    assert_eq!(guest.call("fd_readdir", &outside), Err(Errno::Fault));
}

#[cfg(unix)]
#[test]
fn names_that_are_not_unicode_are_left_out() {
    use std::os::unix::ffi::OsStrExt;
    let (temporary, mut guest) = empty();
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    if std::fs::write(temporary.path().join(name), "").is_ok() {
        assert_eq!(guest.readdir(3, 4096, 0).unwrap().0.len(), 2);
    }
}

#[test]
fn a_removed_directory_lists_nothing() {
    let (temporary, mut guest) = empty();
    guest.create_directory(3, "d").unwrap();
    let fd = guest.open(3, "d", &Open::DIRECTORY).unwrap();
    std::fs::remove_dir(temporary.path().join("d")).unwrap();
    match guest.readdir(fd, 4096, 0) {
        Ok((entries, _)) => assert_eq!(entries, []),
        Err(errno) => assert_eq!(errno, Errno::Noent),
    }
}

#[test]
fn files_and_directories_are_renamed() {
    let (_temporary, mut guest) = empty();
    guest.open(3, "a", &Open::CREATE).unwrap();
    guest.create_directory(3, "d").unwrap();
    guest.create_directory(3, "e").unwrap();
    let inode = guest.path_filestat(3, "a", true).unwrap().inode;
    assert_eq!(guest.rename((3, "a"), (3, "b")), Ok(()));
    assert_eq!(guest.path_filestat(3, "b", true).unwrap().inode, inode);
    let d = guest.open(3, "d", &Open::DIRECTORY).unwrap();
    assert_eq!(guest.rename((3, "b"), (d, "c")), Ok(()));
    assert_eq!(guest.path_filestat(3, "d/c", true).unwrap().inode, inode);
    assert_eq!(guest.rename((3, "b"), (3, "x")), Err(Errno::Noent));
    assert_eq!(guest.rename((3, "e"), (3, "d")), Err(Errno::Notempty));
    assert_eq!(guest.rename((3, "d/c"), (3, "e")), Err(Errno::Isdir));
    assert_eq!(guest.rename((3, "e"), (3, "d/c")), Err(Errno::Notdir));
    assert_eq!(guest.rename((3, "d"), (3, "d/d")), Err(Errno::Inval));
    assert_eq!(guest.rename((3, "d"), (3, "e/")), Ok(()));
    assert_eq!(guest.path_filestat(3, "e/c", true).unwrap().inode, inode);
}

#[test]
fn hard_links_share_a_file() {
    let (_temporary, mut guest) = empty();
    let fd = guest.open(3, "a", &Open::CREATE).unwrap();
    guest.create_directory(3, "d").unwrap();
    assert_eq!(guest.link((3, "a"), (3, "d/b"), false), Ok(()));
    assert_eq!(guest.fd_filestat(fd).unwrap().links, 2);
    let linked = guest.path_filestat(3, "d/b", true).unwrap();
    assert_eq!(linked.inode, guest.fd_filestat(fd).unwrap().inode);
    assert_eq!(guest.link((3, "a"), (3, "d/b"), false), Err(Errno::Exist));
    assert_eq!(guest.link((3, "x"), (3, "y"), false), Err(Errno::Noent));
    assert_eq!(guest.link((3, "d"), (3, "y"), false), Err(Errno::Perm));
    assert_eq!(guest.link((3, "a"), (3, "y/"), false), Err(Errno::Noent));

    guest.symlink("a", 3, "s").unwrap();
    assert_eq!(guest.link((3, "s"), (3, "of-link"), false), Ok(()));
    assert_eq!(guest.link((3, "s"), (3, "of-file"), true), Ok(()));
    let file_type =
        |guest: &mut Guest, path| guest.path_filestat(3, path, false).unwrap().file_type;
    assert_eq!(file_type(&mut guest, "of-link"), FILETYPE_SYMBOLIC_LINK);
    assert_eq!(file_type(&mut guest, "of-file"), FILETYPE_REGULAR_FILE);
    guest.symlink("nowhere", 3, "dangling").unwrap();
    assert_eq!(
        guest.link((3, "dangling"), (3, "z"), true),
        Err(Errno::Noent)
    );
}

#[test]
fn symbolic_links_are_followed_when_asked() {
    let (_temporary, mut guest) = empty();
    let fd = guest.open(3, "target", &Open::CREATE).unwrap();
    guest.fd_write(fd, b"1234567890").unwrap();
    assert_eq!(guest.symlink("target", 3, "link"), Ok(()));
    assert_eq!(guest.symlink("target", 3, "link"), Err(Errno::Exist));
    assert_eq!(guest.symlink("target", 3, "new/"), Err(Errno::Noent));
    assert_eq!(guest.symlink("", 3, "empty"), Err(Errno::Noent));

    let followed = guest.path_filestat(3, "link", true).unwrap();
    assert_eq!(
        (followed.file_type, followed.size),
        (FILETYPE_REGULAR_FILE, 10)
    );
    let link = guest.path_filestat(3, "link", false).unwrap();
    assert_eq!((link.file_type, link.size), (FILETYPE_SYMBOLIC_LINK, 6));
    assert!(guest.open(3, "link", &Open::READ).is_ok());
    let nofollow = Open {
        nofollow: true,
        ..Open::READ
    };
    assert_eq!(guest.open(3, "link", &nofollow), Err(Errno::Loop));
    assert!(guest.open(3, "target", &nofollow).is_ok());

    assert_eq!(guest.readlink(3, "link", 100), Ok(b"target".to_vec()));
    assert_eq!(guest.readlink(3, "link", 3), Ok(b"tar".to_vec()));
    assert_eq!(guest.readlink(3, "link", 0), Ok(vec![]));
    assert_eq!(guest.readlink(3, "target", 9), Err(Errno::Inval));
    assert_eq!(guest.readlink(3, "missing", 9), Err(Errno::Noent));

    guest.symlink("loop-b", 3, "loop-a").unwrap();
    guest.symlink("loop-a", 3, "loop-b").unwrap();
    assert_eq!(guest.open(3, "loop-a", &Open::READ), Err(Errno::Loop));
    assert_eq!(guest.path_filestat(3, "loop-a", true), Err(Errno::Loop));
    assert_eq!(guest.unlink(3, "loop-a"), Ok(()));

    guest.create_directory(3, "d").unwrap();
    guest.symlink("d", 3, "dlink").unwrap();
    assert!(guest.open(3, "dlink", &Open::DIRECTORY).is_ok());
    let nofollow = Open {
        nofollow: true,
        ..Open::DIRECTORY
    };
    assert_eq!(guest.open(3, "dlink", &nofollow), Err(Errno::Notdir));
    assert_eq!(guest.remove_directory(3, "dlink"), Err(Errno::Notdir));
    assert_eq!(guest.unlink(3, "dlink"), Ok(()));
}

#[test]
fn times_are_set_by_path() {
    let (_temporary, mut guest) = empty();
    guest.open(3, "target", &Open::CREATE).unwrap();
    guest.symlink("target", 3, "link").unwrap();
    guest.write(0, b"link");
    let set = |guest: &mut Guest, follow, mtim, flags| {
        guest.call(
            "path_filestat_set_times",
            &[3, follow, 0, 4, 0, mtim, flags],
        )
    };
    assert_eq!(set(&mut guest, 1, 1_500_000_000, 4), Ok(()));
    assert_eq!(set(&mut guest, 0, 2_500_000_000, 4), Ok(()));
    assert_eq!(
        guest.path_filestat(3, "target", false).unwrap().modified,
        1_500_000_000
    );
    assert_eq!(
        guest.path_filestat(3, "link", false).unwrap().modified,
        2_500_000_000
    );
    assert_eq!(set(&mut guest, 1, 0, 4 | 8), Err(Errno::Inval));
    assert_eq!(set(&mut guest, 2, 0, 4), Err(Errno::Inval));
    assert_eq!(set(&mut guest, 1, 0, 8), Ok(()));
    assert!(guest.path_filestat(3, "target", false).unwrap().modified > 1_500_000_000);
}

#[test]
fn paths_are_checked() {
    let (_temporary, mut guest) = empty();
    assert_eq!(guest.open(3, "", &Open::READ), Err(Errno::Noent));
    assert_eq!(guest.open(3, "a\0", &Open::CREATE), Err(Errno::Inval));
    assert_eq!(
        guest.create_directory(3, &"a".repeat(300)),
        Err(Errno::Nametoolong)
    );
    assert_eq!(
        guest.create_directory(3, &"a/".repeat(2100)),
        Err(Errno::Nametoolong)
    );
    guest.write(0, b"\xff\xff");
    assert_eq!(
        guest.call("path_create_directory", &[3, 0, 2]),
        Err(Errno::Ilseq)
    );
    let outside = [3, i64::from(MEMORY) - 1, 2];
    assert_eq!(
        guest.call("path_create_directory", &outside),
        Err(Errno::Fault)
    );
    assert_eq!(
        guest.call("path_unlink_file", &[3, 0, -1]),
        Err(Errno::Nametoolong)
    );
    assert_eq!(
        guest.call("path_filestat_get", &[3, 2, 0, 1, 0]),
        Err(Errno::Inval)
    );
    assert_eq!(guest.create_directory(3, "häß"), Ok(()));
    assert!(
        guest
            .readdir(3, 4096, 0)
            .unwrap()
            .0
            .iter()
            .any(|entry| entry.name == "häß")
    );
}

#[test]
fn a_bad_result_pointer_opens_nothing() {
    let (_temporary, mut guest) = empty();
    guest.write(0, b"file");
    let outside = i64::from(MEMORY) - 3;
    let arguments = [3, 0, 0, 4, CREAT.into(), FD_WRITE as i64, 0, 0, outside];
    assert_eq!(guest.call("path_open", &arguments), Err(Errno::Fault));
    assert_eq!(guest.path_filestat(3, "file", true), Err(Errno::Noent));
    assert_eq!(guest.open(3, ".", &Open::READ), Ok(4));
}

#[test]
fn permissions_of_the_embedder_limit_directories() {
    let temporary = scratch();
    std::fs::write(temporary.path().join("file"), "x").unwrap();
    std::fs::create_dir(temporary.path().join("d")).unwrap();
    let guest = |perms| {
        let mut builder = WasiCtxBuilder::new();
        builder
            .preopened_dir(temporary.path(), "/", perms, FilePerms::all())
            .unwrap();
        Guest::new(&mut builder)
    };
    let mut reader = guest(DirPerms::READ);
    assert_eq!(reader.open(3, "new", &Open::CREATE), Err(Errno::Perm));
    assert_eq!(reader.create_directory(3, "new"), Err(Errno::Perm));
    assert_eq!(reader.remove_directory(3, "d"), Err(Errno::Perm));
    assert_eq!(reader.unlink(3, "file"), Err(Errno::Perm));
    assert_eq!(reader.rename((3, "file"), (3, "new")), Err(Errno::Perm));
    assert_eq!(
        reader.link((3, "file"), (3, "new"), false),
        Err(Errno::Perm)
    );
    assert_eq!(reader.symlink("file", 3, "new"), Err(Errno::Perm));
    assert_eq!(
        reader.call("fd_filestat_set_times", &[3, 0, 0, 4]),
        Err(Errno::Perm)
    );
    let fd = reader.open(3, "d", &Open::DIRECTORY).unwrap();
    assert_eq!(reader.create_directory(fd, "new"), Err(Errno::Perm));
    assert_eq!(reader.readdir(3, 4096, 0).unwrap().0.len(), 4);
    assert!(reader.open(3, "file", &Open::READ_WRITE).is_ok());

    let mut writer = guest(DirPerms::MUTATE);
    assert_eq!(writer.open(3, "file", &Open::READ), Err(Errno::Perm));
    assert_eq!(writer.path_filestat(3, "file", true), Err(Errno::Perm));
    assert_eq!(writer.readdir(3, 4096, 0), Err(Errno::Perm));
    assert_eq!(writer.create_directory(3, "new"), Ok(()));
}
