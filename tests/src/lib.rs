//! Whole-engine tests of Waxwing; see the files beside `Cargo.toml`.
