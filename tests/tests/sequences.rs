//! Random sequences of calls: of the embedding API, checked against models, of WASI's path
//! functions by a guest that tries to leave its directory, and of functions that wait.
//!
//! `WAXWING_SEQUENCES` (default 300) says how many of each.

use arbitrary::Unstructured;
use rayon::prelude::*;
use waxwing_tests::journal::Journal;
use waxwing_tests::rng::Rng;
use waxwing_tests::{
    api_calls, engines, env_count, object_calls, sandbox, suspension, with_threads,
};

/// How many sequences, unless there are several tests of each.
fn count() -> u64 {
    env_count("WAXWING_SEQUENCES", 300)
}

fn sequences<R: Send>(
    name: &str,
    count: u64,
    run: impl Fn(&mut Unstructured<'_>) -> anyhow::Result<R> + Sync,
) -> Vec<R> {
    let journal = Journal::open(env!("CARGO_TARGET_TMPDIR"), name);
    with_threads(|| {
        (0..count)
            .into_par_iter()
            .map(|seed| {
                let _working = journal.working_on(&format!("seed {seed}"));
                let bytes = Rng::of(&[seed, 4]).bytes(4 << 10);
                run(&mut Unstructured::new(&bytes))
                    .unwrap_or_else(|error| panic!("{name}: seed {seed}: {error:?}"))
            })
            .collect()
    })
}

#[test]
fn calls_of_the_api_do_what_the_model_says() {
    let made: u64 = sequences("api calls", count(), api_calls::run)
        .into_iter()
        .sum();
    println!("{made} calls as the model says");
    assert!(made > 1_000, "{made} calls test little");
}

#[test]
fn garbage_collected_values_hold_what_the_model_says() {
    for variant in engines::collectors() {
        let setting = object_calls::Setting::new(&variant.engine);
        let name = format!("objects, {}", variant.name);
        // A tenth for each engine.
        let calls = sequences(&name, count().div_ceil(10), |u| {
            object_calls::run(&setting, u)
        });
        let made: u64 = calls.into_iter().sum();
        println!("{name}: {made} calls as the model says");
        assert!(made > 1_000, "{made} calls test little");
    }
}

#[test]
fn a_guest_never_leaves_its_directory() {
    let all = sequences("sandbox", count(), sandbox::escape);
    let made: u64 = all.iter().map(|calls| calls.made).sum();
    let succeeded: u64 = all.iter().map(|calls| calls.succeeded).sum();
    println!("{made} calls, {succeeded} succeeded, none outside");
    assert!(
        succeeded * 50 > made && made > 1_000,
        "{succeeded} of {made} calls test little"
    );
}

#[test]
fn calls_wait_and_end_as_they_may() {
    let summaries = sequences("suspension", count(), suspension::run);
    let sum = |of: fn(&suspension::Summary) -> u64| summaries.iter().map(of).sum::<u64>();
    let (pending, dropped) = (sum(|s| s.pending), sum(|s| s.dropped));
    let nested = sum(|s| s.nested);
    println!("{pending} times pending, {dropped} calls dropped, {nested} calls within calls");
    assert!(
        pending > 5 * count() && 2 * dropped > count() && nested > count(),
        "these sequences test little"
    );
}
