//! The main thread's stack grows as it is used, and has its end where the system says. The test harness
//! runs tests on other threads, so that this is a program of its own.

use waxwing_vm::traps::stack_limit_for_entry;

/// Uses the stack down to `limit`.
fn descend(limit: usize) -> usize {
    let page = std::hint::black_box([1u8; 4096]);
    let here = page.as_ptr() as usize;
    let deepest = if here > limit + 64 * 1024 {
        descend(limit)
    } else {
        here
    };
    std::hint::black_box(&page);
    deepest
}

fn main() {
    let here = 0u8;
    let here = &raw const here as usize;
    let small = stack_limit_for_entry(100_000).expect("a stack for signal handlers");
    assert!(here - small >= 100_000 && here - small < 200_000);

    // The unused rest of the stack, as far as it is worth touching.
    let all = stack_limit_for_entry(usize::MAX).expect("the thread is prepared");
    assert!(all < here - 64 * 1024, "{all:#x} is too near to {here:#x}");
    let limit = all.max(here.saturating_sub(64 << 20));
    assert!(descend(limit) <= limit + 64 * 1024);
}
