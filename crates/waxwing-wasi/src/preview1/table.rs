//! The guest's descriptors: what each number stands for.

use super::types::{Errno, FdFlags, FileType, Rights};
use crate::ctx::{DirPerms, FilePerms, Preopen};
use crate::socket::Socket;
use crate::streams::{InputStream, OutputStream, Readiness};
use crate::sys::{self, DirectoryReader, Interest, PollSet};
use cap_std::fs::Dir;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::time::Duration;

/// What a guest has open under one number.
pub(crate) struct Descriptor {
    pub kind: Kind,
    /// What the guest may do with this descriptor. Guests can only take
    /// rights away; they start with all that the kind allows.
    pub rights: Rights,
    /// What descriptors may do that are opened through this one.
    pub inheriting: Rights,
    pub flags: FdFlags,
}

/// The kinds of things that a descriptor can stand for.
pub(crate) enum Kind {
    Input(Box<dyn InputStream>),
    Output(Box<dyn OutputStream>),
    File(OpenFile),
    Directory(OpenDirectory),
    Socket(sys::Socket),
}

/// An open file: anything that was opened by a path and is not a directory.
pub(crate) struct OpenFile {
    pub file: File,
    pub file_type: FileType,
    pub perms: FilePerms,
}

/// An open directory.
pub(crate) struct OpenDirectory {
    pub dir: Dir,
    pub reader: DirectoryReader,
    pub perms: DirPerms,
    pub file_perms: FilePerms,
    /// The name under which the guest was given this directory.
    pub preopened_as: Option<String>,
}

impl Descriptor {
    fn input(stream: Box<dyn InputStream>) -> Self {
        Self::with_rights(Kind::Input(stream), Rights::STREAM | Rights::FD_READ)
    }

    fn output(stream: Box<dyn OutputStream>) -> Self {
        let rights = Rights::STREAM | Rights::FD_WRITE | Rights::FD_SYNC | Rights::FD_DATASYNC;
        Self::with_rights(Kind::Output(stream), rights)
    }

    pub(crate) fn socket(socket: sys::Socket) -> Self {
        let mut flags = FdFlags::empty();
        flags.set(FdFlags::NONBLOCK, socket.is_nonblocking().unwrap_or(false));
        let (rights, inheriting) = if socket.is_listening() {
            (Rights::LISTENER, Rights::SOCKET)
        } else {
            (Rights::SOCKET, Rights::empty())
        };
        Self {
            kind: Kind::Socket(socket),
            rights,
            inheriting,
            flags,
        }
    }

    fn with_rights(kind: Kind, rights: Rights) -> Self {
        Self {
            kind,
            rights,
            inheriting: Rights::empty(),
            flags: FdFlags::empty(),
        }
    }

    /// Fails unless the guest has these rights to the descriptor.
    pub(crate) fn require(&self, rights: Rights) -> Result<(), Errno> {
        if self.rights.contains(rights) {
            Ok(())
        } else {
            Err(Errno::Notcapable)
        }
    }

    pub(crate) fn file_type(&self) -> FileType {
        let terminal = match &self.kind {
            Kind::Input(stream) => stream.is_terminal(),
            Kind::Output(stream) => stream.is_terminal(),
            Kind::File(file) => return file.file_type,
            Kind::Directory(_) => return FileType::Directory,
            Kind::Socket(_) => return FileType::SocketStream,
        };
        if terminal {
            FileType::CharacterDevice
        } else {
            FileType::Unknown
        }
    }

    /// The file behind the descriptor, for what can be done to files alone and
    /// needs these rights.
    pub(crate) fn file(&self, rights: Rights) -> Result<&OpenFile, Errno> {
        match &self.kind {
            Kind::File(file) => {
                self.require(rights)?;
                Ok(file)
            }
            Kind::Directory(_) => Err(Errno::Isdir),
            Kind::Input(_) | Kind::Output(_) | Kind::Socket(_) => Err(Errno::Spipe),
        }
    }

    /// The directory behind the descriptor, for what needs these rights.
    pub(crate) fn directory(&self, rights: Rights) -> Result<&OpenDirectory, Errno> {
        match &self.kind {
            Kind::Directory(directory) => {
                self.require(rights)?;
                Ok(directory)
            }
            _ => Err(Errno::Notdir),
        }
    }

    /// The socket behind the descriptor, for what needs these rights.
    pub(crate) fn as_socket(&self, rights: Rights) -> Result<&sys::Socket, Errno> {
        match &self.kind {
            Kind::Socket(socket) => {
                self.require(rights)?;
                Ok(socket)
            }
            _ => Err(Errno::Notsock),
        }
    }

