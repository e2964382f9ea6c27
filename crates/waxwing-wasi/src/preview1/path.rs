//! The functions `path_*`: everything that a guest does by name.
//!
//! Each starts from an open directory and leaves the resolution of the path to
//! `cap-std`, which never leaves that directory.

use super::WasiP1Ctx;
use super::descriptor::store_filestat;
use super::memory::GuestMemory;
use super::table::{Descriptor, Kind, OpenDirectory, OpenFile};
use super::types::{
    Errno, FdFlags, FileStat, FileType, LookupFlags, NewTime, OFlags, Rights, flags,
};
use crate::ctx::{DirPerms, FilePerms};
use crate::sys::{self, DirectoryReader};
use cap_fs_ext::{
    DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsMaybeDirExt, OpenOptionsSyncExt,
    SystemTimeSpec,
};
use cap_std::fs::{Dir, Metadata, OpenOptions};
use cap_std::time::SystemTime;
use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::time::Duration;

impl WasiP1Ctx {
    /// The directory `fd`, for what needs these rights and permissions.
    fn directory(&self, fd: u32, rights: Rights, perms: DirPerms) -> Result<&OpenDirectory, Errno> {
        let directory = self.table.get(fd)?.directory(rights)?;
        if directory.perms.contains(perms) {
            Ok(directory)
        } else {
            Err(Errno::Perm)
        }
    }
}

/// Whether `lookupflags` ask to follow a symbolic link at the end of the path.
fn follows(lookup_flags: u32) -> Result<bool, Errno> {
    Ok(flags::<LookupFlags>(lookup_flags)?.contains(LookupFlags::SYMLINK_FOLLOW))
}

#[expect(clippy::too_many_arguments, reason = "the specification's signature")]
pub(crate) fn path_open(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    lookup_flags: u32,
    path: u32,
    path_len: u32,
    o_flags: u32,
    base: u64,
    _inheriting: u64,
    fd_flags: u32,
    opened: u32,
) -> Result<(), Errno> {
    let request = OpenRequest {
        follow: follows(lookup_flags)?,
        o_flags: flags(o_flags)?,
        // Guests ask for all rights by setting all bits.
        rights: Rights::from_bits_truncate(base),
        fd_flags: flags(fd_flags)?,
    };
    memory.check(opened, 4)?;
    let parent = ctx.table.get(fd)?;
    let descriptor = request.open(parent, memory.path(path, path_len)?)?;
    let number = ctx.table.insert(descriptor)?;
    memory.put_u32(opened, number)
}

/// What a guest asks of `path_open`.
struct OpenRequest {
    follow: bool,
    o_flags: OFlags,
    rights: Rights,
    fd_flags: FdFlags,
}

impl OpenRequest {
    fn reads(&self) -> bool {
        self.rights.intersects(Rights::FD_READ | Rights::FD_READDIR)
    }

    fn writes(&self) -> bool {
        self.rights.intersects(Rights::CHANGE_FILE)
    }

    fn open(&self, parent: &Descriptor, path: &str) -> Result<Descriptor, Errno> {
        let directory = parent.directory(Rights::PATH_OPEN)?;
        self.check_rights(parent)?;
        self.check_perms(directory)?;
        let kind = if self.o_flags.contains(OFlags::DIRECTORY) {
            self.open_directory(directory, path)?
        } else {
            self.open_any(directory, path)?
        };
        let mut descriptor = Descriptor {
            kind,
            rights: parent.inheriting,
            inheriting: Rights::empty(),
            flags: self.fd_flags,
        };
        match &descriptor.kind {
            Kind::Directory(_) => {
                descriptor.rights &= parent.rights;
                descriptor.inheriting = parent.inheriting;
            }
            _ => {
                descriptor.rights &= Rights::FILE;
                if !self.reads() {
                    descriptor.rights -= Rights::FD_READ;
                }
                if !self.writes() {
                    descriptor.rights -= Rights::CHANGE_FILE;
                }
            }
        }
        Ok(descriptor)
    }

    /// The rights to the parent that this needs.
    ///
    /// Rights that a guest asks for beyond reading and writing make no
    /// difference: a new descriptor gets all that its parent passes on.
    fn check_rights(&self, parent: &Descriptor) -> Result<(), Errno> {
        if self.o_flags.contains(OFlags::CREAT) {
            parent.require(Rights::PATH_CREATE_FILE)?;
        }
        if self.o_flags.contains(OFlags::TRUNC) {
            parent.require(Rights::PATH_FILESTAT_SET_SIZE)?;
        }
        let access = self.rights & (Rights::FD_READ | Rights::FD_WRITE);
        if self.o_flags.contains(OFlags::DIRECTORY) || parent.inheriting.contains(access) {
            Ok(())
        } else {
            Err(Errno::Notcapable)
        }
    }

