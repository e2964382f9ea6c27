//! `-O`: speed against compile time and memory.

use super::{Apply, Group, Row};
use waxwing::OptLevel;

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
    ],
    passthrough: None,
};
