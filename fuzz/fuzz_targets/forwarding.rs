//! Forwarding fields: nobody speaks for somebody else.
#![no_main]

use hitless::data_plane::properties::forwarding;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| forwarding(bytes));
