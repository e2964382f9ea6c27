//! Maps, sets, vectors and strings of Rust's library: an inverted index with queries, and orders that are matched.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::fmt::Write;
use std::hash::{BuildHasherDefault, Hasher};

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 32) * u64::from(limit) >> 32) as u32
    }
}

/// FNV-1a, as the checksum and as the hasher of maps.
#[derive(Clone)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf29ce484222325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100000001b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

const SYLLABLES: [&str; 10] = [
    "an", "bor", "ce", "dul", "e", "fis", "gra", "hem", "ix", "jo",
];

fn word(random: &mut Random) -> String {
    let mut word = String::new();
    for _ in 0..1 + random.below(3) {
        word.push_str(SYLLABLES[random.below(10) as usize]);
    }
    word
}

#[derive(Default)]
struct Index {
    documents: Vec<String>,
    places: BTreeMap<String, BTreeSet<u32>>,
}

impl Index {
    fn add(&mut self, text: String) {
        let number = self.documents.len() as u32;
        for word in text.split_whitespace() {
            let word = word
                .trim_matches(|c: char| !c.is_alphanumeric())
                .to_lowercase();
            self.places.entry(word).or_default().insert(number);
        }
        self.documents.push(text);
    }

    /// The documents with words that begin with each of the prefixes.
    fn query(&self, prefixes: &[String]) -> Vec<u32> {
        let mut found: Option<BTreeSet<u32>> = None;
        for prefix in prefixes {
            let here: BTreeSet<u32> = self
                .places
                .range(prefix.clone()..)
                .take_while(|(word, _)| word.starts_with(prefix.as_str()))
                .flat_map(|(_, documents)| documents.iter().copied())
                .collect();
            found = Some(match found {
                Some(found) => &found & &here,
                None => here,
            });
        }
        found.into_iter().flatten().collect()
    }
}

fn search(random: &mut Random, checksum: &mut Fnv) {
    let mut index = Index::default();
    for number in 0..1000 {
        let mut text = format!("Document {number}: ");
        for _ in 0..5 + random.below(20) {
            write!(text, "{}, ", word(random)).expect("strings take all that is written");
        }
        index.add(text);
    }
    for _ in 0..200 {
        let prefixes: Vec<String> = (0..2)
            .map(|_| word(random).chars().take(2).collect())
            .collect();
        for number in index.query(&prefixes) {
            checksum.write_u32(number);
            checksum.write_u32(index.documents[number as usize].len() as u32);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    price: u32,
    number: u32,
    amount: u32,
}

/// Buyers and sellers: the highest bid meets the lowest offer.
fn trade(random: &mut Random, checksum: &mut Fnv) {
    let mut bids = BinaryHeap::new();
    let mut offers = BinaryHeap::new();
    let mut traded: HashMap<u32, u64, BuildHasherDefault<Fnv>> = HashMap::default();
    let mut latest = VecDeque::new();
    for number in 0..20_000 {
        let order = Order {
            price: 900 + random.below(200),
            number,
            amount: 1 + random.below(50),
        };
        if random.below(2) == 0 {
            bids.push(order);
        } else {
            offers.push(std::cmp::Reverse(order));
        }
        while let (Some(&bid), Some(&std::cmp::Reverse(offer))) = (bids.peek(), offers.peek()) {
            if bid.price < offer.price {
                break;
            }
            let amount = bid.amount.min(offer.amount);
            bids.pop();
            offers.pop();
            if bid.amount > amount {
                bids.push(Order {
                    amount: bid.amount - amount,
                    ..bid
                });
            }
            if offer.amount > amount {
                offers.push(std::cmp::Reverse(Order {
                    amount: offer.amount - amount,
                    ..offer
                }));
            }
            *traded.entry(offer.price).or_insert(0) += u64::from(amount);
            latest.push_back(amount);
            if latest.len() > 100 {
                latest.pop_front();
            }
        }
    }
    let mut prices: Vec<_> = traded.into_iter().collect();
    prices.sort_unstable_by_key(|&(price, amount)| (std::cmp::Reverse(amount), price));
    for (price, amount) in prices {
        checksum.write_u32(price);
        checksum.write_u64(amount);
    }
    checksum.write_u32(latest.iter().sum());
}

#[unsafe(no_mangle)]
pub extern "C" fn run(n: i32) -> i64 {
    let mut random = Random(31);
    let mut checksum = Fnv::default();
    for _ in 0..n {
        search(&mut random, &mut checksum);
        trade(&mut random, &mut checksum);
    }
    (checksum.finish() >> 1) as i64
}
