//! The object that native debuggers read: an ELF file that describes the artifact's code as if it were at address zero.
//!
//! Layout of the section: the number of addresses, the offset in the ELF file of each (all `u32`, little-endian), padding to a
//! multiple of 8 bytes, the ELF file. Each address is 8 bytes in the target's byte order. To describe loaded code, the code's address is
//! added to all of them.

use super::read_u32;

/// A view of the section.
#[derive(Copy, Clone)]
pub struct DebugObject<'a> {
    offsets: &'a [u8],
    elf: &'a [u8],
}

impl<'a> DebugObject<'a> {
    /// Reads the section `bytes`, or `None` when its length does not fit its count, or an address is not in the file.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let count = read_u32(bytes, 0)? as usize;
        let size = count.checked_add(1)?.checked_mul(4)?;
        let elf = bytes.get(size.checked_next_multiple_of(8)?..)?;
        let object = DebugObject {
            offsets: &bytes[4..size],
            elf,
        };
        let fits = |at: usize| elf.len().checked_sub(at).is_some_and(|rest| rest >= 8);
        object.addresses().all(fits).then_some(object)
    }

    /// The offsets of the addresses.
    pub fn addresses(&self) -> impl Iterator<Item = usize> + use<'a> {
        let (words, _) = self.offsets.as_chunks::<4>();
        words.iter().map(|word| u32::from_le_bytes(*word) as usize)
    }

    /// The ELF file for code at address zero.
    pub fn elf(&self) -> &'a [u8] {
        self.elf
    }

    /// The ELF file for code at `base`, on a host with the byte order of the target.
    pub fn at(&self, base: u64) -> Vec<u8> {
        let mut elf = self.elf.to_vec();
        for at in self.addresses() {
            if let Some(word) = elf.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
                *word = u64::from_ne_bytes(*word).wrapping_add(base).to_ne_bytes();
            }
        }
        elf
    }
}

/// The contents of the section for `elf`, whose addresses are at `offsets`.
pub fn encode(offsets: &[u32], elf: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(offsets.len() * 4 + elf.len() + 16);
    bytes.extend_from_slice(&(offsets.len() as u32).to_le_bytes());
    for offset in offsets {
        bytes.extend_from_slice(&offset.to_le_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(elf);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_move_with_the_code() {
        let mut elf = vec![7; 32];
        elf[8..16].copy_from_slice(&5_u64.to_ne_bytes());
        let bytes = encode(&[8], &elf);
        let object = DebugObject::new(&bytes).unwrap();
        assert_eq!(object.elf(), elf);
        let moved = object.at(0x1000);
        assert_eq!(moved[8..16], 0x1005_u64.to_ne_bytes());
        assert_eq!((&moved[..8], &moved[16..]), (&elf[..8], &elf[16..]));
    }

    #[test]
    fn addresses_outside_of_the_file_are_refused() {
        assert!(DebugObject::new(&encode(&[24], &[0; 32])).is_some());
        assert!(DebugObject::new(&encode(&[25], &[0; 32])).is_none());
        assert!(DebugObject::new(&encode(&[u32::MAX], &[0; 32])).is_none());
        assert!(DebugObject::new(&[]).is_none());
        assert!(DebugObject::new(&[0xff; 64]).is_none());
    }
}
