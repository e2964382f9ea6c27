//! `-C`: how machine code is made.

use super::{Apply, Group, Passthrough, Row, Settings};
use anyhow::Result;
use std::path::Path;
use waxwing::{Collector, Inlining, RegallocAlgorithm, Strategy};

pub static GROUP: Group = Group {
    letter: 'C',
    title: "Code generation",
    rows: &[
        Row {
            key: "target",
            default: "host",
            help: "The target triple to compile for; `host` is this machine with all its features, \
                   `pulley64` portable bytecode.",
            apply: Apply::Text(set_target),
        },
        Row {
            key: "compiler",
            default: "auto",
            help: "The compiler to use.",
            apply: Apply::Choice(&[
                ("auto", |s| _ = s.config.strategy(Strategy::Auto)),
                ("cranelift", |s| _ = s.config.strategy(Strategy::Cranelift)),
            ]),
        },
        Row {
            key: "collector",
            default: "auto",
            help: "How garbage is collected: by moving what is alive together, by counting \
                   references, or not at all.",
            apply: Apply::Choice(&[
                ("auto", |s| _ = s.config.collector(Collector::Auto)),
                ("copying", |s| _ = s.config.collector(Collector::Copying)),
                ("drc", |s| {
                    _ = s.config.collector(Collector::DeferredReferenceCounting)
                }),
                ("null", |s| _ = s.config.collector(Collector::Null)),
            ]),
        },
        Row {
            key: "inlining",
            default: "y",
            help: "Which calls are replaced by the functions that they call: all where it is worth it, those in \
                   modules that use garbage collection, or none of those within a module.",
            apply: Apply::Choice(&[
                ("y", |s| _ = s.config.compiler_inlining(Inlining::Yes)),
                ("n", |s| _ = s.config.compiler_inlining(Inlining::No)),
                ("gc", |s| {
                    _ = s.config.compiler_inlining(Inlining::InterModuleAndIntraGc)
                }),
                ("inter-module", |s| {
                    _ = s.config.compiler_inlining(Inlining::InterModule)
                }),
                ("intrinsics", |s| {
                    _ = s.config.compiler_inlining(Inlining::Intrinsics)
                }),
            ]),
        },
        Row {
            key: "regalloc-algorithm",
            default: "backtracking",
            help: "How registers are given out: well, or fast.",
            apply: Apply::Choice(&[
                ("backtracking", |s| {
                    _ = s
                        .config
                        .cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking)
                }),
                ("single-pass", |s| {
                    _ = s
                        .config
                        .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass)
                }),
            ]),
        },
        Row {
            key: "parallel-compilation",
            default: "y",
            help: "Compile functions on all processors (by default not for tiny modules).",
            apply: Apply::Flag(|s, on| s.parallel_compilation = Some(on)),
        },
        Row {
            key: "nan-canonicalization",
            default: "n",
            help: "Give every NaN the same bits, for results that are the same on all hosts.",
            apply: Apply::Flag(|s, on| _ = s.config.cranelift_nan_canonicalization(on)),
        },
        Row {
            key: "native-unwind-info",
            default: "y",
            help: "Describe stack frames for native debuggers and profilers.",
            apply: Apply::Flag(|s, on| _ = s.config.native_unwind_info(on)),
        },
        Row {
            key: "emit-clif",
            default: "none",
            help: "Write the compiler's intermediate code of each function into this directory.",
            apply: Apply::Text(|s, directory| {
                std::fs::create_dir_all(directory)?;
                s.config.emit_clif(Path::new(directory));
                Ok(())
            }),
        },
        Row {
            key: "cache",
            default: "n",
            help: "Keep compiled modules on disk, and look there before compiling.",
            apply: Apply::Flag(|s, on| s.cache.enabled = Some(on)),
        },
        Row {
            key: "cache-config",
            default: "none",
            help: "Do so as this file (TOML) says, instead of the user's own, such as \
                   ~/.config/waxwing/config.toml.",
            apply: Apply::Text(|s, path| {
                s.cache.config = Some(path.into());
                Ok(())
            }),
        },
        Row {
            key: "cranelift-debug-verifier",
            default: "n",
            help: "Check the compiler's intermediate code after each step.",
            apply: Apply::Flag(|s, on| _ = s.config.cranelift_debug_verifier(on)),
        },
    ],
    passthrough: Some(&Passthrough {
        prefix: "cranelift-",
        rest: "FLAG[=VALUE]",
        help: "Set a flag of Cranelift, such as `cranelift-has_avx=false`. Unsafe: wrong flags \
               make wrong code.",
        apply: |s, flag, value| {
            let flag = flag.replace('-', "_");
            // SAFETY: the user asks for the flag by its name; the help says that
            // flags which do not fit the program or the host are at their risk.
            unsafe {
                match value {
                    Some(value) => s.config.cranelift_flag_set(&flag, value),
                    None => s.config.cranelift_flag_enable(&flag),
                }
            };
        },
    }),
};

/// Compiles for a target.
pub fn set_target(settings: &mut Settings, triple: &str) -> Result<()> {
    if triple != "host" {
        settings.config.target(triple)?;
    }
    Ok(())
}
