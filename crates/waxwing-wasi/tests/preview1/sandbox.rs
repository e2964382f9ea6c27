//! Attempts to leave the directories that were opened for the guest.

use crate::guest::*;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use waxwing_wasi::preview1::Errno;
use waxwing_wasi::{DirPerms, FilePerms, WasiCtxBuilder};

/// A directory `inside` for the guest, and beside it `outside` with the file
/// `secret`.
struct Scene {
    temporary: tempfile::TempDir,
    guest: Guest,
}

impl Scene {
    fn new() -> Self {
        let temporary = scratch();
        for name in ["inside", "outside"] {
            std::fs::create_dir(temporary.path().join(name)).unwrap();
        }
        std::fs::create_dir(temporary.path().join("inside/sub")).unwrap();
        std::fs::write(temporary.path().join("outside/secret"), "secret").unwrap();
        let guest = Guest::with_dir(&temporary.path().join("inside"));
        Self { temporary, guest }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.temporary.path().join(path)
    }

    /// Nothing was changed outside.
    fn check(&self) {
        let secret = std::fs::read(self.path("outside/secret")).unwrap();
        assert_eq!(secret, b"secret");
        assert_eq!(std::fs::read_dir(self.path("outside")).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(self.temporary.path()).unwrap().count(), 2);
    }
}

/// Tries every function of paths on a path that leads out.
fn refuse_everywhere(guest: &mut Guest, path: &str) {
    let refused = Err(Errno::Perm);
    for how in [Open::READ, Open::WRITE, Open::CREATE, Open::DIRECTORY] {
        assert_eq!(guest.open(3, path, &how).map(drop), refused, "open {path}");
    }
    assert_eq!(
        guest.path_filestat(3, path, true).map(drop),
        refused,
        "stat {path}"
    );
    let new = format!("{path}/new");
    assert_eq!(
        guest.open(3, &new, &Open::CREATE).map(drop),
        refused,
        "create {new}"
    );
    assert_eq!(guest.create_directory(3, &new), refused, "mkdir {new}");
    assert_eq!(guest.symlink("x", 3, &new), refused, "symlink {new}");
    assert_eq!(
        guest.rename((3, "sub"), (3, &new)),
        refused,
        "rename to {new}"
    );
    let secret = format!("{path}/secret");
    assert_eq!(guest.unlink(3, &secret), refused, "unlink {secret}");
    assert_eq!(
        guest.remove_directory(3, &secret),
        refused,
        "rmdir {secret}"
    );
    assert_eq!(
        guest.rename((3, &secret), (3, "x")),
        refused,
        "rename {secret}"
    );
    assert_eq!(
        guest.link((3, &secret), (3, "x"), false),
        refused,
        "link {secret}"
    );
    assert_eq!(
        guest.link((3, &secret), (3, "x"), true),
        refused,
        "link -L {secret}"
    );
    assert_eq!(
        guest.readlink(3, &secret, 9).map(drop),
        refused,
        "readlink {secret}"
    );
    assert_eq!(
        guest.path_filestat(3, &secret, false).map(drop),
        refused,
        "lstat {secret}"
    );
    guest.write(0, secret.as_bytes());
    for follow in [0, 1] {
        let arguments = [3, follow, 0, secret.len() as i64, 0, 0, 4];
        assert_eq!(
            guest.call("path_filestat_set_times", &arguments),
            refused,
            "utime {secret}"
        );
    }
}

#[test]
fn parent_directories_are_out_of_reach() {
    let mut scene = Scene::new();
    for path in [
        "../outside",
        "sub/../../outside",
        "./../outside",
        "sub/../sub/../../outside",
    ] {
        refuse_everywhere(&mut scene.guest, path);
    }
    assert_eq!(
        scene.guest.open(3, "..", &Open::DIRECTORY),
        Err(Errno::Perm)
    );
    assert_eq!(
        scene.guest.remove_directory(3, "../outside"),
        Err(Errno::Perm)
    );
    // A directory reached through the first is as closed.
    let sub = scene.guest.open(3, "sub", &Open::DIRECTORY).unwrap();
    assert_eq!(
        scene.guest.open(sub, "..", &Open::DIRECTORY),
        Err(Errno::Perm)
    );
    assert_eq!(
        scene.guest.open(sub, "../sub", &Open::DIRECTORY),
        Err(Errno::Perm)
    );
    scene.check();
}

#[test]
fn absolute_paths_are_out_of_reach() {
    let mut scene = Scene::new();
    let outside = scene.path("outside").to_str().unwrap().to_owned();
    refuse_everywhere(&mut scene.guest, &outside);
    let inside = scene.path("inside/sub").to_str().unwrap().to_owned();
    assert_eq!(
        scene.guest.open(3, &inside, &Open::DIRECTORY),
        Err(Errno::Perm)
    );
    assert_eq!(scene.guest.open(3, "/", &Open::DIRECTORY), Err(Errno::Perm));
    scene.check();
}

