//! Bytes of a client: the app reads the very requests that were let through.
#![no_main]

use hitless::data_plane::properties::heads;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| heads(bytes));
