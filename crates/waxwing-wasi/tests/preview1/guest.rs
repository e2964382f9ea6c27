//! A guest that passes calls on, and the numbers of the specification.

use anyhow::Result;
use std::fmt::Write;
use std::path::Path;
use tempfile::TempDir;
use waxwing::{Engine, Instance, Linker, Module, Store, Val};
use waxwing_wasi::preview1::{self, Errno, WasiP1Ctx};
use waxwing_wasi::{DirPerms, FilePerms, WasiCtxBuilder};

/// Each function with its parameters: `i` is i32, `I` is i64.
const FUNCTIONS: &[(&str, &str)] = &[
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// The guest, importing from `namespace` what that has.
fn guest_text(namespace: &str) -> String {
    let functions = FUNCTIONS
        .iter()
        .filter(|(name, _)| namespace == "wasi_snapshot_preview1" || *name != "sock_accept");
    let mut imports =
        format!("(import \"{namespace}\" \"proc_exit\" (func $proc_exit (param i32)))");
    let mut exports =
        String::from("(func (export \"proc_exit\") (param i32) (call $proc_exit (local.get 0)))");
    for (name, parameters) in functions {
        let types = parameters.replace('i', " i32").replace('I', " i64");
        let locals: String = (0..parameters.len())
            .map(|index| format!(" (local.get {index})"))
            .collect();
        writeln!(
            imports,
            "(import \"{namespace}\" \"{name}\" (func ${name} (param{types}) (result i32)))"
        )
        .unwrap();
        writeln!(
            exports,
            "(func (export \"{name}\") (param{types}) (result i32) (call ${name}{locals}))"
        )
        .unwrap();
    }
    format!("(module {imports} (memory (export \"memory\") 4) {exports})")
}

/// An instance of the guest. Its memory has four pages.
pub struct Guest {
    pub store: Store<WasiP1Ctx>,
    instance: Instance,
}

/// The size of the guest's memory.
pub const MEMORY: u32 = 4 * 65536;

/// Where [`Guest`]'s own helpers put results, buffers and paths. Tests are free
/// to use what is below [`HELPERS`].
const HELPERS: u32 = 0x10000;
const RESULT: u32 = HELPERS;
const IOVEC: u32 = HELPERS + 0x100;
const PATH: u32 = HELPERS + 0x1000;
const PATH2: u32 = HELPERS + 0x3000;
const BUFFER: u32 = HELPERS + 0x10000;

pub type Outcome<T> = Result<T, Errno>;

impl Guest {
    pub fn new(builder: &mut WasiCtxBuilder) -> Self {
        Self::importing("wasi_snapshot_preview1", builder)
    }

    pub fn importing(namespace: &str, builder: &mut WasiCtxBuilder) -> Self {
        let engine = Engine::default();
        let module = Module::new(&engine, guest_text(namespace)).unwrap();
        let mut linker = Linker::new(&engine);
        preview1::add_to_linker_sync(&mut linker, |ctx: &mut WasiP1Ctx| ctx).unwrap();
        let mut store = Store::new(&engine, builder.build_p1());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        Self { store, instance }
    }

    /// A guest with one directory, as descriptor 3.
    pub fn with_dir(path: &Path) -> Self {
        let mut builder = WasiCtxBuilder::new();
        builder
            .preopened_dir(path, "/dir", DirPerms::all(), FilePerms::all())
            .unwrap();
        Self::new(&mut builder)
    }

    /// Calls a function; the error is a trap.
    pub fn try_call(&mut self, name: &str, arguments: &[i64]) -> Result<u32> {
        let function = self.instance.get_func(&mut self.store, name).unwrap();
        let parameters = FUNCTIONS
            .iter()
            .find_map(|(known, parameters)| (*known == name).then_some(*parameters))
            .unwrap_or("i");
        assert_eq!(parameters.len(), arguments.len(), "{name}");
        let values: Vec<_> = parameters
            .chars()
            .zip(arguments)
            .map(|(parameter, &value)| match parameter {
                'i' => Val::I32(value as i32),
                _ => Val::I64(value),
            })
            .collect();
        let mut results = [Val::I32(0)];
        let results = &mut results[..usize::from(name != "proc_exit")];
        function.call(&mut self.store, &values, results)?;
        Ok(results
            .first()
            .map_or(0, |result| result.unwrap_i32() as u32))
    }

    /// Calls a function and gives its errno.
    pub fn call(&mut self, name: &str, arguments: &[i64]) -> Outcome<()> {
        match self.try_call(name, arguments).unwrap() {
            0 => Ok(()),
            number => Err(errno(number)),
        }
    }

    fn memory(&mut self) -> waxwing::Memory {
        self.instance.get_memory(&mut self.store, "memory").unwrap()
    }

    pub fn write(&mut self, pointer: u32, bytes: &[u8]) {
        let memory = self.memory();
        memory
            .write(&mut self.store, pointer as usize, bytes)
            .unwrap();
    }

    pub fn read(&mut self, pointer: u32, length: u32) -> Vec<u8> {
        let mut bytes = vec![0; length as usize];
        let memory = self.memory();
        memory
            .read(&self.store, pointer as usize, &mut bytes)
            .unwrap();
        bytes
    }

    pub fn u16(&mut self, pointer: u32) -> u16 {
        u16::from_le_bytes(self.read(pointer, 2).try_into().unwrap())
    }

    pub fn u32(&mut self, pointer: u32) -> u32 {
        u32::from_le_bytes(self.read(pointer, 4).try_into().unwrap())
    }

    pub fn u64(&mut self, pointer: u32) -> u64 {
        u64::from_le_bytes(self.read(pointer, 8).try_into().unwrap())
    }

    /// Puts a list of buffers into the memory; gives its place and length.
    pub fn buffers(&mut self, buffers: &[(u32, u32)]) -> (i64, i64) {
        for (index, &(pointer, length)) in buffers.iter().enumerate() {
            let at = IOVEC + 8 * index as u32;
            self.write(at, &pointer.to_le_bytes());
            self.write(at + 4, &length.to_le_bytes());
        }
        (IOVEC.into(), buffers.len() as i64)
    }

    fn path(&mut self, at: u32, path: &str) -> (i64, i64) {
        self.write(at, path.as_bytes());
        (at.into(), path.len() as i64)
    }

    // The functions that tests call over and over.

    pub fn open(&mut self, dir: u32, path: &str, how: &Open) -> Outcome<u32> {
        let (path, path_len) = self.path(PATH, path);
        self.call(
            "path_open",
            &[
                dir.into(),
                i64::from(!how.nofollow),
                path,
                path_len,
                how.oflags.into(),
                how.rights as i64,
                how.inheriting as i64,
                how.fdflags.into(),
                RESULT.into(),
            ],
        )?;
        Ok(self.u32(RESULT))
    }

    pub fn fd_write(&mut self, fd: u32, bytes: &[u8]) -> Outcome<u32> {
        self.write(BUFFER, bytes);
        let (list, count) = self.buffers(&[(BUFFER, bytes.len() as u32)]);
        self.call("fd_write", &[fd.into(), list, count, RESULT.into()])?;
        Ok(self.u32(RESULT))
    }

    pub fn fd_read(&mut self, fd: u32, length: u32) -> Outcome<Vec<u8>> {
        let (list, count) = self.buffers(&[(BUFFER, length)]);
        self.call("fd_read", &[fd.into(), list, count, RESULT.into()])?;
        let count = self.u32(RESULT);
        Ok(self.read(BUFFER, count))
    }

    pub fn fd_pwrite(&mut self, fd: u32, bytes: &[u8], offset: i64) -> Outcome<u32> {
        self.write(BUFFER, bytes);
        let (list, count) = self.buffers(&[(BUFFER, bytes.len() as u32)]);
        self.call(
            "fd_pwrite",
            &[fd.into(), list, count, offset, RESULT.into()],
        )?;
        Ok(self.u32(RESULT))
    }

    pub fn fd_pread(&mut self, fd: u32, length: u32, offset: i64) -> Outcome<Vec<u8>> {
        let (list, count) = self.buffers(&[(BUFFER, length)]);
        self.call("fd_pread", &[fd.into(), list, count, offset, RESULT.into()])?;
        let count = self.u32(RESULT);
        Ok(self.read(BUFFER, count))
    }

    pub fn fd_seek(&mut self, fd: u32, offset: i64, whence: i64) -> Outcome<u64> {
        self.call("fd_seek", &[fd.into(), offset, whence, RESULT.into()])?;
        Ok(self.u64(RESULT))
    }

    pub fn fd_tell(&mut self, fd: u32) -> Outcome<u64> {
        self.call("fd_tell", &[fd.into(), RESULT.into()])?;
        Ok(self.u64(RESULT))
    }

    pub fn close(&mut self, fd: u32) -> Outcome<()> {
        self.call("fd_close", &[fd.into()])
    }

    /// The file type, flags, base rights and inheriting rights.
    pub fn fdstat(&mut self, fd: u32) -> Outcome<FdStat> {
        self.call("fd_fdstat_get", &[fd.into(), RESULT.into()])?;
        Ok(FdStat {
            file_type: self.read(RESULT, 1)[0],
            flags: self.u16(RESULT + 2),
            base: self.u64(RESULT + 8),
            inheriting: self.u64(RESULT + 16),
        })
    }

    pub fn fd_filestat(&mut self, fd: u32) -> Outcome<FileStat> {
        self.call("fd_filestat_get", &[fd.into(), RESULT.into()])?;
        Ok(self.filestat_result())
    }

    pub fn path_filestat(&mut self, dir: u32, path: &str, follow: bool) -> Outcome<FileStat> {
        let (path, path_len) = self.path(PATH, path);
        let arguments = [dir.into(), follow.into(), path, path_len, RESULT.into()];
        self.call("path_filestat_get", &arguments)?;
        Ok(self.filestat_result())
    }

    fn filestat_result(&mut self) -> FileStat {
        FileStat {
            inode: self.u64(RESULT + 8),
            file_type: self.read(RESULT + 16, 1)[0],
            links: self.u64(RESULT + 24),
            size: self.u64(RESULT + 32),
            accessed: self.u64(RESULT + 40),
            modified: self.u64(RESULT + 48),
        }
    }

    pub fn create_directory(&mut self, dir: u32, path: &str) -> Outcome<()> {
        self.one_path("path_create_directory", dir, path)
    }

    pub fn remove_directory(&mut self, dir: u32, path: &str) -> Outcome<()> {
        self.one_path("path_remove_directory", dir, path)
    }

    pub fn unlink(&mut self, dir: u32, path: &str) -> Outcome<()> {
        self.one_path("path_unlink_file", dir, path)
    }

    fn one_path(&mut self, name: &str, dir: u32, path: &str) -> Outcome<()> {
        let (path, path_len) = self.path(PATH, path);
        self.call(name, &[dir.into(), path, path_len])
    }

    pub fn rename(&mut self, from: (u32, &str), to: (u32, &str)) -> Outcome<()> {
        let (old, old_len) = self.path(PATH, from.1);
        let (new, new_len) = self.path(PATH2, to.1);
        let arguments = [from.0.into(), old, old_len, to.0.into(), new, new_len];
        self.call("path_rename", &arguments)
    }

    pub fn link(&mut self, from: (u32, &str), to: (u32, &str), follow: bool) -> Outcome<()> {
        let (old, old_len) = self.path(PATH, from.1);
        let (new, new_len) = self.path(PATH2, to.1);
        let arguments = [
            from.0.into(),
            follow.into(),
            old,
            old_len,
            to.0.into(),
            new,
            new_len,
        ];
        self.call("path_link", &arguments)
    }

    pub fn symlink(&mut self, target: &str, dir: u32, path: &str) -> Outcome<()> {
        let (target, target_len) = self.path(PATH, target);
        let (path, path_len) = self.path(PATH2, path);
        self.call(
            "path_symlink",
            &[target, target_len, dir.into(), path, path_len],
        )
    }

    pub fn readlink(&mut self, dir: u32, path: &str, length: u32) -> Outcome<Vec<u8>> {
        let (path, path_len) = self.path(PATH, path);
        let arguments = [
            dir.into(),
            path,
            path_len,
            BUFFER.into(),
            length.into(),
            RESULT.into(),
        ];
        self.call("path_readlink", &arguments)?;
        let count = self.u32(RESULT);
        Ok(self.read(BUFFER, count))
    }

    /// One call of `fd_readdir`: the whole entries in the buffer, and whether
    /// the buffer was filled.
    pub fn readdir(&mut self, fd: u32, length: u32, cookie: u64) -> Outcome<(Vec<Entry>, bool)> {
        let arguments = [
            fd.into(),
            BUFFER.into(),
            length.into(),
            cookie as i64,
            RESULT.into(),
        ];
        self.call("fd_readdir", &arguments)?;
        let used = self.u32(RESULT);
        let bytes = self.read(BUFFER, used);
        let mut rest = &bytes[..];
        let mut entries = Vec::new();
        while let Some((header, tail)) = rest.split_first_chunk::<24>() {
            let name_length = u32::from_le_bytes(header[16..20].try_into().unwrap());
            let Some((name, tail)) = tail.split_at_checked(name_length as usize) else {
                break;
            };
            entries.push(Entry {
                next: u64::from_le_bytes(header[0..8].try_into().unwrap()),
                inode: u64::from_le_bytes(header[8..16].try_into().unwrap()),
                file_type: header[20],
                name: String::from_utf8(name.to_vec()).unwrap(),
            });
            rest = tail;
        }
        Ok((entries, used == length))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdStat {
    pub file_type: u8,
    pub flags: u16,
    pub base: u64,
    pub inheriting: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    pub inode: u64,
    pub file_type: u8,
    pub links: u64,
    pub size: u64,
    pub accessed: u64,
    pub modified: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub next: u64,
    pub inode: u64,
    pub file_type: u8,
    pub name: String,
}

/// How to open a path.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    pub nofollow: bool,
    pub oflags: u16,
    pub rights: u64,
    pub inheriting: u64,
    pub fdflags: u16,
}

impl Open {
    /// To read and write a file that exists.
    pub const READ_WRITE: Self = Self {
        nofollow: false,
        oflags: 0,
        rights: FD_READ | FD_WRITE,
        inheriting: 0,
        fdflags: 0,
    };
    pub const READ: Self = Self {
        rights: FD_READ,
        ..Self::READ_WRITE
    };
    pub const WRITE: Self = Self {
        rights: FD_WRITE,
        ..Self::READ_WRITE
    };
    /// To read and write a file that is created if it does not exist.
    pub const CREATE: Self = Self {
        oflags: CREAT,
        ..Self::READ_WRITE
    };
    pub const DIRECTORY: Self = Self {
        oflags: DIRECTORY,
        rights: 0,
        ..Self::READ_WRITE
    };
}

pub const CREAT: u16 = 1;
pub const DIRECTORY: u16 = 2;
pub const EXCL: u16 = 4;
pub const TRUNC: u16 = 8;

pub const APPEND: u16 = 1;
pub const DSYNC: u16 = 2;
pub const NONBLOCK: u16 = 4;
pub const SYNC: u16 = 16;

pub const FD_READ: u64 = 1 << 1;
pub const FD_SEEK: u64 = 1 << 2;
pub const FD_TELL: u64 = 1 << 5;
pub const FD_WRITE: u64 = 1 << 6;
pub const FD_ALLOCATE: u64 = 1 << 8;
pub const FD_FILESTAT_SET_SIZE: u64 = 1 << 22;
pub const PATH_OPEN: u64 = 1 << 13;
pub const PATH_FILESTAT_SET_SIZE: u64 = 1 << 19;

pub const FILETYPE_UNKNOWN: u8 = 0;
pub const FILETYPE_DIRECTORY: u8 = 3;
pub const FILETYPE_REGULAR_FILE: u8 = 4;
pub const FILETYPE_SYMBOLIC_LINK: u8 = 7;
#[cfg(unix)]
pub const FILETYPE_SOCKET_STREAM: u8 = 6;

/// The error codes that the tests expect, by their numbers in the specification.
fn errno(number: u32) -> Errno {
    let numbers = [
        (2, Errno::Acces),
        (6, Errno::Again),
        (8, Errno::Badf),
        (20, Errno::Exist),
        (21, Errno::Fault),
        (25, Errno::Ilseq),
        (28, Errno::Inval),
        (31, Errno::Isdir),
        (32, Errno::Loop),
        (37, Errno::Nametoolong),
        (44, Errno::Noent),
        (51, Errno::Nospc),
        (53, Errno::Notconn),
        (54, Errno::Notdir),
        (55, Errno::Notempty),
        (57, Errno::Notsock),
        (58, Errno::Notsup),
        (63, Errno::Perm),
        (64, Errno::Pipe),
        (70, Errno::Spipe),
        (75, Errno::Xdev),
        (76, Errno::Notcapable),
    ];
    numbers
        .into_iter()
        .find_map(|(known, errno)| (known == number).then_some(errno))
        .unwrap_or_else(|| panic!("no test expects error {number}"))
}

pub fn scratch() -> TempDir {
    tempfile::tempdir().unwrap()
}
