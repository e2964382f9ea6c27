//! [`Key`]: what an entry is made from.

use std::fmt;
use std::hash::Hasher;

/// What an entry is made from: a hash of everything that its bytes depend on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(pub(crate) [u8; Key::LEN]);

impl Key {
    pub(crate) const LEN: usize = 32;
}

/// The key in hexadecimal digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Makes a [`Key`].
///
/// It is a [`Hasher`], which takes anything that is [`Hash`](std::hash::Hash): the same values in the same order give the same
/// key, in every process of the same program.
#[derive(Clone, Debug, Default)]
pub struct KeyBuilder(blake3::Hasher);

impl KeyBuilder {
    /// A builder that was given nothing.
    pub fn new() -> KeyBuilder {
        KeyBuilder::default()
    }

    /// Takes a part of its own: `"ab"` and `"c"` are not `"a"` and `"bc"`.
    pub fn part(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// The key of all that was given.
    pub fn finish_key(&self) -> Key {
        Key(*self.0.finalize().as_bytes())
    }
}

impl Hasher for KeyBuilder {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The first eight bytes of the key.
    fn finish(&self) -> u64 {
        let Key(bytes) = self.finish_key();
        let [a, b, c, d, e, f, g, h, ..] = bytes;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}
