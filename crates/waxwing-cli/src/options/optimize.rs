//! `-O`: speed against compile time and memory.

use super::{Apply, Group, Row};
use waxwing::{Enabled, MpkEnabled, OptLevel};

pub static GROUP: Group = Group {
    letter: 'O',
    title: "Optimization",
    rows: &[
        Row {
            key: "opt-level",
            default: "speed",
            help: "What the compiler optimizes for.",
            apply: Apply::Choice(&[
                ("none", |s| _ = s.config.cranelift_opt_level(OptLevel::None)),
                ("speed", |s| {
                    _ = s.config.cranelift_opt_level(OptLevel::Speed)
                }),
                ("speed-and-size", |s| {
                    _ = s.config.cranelift_opt_level(OptLevel::SpeedAndSize)
                }),
            ]),
        },
        Row {
            key: "memory-reservation",
            default: "4G",
            help: "Address space reserved for each linear memory, in bytes.",
            apply: Apply::Size(|s, size| _ = s.config.memory_reservation(size)),
        },
        Row {
            key: "memory-guard-size",
            default: "2G",
            help: "Inaccessible address space after each linear memory, in bytes; large guards \
                   save bounds checks.",
            apply: Apply::Size(|s, size| _ = s.config.memory_guard_size(size)),
        },
        Row {
            key: "memory-reservation-for-growth",
            default: "2G",
            help: "Address space reserved to grow into when a memory has to move, in bytes.",
            apply: Apply::Size(|s, size| _ = s.config.memory_reservation_for_growth(size)),
        },
        Row {
            key: "memory-may-move",
            default: "y",
            help: "Let memories move when they outgrow their reservation; otherwise growth fails.",
            apply: Apply::Flag(|s, on| _ = s.config.memory_may_move(on)),
        },
        Row {
            key: "guard-before-linear-memory",
            default: "y",
            help: "Put a guard before each linear memory too, against errors of the compiler.",
            apply: Apply::Flag(|s, on| _ = s.config.guard_before_linear_memory(on)),
        },
        Row {
            key: "memory-init-cow",
            default: "y",
            help: "Map the initial contents of memories copy-on-write instead of copying them.",
            apply: Apply::Flag(|s, on| _ = s.config.memory_init_cow(on)),
        },
        Row {
            key: "force-memory-init-memfd",
            default: "n",
            help: "Map initial contents from memory even where an artifact's file could be mapped.",
            apply: Apply::Flag(|s, on| _ = s.config.force_memory_init_memfd(on)),
        },
        Row {
            key: "dense-image-size",
            default: "16M",
            help: "Initial contents up to this many bytes are mapped however sparse they are.",
            apply: Apply::Size(|s, size| _ = s.config.memory_guaranteed_dense_image_size(size)),
        },
        Row {
            key: "table-lazy-init",
            default: "y",
            help: "Fill tables when their elements are first used, not at instantiation.",
            apply: Apply::Flag(|s, on| _ = s.config.table_lazy_init(on)),
        },
        Row {
            key: "signals-based-traps",
            default: "y",
            help: "Find traps by hardware faults; otherwise by explicit checks, which are slower.",
            apply: Apply::Flag(|s, on| _ = s.config.signals_based_traps(on)),
        },
        Row {
            key: "pooling-allocator",
            default: "n",
            help: "Get instances from a pool of slots that are made ahead and used again; the options \
                   that begin with `pooling-` imply it.",
            apply: Apply::Flag(|s, on| s.pool.enabled = Some(on)),
        },
        Row {
            key: "pooling-total-core-instances",
            default: "1000",
            help: "How many instances the pool has.",
            apply: Apply::Size(|s, n| _ = s.pool().total_core_instances(count(n))),
        },
        Row {
            key: "pooling-total-memories",
            default: "1000",
            help: "How many linear memories the pool has.",
            apply: Apply::Size(|s, n| _ = s.pool().total_memories(count(n))),
        },
        Row {
            key: "pooling-total-tables",
            default: "1000",
            help: "How many tables the pool has.",
            apply: Apply::Size(|s, n| _ = s.pool().total_tables(count(n))),
        },
        Row {
            key: "pooling-total-stacks",
            default: "1000",
            help: "How many stacks of asynchronous execution the pool has.",
            apply: Apply::Size(|s, n| _ = s.pool().total_stacks(count(n))),
        },
        Row {
            key: "pooling-total-gc-heaps",
            default: "1000",
            help: "How many garbage-collected heaps the pool has.",
            apply: Apply::Size(|s, n| _ = s.pool().total_gc_heaps(count(n))),
        },
        Row {
            key: "pooling-max-core-instance-size",
            default: "1M",
            help: "The most bytes of an instance without its memories and tables.",
            apply: Apply::Size(|s, n| _ = s.pool().max_core_instance_size(size(n))),
        },
        Row {
            key: "pooling-max-memories-per-module",
            default: "1",
            help: "The most linear memories that a module defines.",
            apply: Apply::Size(|s, n| _ = s.pool().max_memories_per_module(count(n))),
        },
        Row {
            key: "pooling-max-memory-size",
            default: "4G",
            help: "The most bytes of a linear memory.",
            apply: Apply::Size(|s, n| _ = s.pool().max_memory_size(size(n))),
        },
        Row {
            key: "pooling-max-tables-per-module",
            default: "1",
            help: "The most tables that a module defines.",
            apply: Apply::Size(|s, n| _ = s.pool().max_tables_per_module(count(n))),
        },
        Row {
            key: "pooling-table-elements",
            default: "20000",
            help: "The most elements of a table.",
            apply: Apply::Size(|s, n| _ = s.pool().table_elements(size(n))),
        },
        Row {
            key: "pooling-max-unused-warm-slots",
            default: "100",
            help: "How many used slots are kept unused before others are used.",
            apply: Apply::Size(|s, n| _ = s.pool().max_unused_warm_slots(count(n))),
        },
        Row {
            key: "pooling-decommit-batch-size",
            default: "1",
            help: "How many slots are reset at once.",
            apply: Apply::Size(|s, n| _ = s.pool().decommit_batch_size(size(n))),
        },
        Row {
            key: "pooling-memory-keep-resident",
            default: "0",
            help: "Bytes of each linear memory that are reset by writing, not by a system call.",
            apply: Apply::Size(|s, n| _ = s.pool().linear_memory_keep_resident(size(n))),
        },
        Row {
            key: "pooling-table-keep-resident",
            default: "0",
            help: "Bytes of each table that are reset by writing, not by a system call.",
            apply: Apply::Size(|s, n| _ = s.pool().table_keep_resident(size(n))),
        },
        Row {
            key: "pooling-async-stack-keep-resident",
            default: "0",
            help: "Bytes of each stack that are reset by writing, not by a system call.",
            apply: Apply::Size(|s, n| _ = s.pool().async_stack_keep_resident(size(n))),
        },
        Row {
            key: "pooling-max-memory-protection-keys",
            default: "16",
            help: "The most memory protection keys that the pool takes.",
            apply: Apply::Size(|s, n| _ = s.pool().max_memory_protection_keys(size(n))),
        },
        Row {
            key: "pooling-async-stack-zeroing",
            default: "n",
            help: "Fill stacks of asynchronous execution with zeros before they are used again.",
            apply: Apply::Flag(|s, on| _ = s.pool().async_stack_zeroing(on)),
        },
        Row {
            key: "pooling-pagemap-scan",
            default: "auto",
            help: "Ask the system which pages were written, to reset those alone.",
            apply: Apply::Choice(&[
                ("auto", |s| _ = s.pool().pagemap_scan(Enabled::Auto)),
                ("y", |s| _ = s.pool().pagemap_scan(Enabled::Yes)),
                ("n", |s| _ = s.pool().pagemap_scan(Enabled::No)),
            ]),
        },
        Row {
            key: "pooling-memory-protection-keys",
            default: "n",
            help: "Protect memories by keys of the CPU, so that more of them fit the address space.",
            apply: Apply::Choice(&[
                ("auto", |s| {
                    _ = s.pool().memory_protection_keys(MpkEnabled::Auto)
                }),
                ("y", |s| {
                    _ = s.pool().memory_protection_keys(MpkEnabled::Enable)
                }),
                ("n", |s| {
                    _ = s.pool().memory_protection_keys(MpkEnabled::Disable)
                }),
            ]),
        },
    ],
    passthrough: None,
};

/// A number of things: what is too large is as good as the largest.
fn count(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A number of bytes, likewise.
fn size(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
