//! Bytes of a WebSocket: a direction is cut between two frames only.
#![no_main]

use hitless::data_plane::properties::frames;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| frames(bytes));
