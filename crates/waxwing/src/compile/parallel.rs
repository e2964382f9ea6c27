//! Doing the same to many things, on one thread or on many.

use crate::Result;

/// `f` of every item, in the order that `index` gives: the items' indices are `0..items.len()`.
/// Items are begun in the order of the list.
///
/// If `f` fails, the result is the error of the item with the least index, on any number of
/// threads.
pub(super) fn map<T: Send, R: Send>(
    parallel: bool,
    items: Vec<T>,
    index: impl Fn(&T) -> usize + Sync,
    f: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    #[cfg(feature = "parallel-compilation")]
    if parallel && items.len() > 1 {
        return many_threads(items, index, f);
    }
    debug_assert!(
        !parallel || items.len() <= 1 || cfg!(feature = "parallel-compilation"),
        "parallel compilation needs its feature"
    );
    debug_assert!(items.iter().map(index).eq(0..items.len()));
    items.into_iter().map(f).collect()
}

#[cfg(feature = "parallel-compilation")]
fn many_threads<T: Send, R: Send>(
    items: Vec<T>,
    index: impl Fn(&T) -> usize + Sync,
    f: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, PoisonError};

    let count = items.len();
    let queue = Mutex::new(items.into_iter());
    let results = Mutex::new(Vec::with_capacity(count));
    // Items after the first that failed need not be looked at.
    let failed = AtomicUsize::new(usize::MAX);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let item = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(item) = item else { break };
            let at = index(&item);
            if at > failed.load(Ordering::Relaxed) {
                continue;
            }
            let result = f(item);
            if result.is_err() {
                failed.fetch_min(at, Ordering::Relaxed);
            }
            done.push((at, result));
        }
        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
        results.append(&mut done);
    };
    rayon::scope(|scope| {
        for _ in 0..rayon::current_num_threads().min(count) {
            scope.spawn(|_| worker());
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_errors_do_not_depend_on_threads() {
        for parallel in [false, cfg!(feature = "parallel-compilation")] {
            let items: Vec<usize> = if parallel {
                (0..1000).rev().collect()
            } else {
                (0..1000).collect()
            };
            let squares = map(parallel, items.clone(), |i| *i, |i| Ok(i * i)).unwrap();
            assert!(squares.into_iter().eq((0..1000).map(|i| i * i)));
            let error = map(
                parallel,
                items,
                |i| *i,
                |i| {
                    anyhow::ensure!(i % 100 != 37, "{i}");
                    Ok(i)
                },
            );
            assert_eq!(error.unwrap_err().to_string(), "37");
        }
    }
}
