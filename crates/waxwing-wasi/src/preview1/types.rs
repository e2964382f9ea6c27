//! Numbers of WASI preview 1: error codes, rights, flags and file types.

use bitflags::bitflags;
use std::{fmt, io};

/// Calls the given macro with every error code: its name, its number in
/// preview 1, its name in POSIX without the leading `E` (as `rustix` spells
/// it), and what it means.
macro_rules! for_each_errno {
    ($callback:path) => {
        $callback! {
            TooBig = 1, TOOBIG, "Argument list too long";
            Acces = 2, ACCESS, "Permission denied";
            Addrinuse = 3, ADDRINUSE, "Address in use";
            Addrnotavail = 4, ADDRNOTAVAIL, "Address not available";
            Afnosupport = 5, AFNOSUPPORT, "Address family not supported";
            Again = 6, AGAIN, "Resource unavailable, or operation would block";
            Already = 7, ALREADY, "Connection already in progress";
            Badf = 8, BADF, "Bad file descriptor";
            Badmsg = 9, BADMSG, "Bad message";
            Busy = 10, BUSY, "Device or resource busy";
            Canceled = 11, CANCELED, "Operation canceled";
            Child = 12, CHILD, "No child processes";
            Connaborted = 13, CONNABORTED, "Connection aborted";
            Connrefused = 14, CONNREFUSED, "Connection refused";
            Connreset = 15, CONNRESET, "Connection reset";
            Deadlk = 16, DEADLK, "Resource deadlock would occur";
            Destaddrreq = 17, DESTADDRREQ, "Destination address required";
            Dom = 18, DOM, "Mathematics argument out of domain of function";
            Dquot = 19, DQUOT, "Disk quota exceeded";
            Exist = 20, EXIST, "File exists";
            Fault = 21, FAULT, "Bad address";
            Fbig = 22, FBIG, "File too large";
            Hostunreach = 23, HOSTUNREACH, "Host is unreachable";
            Idrm = 24, IDRM, "Identifier removed";
            Ilseq = 25, ILSEQ, "Illegal byte sequence";
            Inprogress = 26, INPROGRESS, "Operation in progress";
            Intr = 27, INTR, "Interrupted function";
            Inval = 28, INVAL, "Invalid argument";
            Io = 29, IO, "I/O error";
            Isconn = 30, ISCONN, "Socket is connected";
            Isdir = 31, ISDIR, "Is a directory";
            Loop = 32, LOOP, "Too many levels of symbolic links";
            Mfile = 33, MFILE, "File descriptor value too large";
            Mlink = 34, MLINK, "Too many links";
            Msgsize = 35, MSGSIZE, "Message too large";
            Multihop = 36, MULTIHOP, "Multihop attempted";
            Nametoolong = 37, NAMETOOLONG, "Filename too long";
            Netdown = 38, NETDOWN, "Network is down";
            Netreset = 39, NETRESET, "Connection aborted by network";
            Netunreach = 40, NETUNREACH, "Network unreachable";
            Nfile = 41, NFILE, "Too many files open in system";
            Nobufs = 42, NOBUFS, "No buffer space available";
            Nodev = 43, NODEV, "No such device";
            Noent = 44, NOENT, "No such file or directory";
            Noexec = 45, NOEXEC, "Executable file format error";
            Nolck = 46, NOLCK, "No locks available";
            Nolink = 47, NOLINK, "Link has been severed";
            Nomem = 48, NOMEM, "Not enough space";
            Nomsg = 49, NOMSG, "No message of the desired type";
            Noprotoopt = 50, NOPROTOOPT, "Protocol not available";
            Nospc = 51, NOSPC, "No space left on device";
            Nosys = 52, NOSYS, "Function not supported";
            Notconn = 53, NOTCONN, "The socket is not connected";
            Notdir = 54, NOTDIR, "Not a directory or a symbolic link to a directory";
            Notempty = 55, NOTEMPTY, "Directory not empty";
            Notrecoverable = 56, NOTRECOVERABLE, "State not recoverable";
            Notsock = 57, NOTSOCK, "Not a socket";
            Notsup = 58, NOTSUP, "Not supported, or operation not supported on socket";
            Notty = 59, NOTTY, "Inappropriate I/O control operation";
            Nxio = 60, NXIO, "No such device or address";
            Overflow = 61, OVERFLOW, "Value too large to be stored in data type";
            Ownerdead = 62, OWNERDEAD, "Previous owner died";
            Perm = 63, PERM, "Operation not permitted";
            Pipe = 64, PIPE, "Broken pipe";
            Proto = 65, PROTO, "Protocol error";
            Protonosupport = 66, PROTONOSUPPORT, "Protocol not supported";
            Prototype = 67, PROTOTYPE, "Protocol wrong type for socket";
            Range = 68, RANGE, "Result too large";
            Rofs = 69, ROFS, "Read-only file system";
            Spipe = 70, SPIPE, "Invalid seek";
            Srch = 71, SRCH, "No such process";
            Stale = 72, STALE, "Reserved";
            Timedout = 73, TIMEDOUT, "Connection timed out";
            Txtbsy = 74, TXTBSY, "Text file busy";
            Xdev = 75, XDEV, "Cross-device link";
        }
    };
}
pub(crate) use for_each_errno;

