//! `src/live.rs` on loom's types, as it is and with a fault planted.

#[path = "../../../src/generation.rs"]
pub mod generation;

/// The alias module of `live`: a mutex stands in for the pointer that arc-swap guards, for loom cannot look into it.
/// Taking a lock orders no more than arc-swap's operations do, each of which is sequentially consistent.
mod sync {
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

    #[derive(Debug)]
    pub(crate) struct Slot<T>(loom::sync::Mutex<Arc<T>>);

    impl<T> Slot<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(Arc::new(value)))
        }

        pub(crate) fn load(&self) -> Arc<T> {
            self.0.lock().expect("no holder panics").clone()
        }

        pub(crate) fn store(&self, value: T) {
            *self.0.lock().expect("no holder panics") = Arc::new(value);
        }
    }

    #[derive(Debug)]
    pub(crate) struct Bell;

    impl Bell {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn ring(&self) {}
    }
}

/// The meeting point as it is.
pub mod live {
    include!(concat!(env!("OUT_DIR"), "/live.rs"));
}

/// The meeting point without its second load.
pub mod faulty {
    include!(concat!(env!("OUT_DIR"), "/faulty.rs"));
}
