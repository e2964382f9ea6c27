#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use waxwing_tests::suspension;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = suspension::run(&mut Unstructured::new(bytes)) {
        panic!("{error:?}");
    }
});