macro_rules! define_errno {
    ($($name:ident = $number:literal, $posix:ident, $text:literal;)*) => {
        /// An error code of WASI preview 1, as guests see it. Success, zero,
        /// is not among them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum Errno {
            $(#[doc = concat!($text, ".")] $name = $number,)*
            /// Extension: capabilities insufficient.
            Notcapable = 76,
        }

        impl fmt::Display for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Errno::$name => $text,)*
                    Errno::Notcapable => "Capabilities insufficient",
                })
            }
        }
    };
}
for_each_errno!(define_errno);

impl std::error::Error for Errno {}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        if let Some(errno) = error.raw_os_error().and_then(crate::sys::errno) {
            return errno;
        }
        match error.kind() {
            Kind::NotFound => Errno::Noent,
            Kind::PermissionDenied => Errno::Perm,
            Kind::ConnectionRefused => Errno::Connrefused,
            Kind::ConnectionReset => Errno::Connreset,
            Kind::ConnectionAborted => Errno::Connaborted,
            Kind::HostUnreachable => Errno::Hostunreach,
            Kind::NetworkUnreachable => Errno::Netunreach,
            Kind::NetworkDown => Errno::Netdown,
            Kind::NotConnected => Errno::Notconn,
            Kind::AddrInUse => Errno::Addrinuse,
            Kind::AddrNotAvailable => Errno::Addrnotavail,
            Kind::BrokenPipe => Errno::Pipe,
            Kind::AlreadyExists => Errno::Exist,
            Kind::WouldBlock => Errno::Again,
            Kind::NotADirectory => Errno::Notdir,
            Kind::IsADirectory => Errno::Isdir,
            Kind::DirectoryNotEmpty => Errno::Notempty,
            Kind::ReadOnlyFilesystem => Errno::Rofs,
            Kind::StaleNetworkFileHandle => Errno::Stale,
            Kind::InvalidInput | Kind::InvalidData => Errno::Inval,
            Kind::TimedOut => Errno::Timedout,
            Kind::StorageFull => Errno::Nospc,
            Kind::NotSeekable => Errno::Spipe,
            Kind::QuotaExceeded => Errno::Dquot,
            Kind::FileTooLarge => Errno::Fbig,
            Kind::ResourceBusy => Errno::Busy,
            Kind::ExecutableFileBusy => Errno::Txtbsy,
            Kind::Deadlock => Errno::Deadlk,
            Kind::CrossesDevices => Errno::Xdev,
            Kind::TooManyLinks => Errno::Mlink,
            Kind::InvalidFilename => Errno::Inval,
            Kind::ArgumentListTooLong => Errno::TooBig,
            Kind::Interrupted => Errno::Intr,
            Kind::Unsupported => Errno::Notsup,
            Kind::OutOfMemory => Errno::Nomem,
            _ => Errno::Io,
        }
    }
}

/// `filetype`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FileType {
    Unknown = 0,
    BlockDevice = 1,
    CharacterDevice = 2,
    Directory = 3,
    RegularFile = 4,
    SocketStream = 6,
    SymbolicLink = 7,
}

impl From<cap_std::fs::FileType> for FileType {
    fn from(file_type: cap_std::fs::FileType) -> Self {
        use cap_fs_ext::FileTypeExt;
        if file_type.is_file() {
            FileType::RegularFile
        } else if file_type.is_dir() {
            FileType::Directory
        } else if file_type.is_symlink() {
            FileType::SymbolicLink
        } else if file_type.is_char_device() {
            FileType::CharacterDevice
        } else if file_type.is_block_device() {
            FileType::BlockDevice
        } else if file_type.is_socket() {
            FileType::SocketStream
        } else {
            FileType::Unknown
        }
    }
}

