//! A file of the cache: the bytes, and a trailer by which damage shows.
//!
//! The bytes come first, so that the file can be mapped where they are to be used, at the beginning of a page. The trailer is, all
//! numbers little-endian: the key (32 bytes), the length of the bytes (8), their CRC-32 (4), and the
//! CRC-32 of all that (4).

use crate::Key;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

const LEN_AT: usize = Key::LEN;
const SUM_AT: usize = LEN_AT + 8;
const OWN_SUM_AT: usize = SUM_AT + 4;
pub(crate) const TRAILER_LEN: usize = OWN_SUM_AT + 4;

/// An entry of a [`Cache`](crate::Cache), found by its key.
#[derive(Debug)]
pub struct Entry {
    file: File,
    len: u64,
    sum: u32,
}

impl Entry {
    /// The entry in an open file, if it is one of `key` and has the length that it should.
    pub(crate) fn read(mut file: File, key: &Key) -> io::Result<Entry> {
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_string());
        let total = file.metadata()?.len();
        let len = total.checked_sub(TRAILER_LEN as u64);
        let len = len.ok_or_else(|| damaged("it is too short"))?;
        let mut trailer = [0; TRAILER_LEN];
        file.seek(SeekFrom::Start(len))?;
        file.read_exact(&mut trailer)?;
        let number = |at| u32::from_le_bytes([at, at + 1, at + 2, at + 3].map(|i| trailer[i]));
        if number(OWN_SUM_AT) != crc32fast::hash(&trailer[..OWN_SUM_AT]) {
            return Err(damaged("its end is not that of an entry"));
        }
        if trailer[..LEN_AT] != key.0 {
            return Err(damaged("it belongs to another key"));
        }
        let said = u64::from(number(LEN_AT)) | u64::from(number(LEN_AT + 4)) << 32;
        if said != len {
            return Err(damaged("its length is wrong"));
        }
        file.rewind()?;
        Ok(Entry {
            file,
            len,
            sum: number(SUM_AT),
        })
    }

    /// Writes an entry.
    pub(crate) fn write(mut to: impl Write, key: &Key, bytes: &[u8]) -> io::Result<()> {
        let mut trailer = Vec::with_capacity(TRAILER_LEN);
        trailer.extend(key.0);
        trailer.extend((bytes.len() as u64).to_le_bytes());
        trailer.extend(crc32fast::hash(bytes).to_le_bytes());
        trailer.extend(crc32fast::hash(&trailer).to_le_bytes());
        to.write_all(bytes)?;
        to.write_all(&trailer)
    }

    /// The file, whose first [`len`](Self::len) bytes are those of the entry. Nobody changes it: an entry that is replaced
    /// or deleted becomes another file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The number of bytes that were cached.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was cached.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether these, read from the file by the caller, are the bytes that were cached.
    pub fn is_intact(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.len && crc32fast::hash(bytes) == self.sum
    }
}
