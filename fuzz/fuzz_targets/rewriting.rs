//! Fields of a head: a rewritten one claims nothing that it may not.
#![no_main]

use hitless::data_plane::properties::rewriting;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rewriting(bytes));