#[test]
fn symbolic_links_of_the_host_that_lead_out_are_not_followed() {
    let mut scene = Scene::new();
    symlink(scene.path("outside"), scene.path("inside/absolute")).unwrap();
    symlink("../outside", scene.path("inside/relative")).unwrap();
    symlink("../../outside", scene.path("inside/sub/deep")).unwrap();
    symlink("sub/deep", scene.path("inside/chain")).unwrap();
    for path in ["absolute", "relative", "sub/deep", "chain"] {
        refuse_everywhere(&mut scene.guest, path);
    }
    // The links themselves belong to the guest; where the host's lie is not
    // its business.
    assert_eq!(
        scene.guest.readlink(3, "relative", 99),
        Ok(b"../outside".to_vec())
    );
    assert_eq!(scene.guest.readlink(3, "absolute", 99), Err(Errno::Perm));
    let stat = scene.guest.path_filestat(3, "absolute", false).unwrap();
    assert_eq!(stat.file_type, FILETYPE_SYMBOLIC_LINK);
    assert_eq!(scene.guest.unlink(3, "absolute"), Ok(()));
    scene.check();
}

#[test]
fn symbolic_links_of_the_guest_lead_nowhere_either() {
    let mut scene = Scene::new();
    let guest = &mut scene.guest;
    assert_eq!(guest.symlink("/etc", 3, "etc"), Err(Errno::Perm));
    assert_eq!(guest.symlink("/", 3, "root"), Err(Errno::Perm));
    assert_eq!(guest.symlink("../outside", 3, "out"), Ok(()));
    assert_eq!(guest.symlink("../outside/secret", 3, "secret"), Ok(()));
    assert_eq!(guest.symlink("../outside/new", 3, "new"), Ok(()));
    refuse_everywhere(guest, "out");
    assert_eq!(guest.open(3, "secret", &Open::READ), Err(Errno::Perm));
    assert_eq!(guest.open(3, "new", &Open::CREATE), Err(Errno::Perm));
    // Moved to where it would point to something else, it stays inside.
    assert_eq!(guest.rename((3, "secret"), (3, "sub/secret")), Ok(()));
    assert_eq!(guest.open(3, "sub/secret", &Open::READ), Err(Errno::Noent));
    scene.check();
}

#[test]
fn a_descriptor_of_a_moved_directory_gives_no_way_up() {
    let mut scene = Scene::new();
    let sub = scene.guest.open(3, "sub", &Open::DIRECTORY).unwrap();
    std::fs::rename(scene.path("inside/sub"), scene.path("outside/sub")).unwrap();
    assert_eq!(
        scene.guest.open(sub, "../secret", &Open::READ),
        Err(Errno::Perm)
    );
    assert_eq!(
        scene.guest.open(sub, "..", &Open::DIRECTORY),
        Err(Errno::Perm)
    );
}

/// Tells the other thread to stop, also when a check fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Another process swaps a directory for a link that leads out, again and
/// again, while the guest opens paths through it.
#[test]
fn swapping_links_during_resolution_opens_no_way_out() {
    let mut scene = Scene::new();
    std::fs::write(scene.path("inside/sub/secret"), "public").unwrap();
    symlink("../outside", scene.path("inside/evil")).unwrap();
    let stop = AtomicBool::new(false);
    let [sub, evil, spare] = ["sub", "evil", "spare"].map(|name| scene.path("inside").join(name));
    let (mut tries, mut opened, mut refused) = (0, 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for (from, to) in [(&sub, &spare), (&evil, &sub), (&sub, &evil), (&spare, &sub)] {
                    std::fs::rename(from, to).unwrap();
                }
            }
        });
        let _stop = StopAtEnd(&stop);
        while tries < 2_000 || tries < 200_000 && (opened == 0 || refused == 0) {
            tries += 1;
            match scene.guest.open(3, "sub/secret", &Open::READ) {
                Ok(fd) => {
                    opened += 1;
                    assert_eq!(scene.guest.fd_read(fd, 100), Ok(b"public".to_vec()));
                    scene.guest.close(fd).unwrap();
                }
                Err(Errno::Perm | Errno::Noent | Errno::Loop | Errno::Notdir | Errno::Again) => {
                    refused += 1;
                }
                Err(errno) => panic!("unexpected {errno:?}"),
            }
            assert_ne!(scene.guest.create_directory(3, "sub/secret/new"), Ok(()));
            match scene.guest.unlink(3, "sub/missing") {
                Err(Errno::Noent | Errno::Perm | Errno::Loop | Errno::Notdir | Errno::Again) => {}
                result => panic!("unexpected {result:?}"),
            }
        }
    });
    assert!(
        opened > 0 && refused > 0,
        "opened {opened}, refused {refused}"
    );
    let secret = std::fs::read(scene.path("outside/secret")).unwrap();
    assert_eq!(secret, b"secret");
}

#[test]
fn moving_between_directories_gives_no_more_permissions() {
    let (limited, free) = (scratch(), scratch());
    std::fs::write(limited.path().join("file"), "x").unwrap();
    let mut builder = WasiCtxBuilder::new();
    builder
        .preopened_dir(limited.path(), "/limited", DirPerms::all(), FilePerms::READ)
        .unwrap()
        .preopened_dir(free.path(), "/free", DirPerms::all(), FilePerms::all())
        .unwrap();
    let mut guest = Guest::new(&mut builder);
    assert_eq!(guest.rename((3, "file"), (4, "file")), Err(Errno::Perm));
    assert_eq!(
        guest.link((3, "file"), (4, "file"), false),
        Err(Errno::Perm)
    );
    assert_eq!(guest.link((3, "file"), (3, "other"), false), Ok(()));
    guest.open(4, "mine", &Open::CREATE).unwrap();
    assert_eq!(guest.rename((4, "mine"), (3, "mine")), Ok(()));
    assert_eq!(guest.open(3, "mine", &Open::WRITE), Err(Errno::Perm));
}
