//! `-W`: the language, and the limits on what programs use.

use super::{Apply, Group, Row, Settings};

pub static GROUP: Group = Group {
    letter: 'W',
    title: "WebAssembly",
    rows: &[
        // Before the proposals, so that these can be switched one by one after it.
        Row {
            key: "all-proposals",
            default: "none",
            help: "Switch on, or off, every proposal below.",
            apply: Apply::Flag(all_proposals),
        },
        Row {
            key: "bulk-memory",
            default: "y",
            help: "Bulk memory operations: memory.copy, memory.fill, passive segments.",
            apply: Apply::Proposal(|c, on| _ = c.wasm_bulk_memory(on)),
        },
        Row {
            key: "reference-types",
            default: "y",
            help: "Reference types: externref, funcref, several tables. Needs bulk-memory.",
            apply: Apply::Proposal(|c, on| _ = c.wasm_reference_types(on)),
        },
        Row {
            key: "multi-value",
            default: "y",
            help: "Multiple results of functions and blocks.",
            apply: Apply::Proposal(|c, on| _ = c.wasm_multi_value(on)),
        },
        Row {
            key: "simd",
            default: "y",
            help: "Vectors: v128 and its instructions.",
            apply: Apply::Proposal(|c, on| _ = c.wasm_simd(on)),
        },
        Row {
            key: "relaxed-simd",
            default: "y",
            help: "Relaxed vector instructions. Needs simd.",
            apply: Apply::Proposal(|c, on| _ = c.wasm_relaxed_simd(on)),
        },
        Row {
            key: "extended-const",
            default: "y",
            help: "Arithmetic in constant expressions.",
            apply: Apply::Proposal(|c, on| _ = c.wasm_extended_const(on)),
        },
        Row {
            key: "multi-memory",
            default: "y",
            help: "More than one linear memory in a module.",
            apply: Apply::Proposal(|c, on| _ = c.wasm_multi_memory(on)),
        },
        Row {
            key: "tail-call",
            default: "y",
            help: "Tail calls: return_call and return_call_indirect.",
            apply: Apply::Proposal(|c, on| _ = c.wasm_tail_call(on)),
        },
        Row {
            key: "threads",
            default: "y",
            help: "Shared memories and atomic instructions. Needs bulk-memory.",
            apply: Apply::Proposal(|c, on| _ = c.wasm_threads(on)),
        },
        Row {
            key: "memory64",
            default: "n",
            help: "Memories and tables with 64-bit indices.",
            apply: Apply::Proposal(|c, on| _ = c.wasm_memory64(on)),
        },
        Row {
            key: "custom-page-sizes",
            default: "n",
            help: "Memories with pages of one byte.",
            apply: Apply::Proposal(|c, on| _ = c.wasm_custom_page_sizes(on)),
        },
        Row {
            key: "wide-arithmetic",
            default: "n",
            help: "Addition, subtraction and multiplication to 128 bits.",
            apply: Apply::Proposal(|c, on| _ = c.wasm_wide_arithmetic(on)),
        },
        Row {
            key: "function-references",
            default: "n",
            help: "Typed references to functions, and call_ref. Needs reference-types.",
            apply: Apply::Proposal(|c, on| _ = c.wasm_function_references(on)),
        },
        Row {
            key: "gc",
            default: "n",
            help: "Objects that are garbage collected: structs, arrays and i31. Needs \
                   function-references.",
            apply: Apply::Proposal(|c, on| _ = c.wasm_gc(on)),
        },
        Row {
            key: "exceptions",
            default: "n",
            help: "Exceptions: tags, throw and try_table. Needs reference-types.",
            apply: Apply::Proposal(|c, on| _ = c.wasm_exceptions(on)),
        },
        Row {
            key: "gc-support",
            default: "y",
            help: "Have a garbage collector; without one, references are to functions alone.",
            apply: Apply::Flag(|s, on| _ = s.config.gc_support(on)),
        },
        Row {
            key: "wmemcheck",
            default: "n",
            help: "Find memory errors of programs in their heap, by watching their malloc and free. Takes a \
                   `waxwing` with the Cargo feature `wmemcheck`.",
            apply: Apply::Flag(|s, on| _ = s.config.wmemcheck(on)),
        },
        Row {
            key: "relaxed-simd-deterministic",
            default: "n",
            help: "Make relaxed vector instructions behave the same on all hosts.",
            apply: Apply::Flag(|s, on| _ = s.config.relaxed_simd_deterministic(on)),
        },
        Row {
            key: "fuel",
            default: "unlimited",
            help: "Let programs consume fuel as they execute, and trap after N units: about as many instructions.",
            apply: Apply::Size(|s, units| {
                s.config.consume_fuel(true);
                s.fuel = Some(units);
            }),
        },
        Row {
            key: "epoch-interruption",
            default: "n",
            help: "Let code be interrupted from outside, by epochs of the engine.",
            apply: Apply::Flag(|s, on| _ = s.config.epoch_interruption(on)),
        },
        Row {
            key: "timeout",
            default: "none",
            help: "Trap when a program has run for so long, host functions aside. Switches epoch-interruption on.",
            apply: Apply::Time(|s, time| {
                s.config.epoch_interruption(true);
                s.timeout = Some(time);
            }),
        },
        Row {
            key: "max-wasm-stack",
            default: "512K",
            help: "The native stack that wasm may use, in bytes, before it traps.",
            apply: Apply::Size(|s, size| {
                s.max_wasm_stack = Some(size);
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                // Nothing is asynchronous here; but no stack must be smaller.
                s.config.max_wasm_stack(size).async_stack_size(size);
            }),
        },
        Row {
            key: "max-memory-size",
            default: "unlimited",
            help: "The most that a linear memory may grow to, in bytes.",
            apply: Apply::Size(|s, size| s.limits.memory_size = Some(size)),
        },
        Row {
            key: "max-table-elements",
            default: "unlimited",
            help: "The most elements that a table may grow to.",
            apply: Apply::Size(|s, count| s.limits.table_elements = Some(count)),
        },
        Row {
            key: "max-instances",
            default: "10000",
            help: "The most instances in a store.",
            apply: Apply::Size(|s, count| s.limits.instances = Some(count)),
        },
        Row {
            key: "max-tables",
            default: "10000",
            help: "The most tables in a store.",
            apply: Apply::Size(|s, count| s.limits.tables = Some(count)),
        },
        Row {
            key: "max-memories",
            default: "10000",
            help: "The most linear memories in a store.",
            apply: Apply::Size(|s, count| s.limits.memories = Some(count)),
        },
        Row {
            key: "trap-on-grow-failure",
            default: "n",
            help: "Trap when a memory or table cannot grow, instead of returning -1.",
            apply: Apply::Flag(|s, on| s.limits.trap_on_grow_failure = on),
        },
    ],
    passthrough: None,
};

fn all_proposals(settings: &mut Settings, on: bool) {
    for row in GROUP.rows {
        if let Apply::Proposal(apply) = row.apply {
            apply(&mut settings.config, on);
        }
    }
}
