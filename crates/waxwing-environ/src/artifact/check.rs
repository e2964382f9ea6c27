//! The checksum by which damage to an artifact shows.

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const LANES: usize = 4;

/// A checksum of `sections`, which tells them from what storage and transport make of them by
/// mistake. It does not tell whether someone changed them on purpose.
pub fn checksum(sections: &[&[u8]]) -> u64 {
    let mut lanes = [FACTOR; LANES];
    let mut sum = 0;
    for section in sections {
        let (blocks, rest) = section.as_chunks::<{ 8 * LANES }>();
        let mut last = [0; 8 * LANES];
        last[..rest.len()].copy_from_slice(rest);
        // Independent lanes, so that a processor works on all of them at once.
        for block in blocks.iter().chain([&last]) {
            let (words, _) = block.as_chunks::<8>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane = mix(*lane, u64::from_le_bytes(*word));
            }
        }
        sum = mix(sum, section.len() as u64);
    }
    lanes.into_iter().fold(sum, mix)
}

/// For any state, no two words give the same result; for any word, no two states.
fn mix(state: u64, word: u64) -> u64 {
    (state ^ word).wrapping_mul(FACTOR).rotate_left(29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_and_length_counts() {
        let bytes: Vec<u8> = (0..100).collect();
        let good = checksum(&[&bytes, b"other"]);
        assert_eq!(good, checksum(&[&bytes, b"other"]));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(good, checksum(&[&bad, b"other"]), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_ne!(good, checksum(&[&bytes[..len], b"other"]), "length {len}");
        }
        assert_ne!(checksum(&[b"ab", b"c"]), checksum(&[b"a", b"bc"]));
    }
}
