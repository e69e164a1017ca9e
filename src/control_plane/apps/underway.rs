//! Which reloads are under way: from the reading of the configuration to the last verdict, whether or not anybody
//! listens.

use std::sync::Arc;

use tokio::sync::watch;

/// How many reloads there were so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// How many have begun.
    pub begun: u64,
    /// How many of them have ended: refused, or with a verdict for each app.
    pub ended: u64,
}

/// Counts them.
#[derive(Debug, Default)]
pub(super) struct Register(Arc<watch::Sender<Reloads>>);

/// One reload; it ends with the last of its clones.
#[derive(Clone, Debug)]
pub(super) struct Underway {
    _end: Arc<End>,
}

#[derive(Debug)]
struct End(Arc<watch::Sender<Reloads>>);

// === impl Register, End ===

impl Register {
    pub(super) fn begin(&self) -> Underway {
        self.0.send_modify(|reloads| reloads.begun += 1);
        Underway {
            _end: Arc::new(End(Arc::clone(&self.0))),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Reloads> {
        self.0.subscribe()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.send_modify(|reloads| reloads.ended += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_ends_with_its_last_part() {
        let register = Register::default();
        let reloads = register.watch();
        let one = register.begin();
        let two = register.begin();
        let part = one.clone();
        drop((one, two));
        assert_eq!(*reloads.borrow(), Reloads { begun: 2, ended: 1 });
        drop(part);
        assert_eq!(*reloads.borrow(), Reloads { begun: 2, ended: 2 });
    }
}