    /// Reads at the descriptor's position, and moves it.
    pub(crate) fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        if let Kind::Directory(_) = self.kind {
            return Err(Errno::Isdir);
        }
        self.require(Rights::FD_READ)?;
        let nonblocking = self.flags.contains(FdFlags::NONBLOCK);
        match &mut self.kind {
            Kind::Input(stream) => loop {
                if nonblocking && would_block(&stream.readiness(), Interest::Read)? {
                    return Err(Errno::Again);
                }
                match uninterrupted(|| stream.read_vectored(buffers)) {
                    Err(Errno::Again) if !nonblocking => {
                        wait_for(&stream.readiness(), Interest::Read)?;
                    }
                    result => return result,
                }
            },
            Kind::File(open) => uninterrupted(|| open.file.read_vectored(buffers)),
            Kind::Socket(socket) => uninterrupted(|| Ok(socket.receive(buffers, false, false)?.0)),
            Kind::Output(_) | Kind::Directory(_) => Err(Errno::Badf),
        }
    }

    /// Writes at the descriptor's position (or the end, as the flags say), and
    /// moves it.
    pub(crate) fn write(&mut self, buffers: &[IoSlice<'_>]) -> Result<usize, Errno> {
        if let Kind::Directory(_) = self.kind {
            return Err(Errno::Isdir);
        }
        self.require(Rights::FD_WRITE)?;
        let flags = self.flags;
        match &mut self.kind {
            Kind::Output(stream) => loop {
                let nonblocking = flags.contains(FdFlags::NONBLOCK);
                if nonblocking && would_block(&stream.readiness(), Interest::Write)? {
                    return Err(Errno::Again);
                }
                match uninterrupted(|| stream.write_vectored(buffers)) {
                    Err(Errno::Again) if !nonblocking => {
                        wait_for(&stream.readiness(), Interest::Write)?;
                    }
                    result => return result,
                }
            },
            Kind::File(open) => {
                let written = uninterrupted(|| open.file.write_vectored(buffers))?;
                open.settle(flags)?;
                Ok(written)
            }
            Kind::Socket(socket) => uninterrupted(|| socket.send(buffers)),
            Kind::Input(_) | Kind::Directory(_) => Err(Errno::Badf),
        }
    }

    /// Whether the descriptor can be used without blocking.
    pub(crate) fn readiness(&self, interest: Interest) -> Result<Readiness<'_>, Errno> {
        let readiness = match (&self.kind, interest) {
            (Kind::Input(stream), Interest::Read) => stream.readiness(),
            (Kind::Output(stream), Interest::Write) => stream.readiness(),
            (Kind::File(open), _) => open.readiness(interest)?,
            (Kind::Socket(socket), _) => Readiness::Handle(socket.handle()),
            _ => return Err(Errno::Badf),
        };
        self.require(Rights::POLL_FD_READWRITE)?;
        Ok(readiness)
    }
}

impl OpenFile {
    /// Brings what was just written to the disk, if the descriptor's flags ask
    /// for that. Systems cannot change this for an open file; a guest can.
    pub(crate) fn settle(&self, flags: FdFlags) -> Result<(), Errno> {
        if flags.intersects(FdFlags::SYNC | FdFlags::RSYNC) {
            self.file.sync_all()?;
        } else if flags.contains(FdFlags::DSYNC) {
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn readiness(&self, interest: Interest) -> Result<Readiness<'_>, Errno> {
        if self.file_type != FileType::RegularFile {
            return Ok(sys::file_readiness(&self.file));
        }
        let bytes = match interest {
            Interest::Read => {
                let position = (&self.file).stream_position()?;
                self.file.metadata()?.len().saturating_sub(position)
            }
            Interest::Write => 1,
        };
        Ok(Readiness::Ready {
            bytes,
            hangup: false,
        })
    }
}

/// Repeats what a signal interrupted.
pub(crate) fn uninterrupted<R>(mut call: impl FnMut() -> io::Result<R>) -> Result<R, Errno> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Ok(result?),
        }
    }
}

fn would_block(readiness: &Readiness<'_>, interest: Interest) -> Result<bool, Errno> {
    match readiness {
        Readiness::Ready { .. } => Ok(false),
        Readiness::Pending => Ok(true),
        Readiness::Handle(handle) => Ok(!sys::is_ready(*handle, interest)?),
    }
}

/// Waits until a stream can be used whose handle the host has made nonblocking,
/// which the guest did not ask for.
fn wait_for(readiness: &Readiness<'_>, interest: Interest) -> Result<(), Errno> {
    match readiness {
        Readiness::Ready { .. } => Err(Errno::Again),
        Readiness::Pending => {
            std::thread::sleep(ASK_AGAIN);
            Ok(())
        }
        Readiness::Handle(handle) => {
            let mut set = PollSet::default();
            set.push(*handle, interest);
            Ok(set.wait(None)?)
        }
    }
}

