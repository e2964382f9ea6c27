//! Chains of iterators and closures over vectors: what is left of them must be plain loops.

const SIZE: usize = 20_000;

fn random_numbers(mut state: u64) -> impl Iterator<Item = u32> {
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 32) as u32
    })
}

fn mix(hash: u64, value: u64) -> u64 {
    let hash = (hash ^ value).wrapping_mul(0xff51afd7ed558ccd);
    hash ^ hash >> 32
}

/// The average, and the variance around it.
fn moments(samples: &[f64]) -> (f64, f64) {
    let count = samples.len() as f64;
    let average = samples.iter().sum::<f64>() / count;
    let variance = samples.iter().map(|x| (x - average).powi(2)).sum::<f64>() / count;
    (average, variance)
}

fn moving_averages(samples: &[f64], width: usize) -> impl Iterator<Item = f64> {
    samples
        .windows(width)
        .map(move |window| window.iter().sum::<f64>() / width as f64)
}

/// Runs of numbers that rise, as start and length, that have at least three.
fn rising(numbers: &[u32]) -> impl Iterator<Item = (usize, usize)> {
    let mut rest = numbers;
    std::iter::from_fn(move || {
        let start = numbers.len() - rest.len();
        let length = rest
            .iter()
            .zip(rest.iter().skip(1))
            .take_while(|(a, b)| a < b)
            .count()
            + usize::from(!rest.is_empty());
        rest = &rest[length..];
        (length > 0).then_some((start, length))
    })
    .filter(|&(_, length)| length >= 3)
}

fn transposed(matrix: &[u32], columns: usize) -> Vec<u32> {
    (0..columns)
        .flat_map(|column| matrix.iter().skip(column).step_by(columns).copied())
        .collect()
}

fn collatz_length(start: u32) -> usize {
    std::iter::successors(Some(u64::from(start)), |&x| match x {
        1 => None,
        x if x % 2 == 0 => Some(x / 2),
        x => Some(3 * x + 1),
    })
    .count()
}

fn work(round: u32) -> u64 {
    let numbers: Vec<u32> = random_numbers(u64::from(round) + 32).take(SIZE).collect();
    let samples: Vec<f64> = numbers
        .iter()
        .map(|&x| f64::from(x) / 4294967296.0)
        .collect();

    let (average, variance) = moments(&samples);
    let crossings = moving_averages(&samples, 16)
        .zip(moving_averages(&samples, 64).skip(8))
        .map(|(short, long)| short > long)
        .collect::<Vec<_>>()
        .windows(2)
        .filter(|pair| pair[0] != pair[1])
        .count();

    let longest = rising(&numbers).max_by_key(|&(start, length)| (length, start));
    let (even, odd): (Vec<u32>, Vec<u32>) = numbers.iter().partition(|&&x| x % 2 == 0);
    let products = even
        .iter()
        .zip(odd.iter().rev())
        .filter_map(|(&a, &b)| a.checked_mul(b % 4))
        .fold(0, |hash, product| mix(hash, u64::from(product)));

    let turned = transposed(&numbers, 100);
    let sums = turned
        .chunks_exact(SIZE / 100)
        .map(|row| row.iter().map(|&x| u64::from(x)).sum::<u64>())
        .scan(0u64, |total, sum| {
            *total += sum;
            Some(*total)
        })
        .fold(0, mix);

    let hardest = numbers
        .iter()
        .map(|x| 1 + x % 10_000)
        .take(500)
        .max_by_key(|&x| (collatz_length(x), x));

    let pairs = (1..100u32)
        .flat_map(|a| (a..100).map(move |b| (a, b)))
        .filter(|&(a, b)| {
            let squared = a * a + b * b;
            (1..150).any(|c| c * c == squared)
        })
        .count();

    [
        average.to_bits(),
        variance.to_bits(),
        crossings as u64,
        longest.map_or(0, |(start, length)| (start * 100 + length) as u64),
        products,
        sums,
        u64::from(hardest.unwrap_or(0)),
        pairs as u64,
    ]
    .into_iter()
    .fold(0, mix)
}

#[unsafe(no_mangle)]
pub extern "C" fn run(n: i32) -> i64 {
    let hash = (0..n.max(0) as u32).map(work).fold(0, mix);
    (hash >> 1) as i64
}
