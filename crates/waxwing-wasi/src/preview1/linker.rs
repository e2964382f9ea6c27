//! The table of functions, and how they become imports of a guest.

use super::memory::GuestMemory;
use super::types::Errno;
use super::{WasiP1Ctx, descriptor, path, poll, process, snapshot0, socket};
use crate::exit::I32Exit;
use anyhow::{Result, bail};
use waxwing::{Caller, Extern, Linker, Memory};

/// Defines all functions of WASI preview 1 in `linker`, under the module names
/// `wasi_snapshot_preview1` and `wasi_unstable` (the snapshot before it, whose
/// layouts differ in places).
///
/// `get` finds the guest's state in the data of the store.
///
/// The functions use the memory that the calling module exports as `memory`;
/// a call from a module without such an export traps. `proc_exit` ends the
/// call into the guest with the error [`I32Exit`](crate::I32Exit).
///
/// # Errors
///
/// If the linker already has one of the functions and does not allow shadowing.
pub fn add_to_linker_sync<T>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut WasiP1Ctx + Copy + Send + Sync + 'static,
) -> Result<()> {
    let preview1 = "wasi_snapshot_preview1";
    add_common(linker, preview1, get)?;
    add_changed_in_preview1(linker, preview1, get)?;
    add_ending(linker, preview1)?;

    let snapshot0 = "wasi_unstable";
    add_common(linker, snapshot0, get)?;
    add_changed_since_snapshot0(linker, snapshot0, get)?;
    add_ending(linker, snapshot0)
}

/// Defines a function `$add` that registers a table of functions: those of the
/// first part read or write the guest's memory, those of the second do not.
macro_rules! functions {
    (
        $(#[$attribute:meta])*
        fn $add:ident($linker:ident, $module:ident, $get:ident);
        memory { $($name:ident($($arg:ident: $ty:ty),*) = $function:path;)* }
        plain { $($plain:ident($($plain_arg:ident: $plain_ty:ty),*) = $plain_function:path;)* }
    ) => {
        $(#[$attribute])*
        fn $add<T>(
            $linker: &mut Linker<T>,
            $module: &str,
            $get: impl Fn(&mut T) -> &mut WasiP1Ctx + Copy + Send + Sync + 'static,
        ) -> Result<()> {
            $(
                $linker.func_wrap(
                    $module,
                    stringify!($name),
                    move |mut caller: Caller<'_, T>, $($arg: $ty),*| -> Result<u32> {
                        let memory = guest_memory(&mut caller)?;
                        let (bytes, data) = memory.data_and_store_mut(&mut caller);
                        let mut memory = GuestMemory::new(bytes);
                        let result = $function($get(data), &mut memory, $($arg),*);
                        Ok(errno(stringify!($name), result))
                    },
                )?;
            )*
            $(
                $linker.func_wrap(
                    $module,
                    stringify!($plain),
                    move |mut caller: Caller<'_, T>, $($plain_arg: $plain_ty),*| -> u32 {
                        let result = $plain_function($get(caller.data_mut()), $($plain_arg),*);
                        errno(stringify!($plain), result)
                    },
                )?;
            )*
            Ok(())
        }
    };
}

