//! A cache on disk, of artifacts by a key.
//!
//! A [`Cache`] is a directory with a file for each entry. What is stored under a [`Key`] never changes, so
//! that an entry is either there, complete and checked, or it is not: files are written under another name
//! and renamed, and each ends with a trailer by which damage shows. Many processes can use one directory. None waits
//! for another.
//!
//! An entry's time of modification is the last time that it was used. Once in a while a thread in the
//! background deletes those that were not used for longest, if there are more than [`CacheConfig`] allows.
//!
//! Nothing here knows what is cached: the key says what the bytes are made from, and is the user's affair.

#![warn(missing_docs)]

mod cache;
mod cleanup;
mod config;
mod entry;
mod key;
mod paths;
#[cfg(test)]
mod tests;

pub use cache::Cache;
pub use config::CacheConfig;
pub use entry::Entry;
pub use key::{Key, KeyBuilder};