    /// The permissions that the embedder must have given for this.
    fn check_perms(&self, directory: &OpenDirectory) -> Result<(), Errno> {
        let mut perms = DirPerms::READ;
        let mut file_perms = FilePerms::empty();
        perms.set(DirPerms::MUTATE, self.o_flags.contains(OFlags::CREAT));
        if !self.o_flags.contains(OFlags::DIRECTORY) {
            file_perms.set(FilePerms::READ, self.rights.contains(Rights::FD_READ));
            let writes = self.writes() || self.o_flags.contains(OFlags::TRUNC);
            file_perms.set(FilePerms::WRITE, writes);
        }
        if directory.perms.contains(perms) && directory.file_perms.contains(file_perms) {
            Ok(())
        } else {
            Err(Errno::Perm)
        }
    }

    fn open_directory(&self, directory: &OpenDirectory, path: &str) -> Result<Kind, Errno> {
        if self.o_flags.intersects(OFlags::CREAT | OFlags::TRUNC) {
            return Err(Errno::Inval);
        }
        let dir = if self.follow {
            directory.dir.open_dir(path)?
        } else {
            directory.dir.open_dir_nofollow(path)?
        };
        Ok(directory.child(dir))
    }

    /// Opens a file, or a directory if that is what the path leads to.
    fn open_any(&self, directory: &OpenDirectory, path: &str) -> Result<Kind, Errno> {
        let truncate = self.o_flags.contains(OFlags::TRUNC);
        let create = self.o_flags.contains(OFlags::CREAT);
        let create_new = create && self.o_flags.contains(OFlags::EXCL);

        let mut options = OpenOptions::new();
        options
            .read(self.reads() || !self.writes())
            .write(self.writes() || truncate)
            .truncate(truncate)
            .follow(if self.follow {
                FollowSymlinks::Yes
            } else {
                FollowSymlinks::No
            })
            .maybe_dir(true)
            .nonblock(self.fd_flags.contains(FdFlags::NONBLOCK));
        let mut creating = options.clone();
        creating.create(create).create_new(create_new).write(true);

        // A file is created by opening it for writing. Where that is not asked
        // for, one that exists is opened without it.
        let opened = if create && (create_new || self.writes() || truncate) {
            directory.dir.open_with(path, &creating)
        } else {
            match directory.dir.open_with(path, &options) {
                Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
                    directory.dir.open_with(path, &creating)
                }
                result => result,
            }
        };
        let file = opened?.into_std();
        let file_type = FileType::from(Metadata::from_file(&file)?.file_type());
        if file_type == FileType::Directory {
            return Ok(directory.child(Dir::from_std_file(file)));
        }
        if self.fd_flags.contains(FdFlags::APPEND) {
            sys::set_status_flags(&file, true, self.fd_flags.contains(FdFlags::NONBLOCK))?;
        }
        Ok(Kind::File(OpenFile {
            file,
            file_type,
            perms: directory.file_perms,
        }))
    }
}

impl OpenDirectory {
    /// A directory that was reached through this one.
    fn child(&self, dir: Dir) -> Kind {
        Kind::Directory(OpenDirectory {
            dir,
            reader: DirectoryReader::default(),
            perms: self.perms,
            file_perms: self.file_perms,
            preopened_as: None,
        })
    }

    fn stat(&self, path: &str, follow: bool) -> Result<FileStat, Errno> {
        let metadata = if follow {
            self.dir.metadata(path)?
        } else {
            self.dir.symlink_metadata(path)?
        };
        Ok((&metadata).into())
    }

    /// Fails if an entry of this directory would be allowed more in `to`.
    fn check_move(&self, to: &OpenDirectory) -> Result<(), Errno> {
        if self.file_perms.contains(to.file_perms) && self.perms.contains(to.perms) {
            Ok(())
        } else {
            Err(Errno::Perm)
        }
    }
}