bitflags! {
    /// `rights`: what a descriptor may be used for.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Rights: u64 {
        const FD_DATASYNC = 1 << 0;
        const FD_READ = 1 << 1;
        const FD_SEEK = 1 << 2;
        const FD_FDSTAT_SET_FLAGS = 1 << 3;
        const FD_SYNC = 1 << 4;
        const FD_TELL = 1 << 5;
        const FD_WRITE = 1 << 6;
        const FD_ADVISE = 1 << 7;
        const FD_ALLOCATE = 1 << 8;
        const PATH_CREATE_DIRECTORY = 1 << 9;
        const PATH_CREATE_FILE = 1 << 10;
        const PATH_LINK_SOURCE = 1 << 11;
        const PATH_LINK_TARGET = 1 << 12;
        const PATH_OPEN = 1 << 13;
        const FD_READDIR = 1 << 14;
        const PATH_READLINK = 1 << 15;
        const PATH_RENAME_SOURCE = 1 << 16;
        const PATH_RENAME_TARGET = 1 << 17;
        const PATH_FILESTAT_GET = 1 << 18;
        const PATH_FILESTAT_SET_SIZE = 1 << 19;
        const PATH_FILESTAT_SET_TIMES = 1 << 20;
        const FD_FILESTAT_GET = 1 << 21;
        const FD_FILESTAT_SET_SIZE = 1 << 22;
        const FD_FILESTAT_SET_TIMES = 1 << 23;
        const PATH_SYMLINK = 1 << 24;
        const PATH_REMOVE_DIRECTORY = 1 << 25;
        const PATH_UNLINK_FILE = 1 << 26;
        const POLL_FD_READWRITE = 1 << 27;
        const SOCK_SHUTDOWN = 1 << 28;
        const SOCK_ACCEPT = 1 << 29;

        /// What an open file can be used for.
        const FILE = Self::FD_DATASYNC.bits()
            | Self::FD_READ.bits()
            | Self::FD_SEEK.bits()
            | Self::FD_FDSTAT_SET_FLAGS.bits()
            | Self::FD_SYNC.bits()
            | Self::FD_TELL.bits()
            | Self::FD_WRITE.bits()
            | Self::FD_ADVISE.bits()
            | Self::FD_ALLOCATE.bits()
            | Self::FD_FILESTAT_GET.bits()
            | Self::FD_FILESTAT_SET_SIZE.bits()
            | Self::FD_FILESTAT_SET_TIMES.bits()
            | Self::POLL_FD_READWRITE.bits();

        /// What a file loses that was opened for reading alone.
        const CHANGE_FILE = Self::FD_WRITE.bits()
            | Self::FD_ALLOCATE.bits()
            | Self::FD_FILESTAT_SET_SIZE.bits();

        /// What an open directory can be used for.
        const DIRECTORY = Self::FD_DATASYNC.bits()
            | Self::FD_FDSTAT_SET_FLAGS.bits()
            | Self::FD_SYNC.bits()
            | Self::PATH_CREATE_DIRECTORY.bits()
            | Self::PATH_CREATE_FILE.bits()
            | Self::PATH_LINK_SOURCE.bits()
            | Self::PATH_LINK_TARGET.bits()
            | Self::PATH_OPEN.bits()
            | Self::FD_READDIR.bits()
            | Self::PATH_READLINK.bits()
            | Self::PATH_RENAME_SOURCE.bits()
            | Self::PATH_RENAME_TARGET.bits()
            | Self::PATH_FILESTAT_GET.bits()
            | Self::PATH_FILESTAT_SET_SIZE.bits()
            | Self::PATH_FILESTAT_SET_TIMES.bits()
            | Self::FD_FILESTAT_GET.bits()
            | Self::FD_FILESTAT_SET_TIMES.bits()
            | Self::PATH_SYMLINK.bits()
            | Self::PATH_REMOVE_DIRECTORY.bits()
            | Self::PATH_UNLINK_FILE.bits();

        /// What an input or output stream can be used for, besides reading
        /// or writing. A descriptor without the right to seek is one of the
        /// two things by which a guest's `isatty` knows a terminal.
        const STREAM = Self::FD_FDSTAT_SET_FLAGS.bits()
            | Self::FD_FILESTAT_GET.bits()
            | Self::POLL_FD_READWRITE.bits();

        /// What a connected socket can be used for.
        const SOCKET = Self::STREAM.bits()
            | Self::FD_READ.bits()
            | Self::FD_WRITE.bits()
            | Self::SOCK_SHUTDOWN.bits();

        /// What a listening socket can be used for; what it accepts can be
        /// used as a connected socket.
        const LISTENER = Self::STREAM.bits()
            | Self::FD_READ.bits()
            | Self::SOCK_ACCEPT.bits();
    }

    /// `fdflags`
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct FdFlags: u16 {
        const APPEND = 1 << 0;
        const DSYNC = 1 << 1;
        const NONBLOCK = 1 << 2;
        const RSYNC = 1 << 3;
        const SYNC = 1 << 4;
    }

    /// `oflags`
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct OFlags: u16 {
        const CREAT = 1 << 0;
        const DIRECTORY = 1 << 1;
        const EXCL = 1 << 2;
        const TRUNC = 1 << 3;
    }

    /// `lookupflags`
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct LookupFlags: u32 {
        const SYMLINK_FOLLOW = 1 << 0;
    }

    /// `fstflags`
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct FstFlags: u16 {
        const ATIM = 1 << 0;
        const ATIM_NOW = 1 << 1;
        const MTIM = 1 << 2;
        const MTIM_NOW = 1 << 3;
    }

    /// `riflags`
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct RiFlags: u16 {
        const RECV_PEEK = 1 << 0;
        const RECV_WAITALL = 1 << 1;
    }

    /// `sdflags`
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct SdFlags: u8 {
        const RD = 1 << 0;
        const WR = 1 << 1;
    }
}

