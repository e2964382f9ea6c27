//! `-D`: help with finding errors.

use super::{Apply, Group, Row};
use waxwing::WasmBacktraceDetails;

pub static GROUP: Group = Group {
    letter: 'D',
    title: "Debugging",
    rows: &[
        Row {
            key: "backtrace",
            default: "y",
            help: "Collect the wasm frames when a program traps.",
            apply: Apply::Flag(|s, on| _ = s.config.wasm_backtrace(on)),
        },
        Row {
            key: "backtrace-details",
            default: "environment",
            help: "Show source files and lines, if the module has debugging information; \
                   `environment` asks the variable WAXWING_BACKTRACE_DETAILS.",
            apply: Apply::Choice(&[
                ("environment", |s| {
                    _ = s
                        .config
                        .wasm_backtrace_details(WasmBacktraceDetails::Environment)
                }),
                ("y", |s| {
                    _ = s
                        .config
                        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
                }),
                ("n", |s| {
                    _ = s
                        .config
                        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
                }),
            ]),
        },
        Row {
            key: "address-map",
            default: "y",
            help: "Keep the map from machine code to offsets in the wasm file, for backtraces.",
            apply: Apply::Flag(|s, on| _ = s.config.generate_address_map(on)),
        },
        Row {
            key: "debug-info",
            default: "n",
            help: "Let native debuggers debug the program, by the debugging information in the module.",
            apply: Apply::Flag(|s, on| _ = s.config.debug_info(on)),
        },
        Row {
            key: "coredump",
            default: "none",
            help: "Write what the store holds to this file if the program traps; `%p` in its name is \
                   the number of the process.",
            apply: Apply::Text(|s, path| {
                s.config.coredump_on_trap(true);
                s.debug.coredump = Some(path.to_string());
                Ok(())
            }),
        },
        Row {
            key: "gc-stress",
            default: "n",
            help: "Collect garbage at each allocation, to find errors of collectors and embedders.",
            apply: Apply::Flag(|s, on| _ = s.config.gc_stress(on)),
        },
        Row {
            key: "logging",
            default: "off",
            help: "Log to the standard error, filtered as WAXWING_LOG would be: `info` by default, \
                   or such as `waxwing=trace`.",
            apply: Apply::OptionalText(|s, filter| {
                s.debug.logging = match filter {
                    Some("off") => None,
                    filter => Some(filter.unwrap_or("info").to_string()),
                };
            }),
        },
        Row {
            key: "log-to-files",
            default: "n",
            help: "Log to waxwing.PID.log in the current directory instead of the standard error.",
            apply: Apply::Flag(|s, on| s.debug.log_to_files = on),
        },
    ],
    passthrough: None,
};