pub(crate) fn path_create_directory(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Errno> {
    let directory = ctx.directory(fd, Rights::PATH_CREATE_DIRECTORY, DirPerms::MUTATE)?;
    Ok(directory.dir.create_dir(memory.path(path, path_len)?)?)
}

pub(crate) fn path_filestat_get(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    lookup_flags: u32,
    path: u32,
    path_len: u32,
    stat: u32,
) -> Result<(), Errno> {
    let found = filestat(ctx, memory, fd, lookup_flags, path, path_len)?;
    store_filestat(memory, stat, &found)
}

pub(super) fn filestat(
    ctx: &WasiP1Ctx,
    memory: &GuestMemory<'_>,
    fd: u32,
    lookup_flags: u32,
    path: u32,
    path_len: u32,
) -> Result<FileStat, Errno> {
    let follow = follows(lookup_flags)?;
    let directory = ctx.directory(fd, Rights::PATH_FILESTAT_GET, DirPerms::READ)?;
    directory.stat(memory.path(path, path_len)?, follow)
}

#[expect(clippy::too_many_arguments, reason = "the specification's signature")]
pub(crate) fn path_filestat_set_times(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    lookup_flags: u32,
    path: u32,
    path_len: u32,
    atim: u64,
    mtim: u64,
    fst_flags: u32,
) -> Result<(), Errno> {
    let follow = follows(lookup_flags)?;
    let (accessed, modified) = NewTime::pair(atim, mtim, fst_flags)?;
    let directory = ctx.directory(fd, Rights::PATH_FILESTAT_SET_TIMES, DirPerms::MUTATE)?;
    let path = memory.path(path, path_len)?;
    let (accessed, modified) = (time_spec(accessed)?, time_spec(modified)?);
    if follow {
        Ok(directory.dir.set_times(path, accessed, modified)?)
    } else {
        Ok(directory.dir.set_symlink_times(path, accessed, modified)?)
    }
}

fn time_spec(time: NewTime) -> Result<Option<SystemTimeSpec>, Errno> {
    Ok(match time {
        NewTime::Keep => None,
        NewTime::Now => Some(SystemTimeSpec::SymbolicNow),
        NewTime::At(nanoseconds) => {
            let time = SystemTime::from_std(std::time::UNIX_EPOCH)
                .checked_add(Duration::from_nanos(nanoseconds))
                .ok_or(Errno::Overflow)?;
            Some(SystemTimeSpec::Absolute(time))
        }
    })
}

#[expect(clippy::too_many_arguments, reason = "the specification's signature")]
pub(crate) fn path_link(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    old_fd: u32,
    old_flags: u32,
    old_path: u32,
    old_path_len: u32,
    new_fd: u32,
    new_path: u32,
    new_path_len: u32,
) -> Result<(), Errno> {
    let follow = follows(old_flags)?;
    let old = ctx.directory(old_fd, Rights::PATH_LINK_SOURCE, DirPerms::MUTATE)?;
    let new = ctx.directory(new_fd, Rights::PATH_LINK_TARGET, DirPerms::MUTATE)?;
    let mut old_path = Cow::Borrowed(Path::new(memory.path(old_path, old_path_len)?));
    let new_path = memory.path(new_path, new_path_len)?;
    old.check_move(new)?;
    if follow {
        // What is linked is then resolved once more, without following.
        old_path = Cow::Owned(old.dir.canonicalize(old_path)?);
    }
    Ok(old.dir.hard_link(old_path, &new.dir, new_path)?)
}

#[expect(clippy::too_many_arguments, reason = "the specification's signature")]
pub(crate) fn path_rename(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    old_fd: u32,
    old_path: u32,
    old_path_len: u32,
    new_fd: u32,
    new_path: u32,
    new_path_len: u32,
) -> Result<(), Errno> {
    let old = ctx.directory(old_fd, Rights::PATH_RENAME_SOURCE, DirPerms::MUTATE)?;
    let new = ctx.directory(new_fd, Rights::PATH_RENAME_TARGET, DirPerms::MUTATE)?;
    let old_path = memory.path(old_path, old_path_len)?;
    let new_path = memory.path(new_path, new_path_len)?;
    old.check_move(new)?;
    Ok(old.dir.rename(old_path, &new.dir, new_path)?)
}

pub(crate) fn path_symlink(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    target: u32,
    target_len: u32,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Errno> {
    let directory = ctx.directory(fd, Rights::PATH_SYMLINK, DirPerms::MUTATE)?;
    let target = memory.path(target, target_len)?;
    let path = memory.path(path, path_len)?;
    Ok(DirExt::symlink(&directory.dir, target, path)?)
}

#[expect(clippy::too_many_arguments, reason = "the specification's signature")]
pub(crate) fn path_readlink(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
    buffer: u32,
    buffer_len: u32,
    used: u32,
) -> Result<(), Errno> {
    let directory = ctx.directory(fd, Rights::PATH_READLINK, DirPerms::READ)?;
    memory.check(buffer, buffer_len)?;
    memory.check(used, 4)?;
    let target = directory.dir.read_link(memory.path(path, path_len)?)?;
    let target = target.to_str().ok_or(Errno::Ilseq)?.as_bytes();
    let count = target.len().min(buffer_len as usize);
    memory.put(buffer, &target[..count])?;
    memory.put_u32(used, count as u32)
}

pub(crate) fn path_remove_directory(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Errno> {
    let directory = ctx.directory(fd, Rights::PATH_REMOVE_DIRECTORY, DirPerms::MUTATE)?;
    let path = memory.path(path, path_len)?;
    // A slash at the end says that this is a directory, which it must be
    // anyway, and `cap-std` would look for an entry `.` in it.
    let path = match path.trim_end_matches('/') {
        "" => path,
        trimmed => trimmed,
    };
    Ok(directory.dir.remove_dir(path)?)
}

pub(crate) fn path_unlink_file(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Errno> {
    let directory = ctx.directory(fd, Rights::PATH_UNLINK_FILE, DirPerms::MUTATE)?;
    let path = memory.path(path, path_len)?;
    Ok(directory.dir.remove_file_or_symlink(path)?)
}