/// The value of a flags parameter; bits that the specification does not name
/// are an error.
pub(crate) fn flags<F>(bits: u32) -> Result<F, Errno>
where
    F: bitflags::Flags,
    F::Bits: TryFrom<u32>,
{
    F::Bits::try_from(bits)
        .ok()
        .and_then(F::from_bits)
        .ok_or(Errno::Inval)
}

/// `whence` of preview 1; snapshot 0 numbers it differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whence {
    Set,
    Cur,
    End,
}

/// `advice`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advice {
    Normal,
    Sequential,
    Random,
    WillNeed,
    DontNeed,
    NoReuse,
}

impl TryFrom<u32> for Advice {
    type Error = Errno;

    fn try_from(number: u32) -> Result<Self, Errno> {
        Ok(match number {
            0 => Advice::Normal,
            1 => Advice::Sequential,
            2 => Advice::Random,
            3 => Advice::WillNeed,
            4 => Advice::DontNeed,
            5 => Advice::NoReuse,
            _ => return Err(Errno::Inval),
        })
    }
}

/// A time to give a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewTime {
    Keep,
    Now,
    /// Nanoseconds since 1970.
    At(u64),
}

impl NewTime {
    /// The new access and modification times that `fstflags` and the two
    /// timestamps ask for.
    pub(crate) fn pair(atim: u64, mtim: u64, fst_flags: u32) -> Result<(Self, Self), Errno> {
        let fst_flags: FstFlags = flags(fst_flags)?;
        let pick = |given, now, time| match (fst_flags.contains(given), fst_flags.contains(now)) {
            (false, false) => Ok(NewTime::Keep),
            (true, false) => Ok(NewTime::At(time)),
            (false, true) => Ok(NewTime::Now),
            (true, true) => Err(Errno::Inval),
        };
        Ok((
            pick(FstFlags::ATIM, FstFlags::ATIM_NOW, atim)?,
            pick(FstFlags::MTIM, FstFlags::MTIM_NOW, mtim)?,
        ))
    }
}

/// `filestat`, in no particular layout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileStat {
    pub device: u64,
    pub inode: u64,
    pub file_type: FileType,
    pub links: u64,
    pub size: u64,
    pub accessed: u64,
    pub modified: u64,
    pub changed: u64,
}

impl FileStat {
    /// What is known of a thing that is not in a file system.
    pub(crate) fn of_type(file_type: FileType) -> Self {
        Self {
            device: 0,
            inode: 0,
            file_type,
            links: 0,
            size: 0,
            accessed: 0,
            modified: 0,
            changed: 0,
        }
    }
}

impl From<&cap_std::fs::Metadata> for FileStat {
    fn from(metadata: &cap_std::fs::Metadata) -> Self {
        use cap_fs_ext::MetadataExt;
        let since_1970 = |time: io::Result<cap_std::time::SystemTime>| {
            time.ok()
                .and_then(|time| {
                    time.into_std()
                        .duration_since(std::time::SystemTime::UNIX_EPOCH)
                        .ok()
                })
                .map_or(0, crate::clocks::nanoseconds)
        };
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            file_type: metadata.file_type().into(),
            links: metadata.nlink(),
            size: metadata.len(),
            accessed: since_1970(metadata.accessed()),
            modified: since_1970(metadata.modified()),
            changed: crate::sys::changed_time(metadata),
        }
    }
}