functions! {
    /// The functions that are the same in preview 1 and the snapshot before it.
    fn add_common(linker, module, get);
    memory {
        args_get(argv: u32, argv_buf: u32) = process::args_get;
        args_sizes_get(argc: u32, argv_buf_size: u32) = process::args_sizes_get;
        clock_res_get(id: u32, resolution: u32) = process::clock_res_get;
        clock_time_get(id: u32, precision: u64, time: u32) = process::clock_time_get;
        environ_get(environ: u32, environ_buf: u32) = process::environ_get;
        environ_sizes_get(environc: u32, environ_buf_size: u32) = process::environ_sizes_get;
        fd_fdstat_get(fd: u32, stat: u32) = descriptor::fd_fdstat_get;
        fd_pread(fd: u32, iovs: u32, iovs_len: u32, offset: u64, nread: u32) = descriptor::fd_pread;
        fd_prestat_dir_name(fd: u32, path: u32, path_len: u32) = descriptor::fd_prestat_dir_name;
        fd_prestat_get(fd: u32, prestat: u32) = descriptor::fd_prestat_get;
        fd_pwrite(fd: u32, iovs: u32, iovs_len: u32, offset: u64, nwritten: u32)
            = descriptor::fd_pwrite;
        fd_read(fd: u32, iovs: u32, iovs_len: u32, nread: u32) = descriptor::fd_read;
        fd_readdir(fd: u32, buf: u32, buf_len: u32, cookie: u64, used: u32)
            = descriptor::fd_readdir;
        fd_tell(fd: u32, offset: u32) = descriptor::fd_tell;
        fd_write(fd: u32, iovs: u32, iovs_len: u32, nwritten: u32) = descriptor::fd_write;
        path_create_directory(fd: u32, path: u32, path_len: u32) = path::path_create_directory;
        path_filestat_set_times(
            fd: u32, flags: u32, path: u32, path_len: u32, atim: u64, mtim: u64, fst_flags: u32
        ) = path::path_filestat_set_times;
        path_link(
            old_fd: u32, old_flags: u32, old_path: u32, old_path_len: u32,
            new_fd: u32, new_path: u32, new_path_len: u32
        ) = path::path_link;
        path_open(
            fd: u32, flags: u32, path: u32, path_len: u32, o_flags: u32,
            base: u64, inheriting: u64, fd_flags: u32, opened: u32
        ) = path::path_open;
        path_readlink(fd: u32, path: u32, path_len: u32, buf: u32, buf_len: u32, used: u32)
            = path::path_readlink;
        path_remove_directory(fd: u32, path: u32, path_len: u32) = path::path_remove_directory;
        path_rename(
            old_fd: u32, old_path: u32, old_path_len: u32,
            new_fd: u32, new_path: u32, new_path_len: u32
        ) = path::path_rename;
        path_symlink(target: u32, target_len: u32, fd: u32, path: u32, path_len: u32)
            = path::path_symlink;
        path_unlink_file(fd: u32, path: u32, path_len: u32) = path::path_unlink_file;
        random_get(buf: u32, buf_len: u32) = process::random_get;
        sock_recv(fd: u32, data: u32, data_len: u32, ri_flags: u32, received: u32, ro_flags: u32)
            = socket::sock_recv;
        sock_send(fd: u32, data: u32, data_len: u32, si_flags: u32, sent: u32)
            = socket::sock_send;
    }
    plain {
        fd_advise(fd: u32, offset: u64, len: u64, advice: u32) = descriptor::fd_advise;
        fd_allocate(fd: u32, offset: u64, len: u64) = descriptor::fd_allocate;
        fd_close(fd: u32) = descriptor::fd_close;
        fd_datasync(fd: u32) = descriptor::fd_datasync;
        fd_fdstat_set_flags(fd: u32, flags: u32) = descriptor::fd_fdstat_set_flags;
        fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64)
            = descriptor::fd_fdstat_set_rights;
        fd_filestat_set_size(fd: u32, size: u64) = descriptor::fd_filestat_set_size;
        fd_filestat_set_times(fd: u32, atim: u64, mtim: u64, fst_flags: u32)
            = descriptor::fd_filestat_set_times;
        fd_renumber(fd: u32, to: u32) = descriptor::fd_renumber;
        fd_sync(fd: u32) = descriptor::fd_sync;
        sched_yield() = process::sched_yield;
        sock_shutdown(fd: u32, how: u32) = socket::sock_shutdown;
    }
}

functions! {
    /// The functions of preview 1 that the snapshot before it did not have, or
    /// had in another layout.
    fn add_changed_in_preview1(linker, module, get);
    memory {
        fd_filestat_get(fd: u32, stat: u32) = descriptor::fd_filestat_get;
        fd_seek(fd: u32, offset: i64, whence: u32, new_offset: u32) = descriptor::fd_seek;
        path_filestat_get(fd: u32, flags: u32, path: u32, path_len: u32, stat: u32)
            = path::path_filestat_get;
        poll_oneoff(subscriptions: u32, events: u32, count: u32, stored: u32) = poll::poll_oneoff;
        sock_accept(fd: u32, flags: u32, accepted: u32) = socket::sock_accept;
    }
    plain {}
}

functions! {
    /// The functions whose layouts preview 1 changed, as they were before.
    fn add_changed_since_snapshot0(linker, module, get);
    memory {
        fd_filestat_get(fd: u32, stat: u32) = snapshot0::fd_filestat_get;
        fd_seek(fd: u32, offset: i64, whence: u32, new_offset: u32) = snapshot0::fd_seek;
        path_filestat_get(fd: u32, flags: u32, path: u32, path_len: u32, stat: u32)
            = snapshot0::path_filestat_get;
        poll_oneoff(subscriptions: u32, events: u32, count: u32, stored: u32)
            = snapshot0::poll_oneoff;
    }
    plain {}
}

/// The functions that may end the guest.
fn add_ending<T>(linker: &mut Linker<T>, module: &str) -> Result<()> {
    linker.func_wrap(module, "proc_exit", |status: i32| -> Result<()> {
        Err(I32Exit(status).into())
    })?;
    linker.func_wrap(module, "proc_raise", |signal: u32| -> Result<u32> {
        Ok(errno("proc_raise", process::proc_raise(signal)?))
    })?;
    Ok(())
}

/// The memory that the calling module exports.
fn guest_memory<T>(caller: &mut Caller<'_, T>) -> Result<Memory> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory),
        Some(_) => bail!(
            "a WASI function was called by a module whose export `memory` is not a linear memory \
             of its own (it is another kind of item, or shared between threads); \
             export an unshared linear memory under that name"
        ),
        None => bail!(
            "a WASI function was called by a module that exports no memory; \
             export the linear memory as `memory`"
        ),
    }
}

/// The number that the guest gets.
fn errno(function: &str, result: Result<(), Errno>) -> u32 {
    let number = result.as_ref().err().map_or(0, |&errno| errno as u32);
    tracing::trace!(function, number, "WASI call");
    number
}