/// How often streams are asked that no system handle stands for.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(1);

/// The descriptors of a guest by their numbers.
#[derive(Default)]
pub(crate) struct Table {
    slots: Vec<Option<Descriptor>>,
    /// No slot below this one is free.
    first_free: usize,
}

impl Table {
    /// The descriptors that a guest starts with.
    pub(crate) fn new(
        stdin: Box<dyn InputStream>,
        stdout: Box<dyn OutputStream>,
        stderr: Box<dyn OutputStream>,
        preopens: Vec<Preopen>,
        sockets: Vec<Socket>,
    ) -> Self {
        let streams = [
            Descriptor::input(stdin),
            Descriptor::output(stdout),
            Descriptor::output(stderr),
        ];
        let directories = preopens.into_iter().map(|preopen| Descriptor {
            kind: Kind::Directory(OpenDirectory {
                dir: preopen.dir,
                reader: DirectoryReader::default(),
                perms: preopen.dir_perms,
                file_perms: preopen.file_perms,
                preopened_as: Some(preopen.guest_path),
            }),
            rights: Rights::DIRECTORY,
            inheriting: Rights::DIRECTORY | Rights::FILE,
            flags: FdFlags::empty(),
        });
        let sockets = sockets
            .into_iter()
            .map(|Socket(socket)| Descriptor::socket(socket));
        let all = streams.into_iter().chain(directories).chain(sockets);
        let slots: Vec<_> = all.map(Some).collect();
        Self {
            first_free: slots.len(),
            slots,
        }
    }

    pub(crate) fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.slots
            .get(fd as usize)
            .and_then(Option::as_ref)
            .ok_or(Errno::Badf)
    }

    pub(crate) fn get_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        self.slots
            .get_mut(fd as usize)
            .and_then(Option::as_mut)
            .ok_or(Errno::Badf)
    }

    /// Gives the descriptor the lowest number that is free.
    pub(crate) fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        let free = self.slots[self.first_free..]
            .iter()
            .position(Option::is_none);
        let index = free.map_or(self.slots.len(), |offset| self.first_free + offset);
        let fd = u32::try_from(index)
            .ok()
            .filter(|&fd| fd <= MAX_FD)
            .ok_or(Errno::Mfile)?;
        match self.slots.get_mut(index) {
            Some(slot) => *slot = Some(descriptor),
            None => self.slots.push(Some(descriptor)),
        }
        self.first_free = index + 1;
        Ok(fd)
    }

    pub(crate) fn remove(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        let slot = self.slots.get_mut(fd as usize).ok_or(Errno::Badf)?;
        let descriptor = slot.take().ok_or(Errno::Badf)?;
        self.first_free = self.first_free.min(fd as usize);
        Ok(descriptor)
    }

    /// Moves the descriptor `from` to the number `to`, which must be in use;
    /// what it stood for is closed.
    pub(crate) fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.get(from)?;
        self.get(to)?;
        if from != to {
            self.slots[to as usize] = Some(self.remove(from)?);
        }
        Ok(())
    }
}

/// Guests treat descriptors as signed numbers.
const MAX_FD: u32 = i32::MAX as u32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipe::SinkOutputStream;

    fn sink() -> Descriptor {
        Descriptor::output(Box::new(SinkOutputStream))
    }

    #[test]
    fn numbers_are_given_from_the_lowest() {
        let mut table = Table::default();
        for expected in 0..4 {
            assert_eq!(table.insert(sink()), Ok(expected));
        }
        assert!(table.remove(2).is_ok());
        assert!(table.remove(1).is_ok());
        assert_eq!(table.remove(1).err(), Some(Errno::Badf));
        assert_eq!(table.insert(sink()), Ok(1));
        assert_eq!(table.insert(sink()), Ok(2));
        assert_eq!(table.insert(sink()), Ok(4));
    }

    #[test]
    fn renumbering_wants_both_numbers_in_use() {
        let mut table = Table::default();
        assert_eq!(table.insert(sink()), Ok(0));
        assert_eq!(table.insert(sink()), Ok(1));
        assert_eq!(table.renumber(0, u32::MAX), Err(Errno::Badf));
        assert_eq!(table.renumber(7, 0), Err(Errno::Badf));
        assert_eq!(table.renumber(1, 1), Ok(()));
        assert_eq!(table.renumber(1, 0), Ok(()));
        assert_eq!(table.get(1).err().map(|_| ()), Some(()));
        assert_eq!(table.insert(sink()), Ok(1));
    }
}
