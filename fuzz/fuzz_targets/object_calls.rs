#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use waxwing_tests::engines;
use waxwing_tests::object_calls::{self, Setting};

static SETTINGS: LazyLock<Vec<(&str, Setting)>> = LazyLock::new(|| {
    let variants = engines::collectors();
    let setting = |variant: engines::Variant| (variant.name, Setting::new(&variant.engine));
    variants.into_iter().map(setting).collect()
});

fuzz_target!(|bytes: &[u8]| {
    for (name, setting) in SETTINGS.iter() {
        if let Err(error) = object_calls::run(setting, &mut Unstructured::new(bytes)) {
            panic!("engine `{name}`: {error:?}");
        }
    }
});
