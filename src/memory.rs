//! The memory of this process beside what Rust knows of: what the allocator keeps.

/// Has the allocator hand back what this thread has freed. Takes a millisecond or two where there is much.
///
/// mimalloc keeps the pages of what was freed for the next of that size; after thousands of connections were parked that
/// is several times what they are left with. Without mimalloc as the program's allocator, as in tests of the library,
/// nothing happens.
#[allow(unsafe_code, reason = "the allocator is a library in C")]
pub(crate) fn give_back() {
    // SAFETY: it may be called at any time from any thread that the allocator serves, and touches nothing in use.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
