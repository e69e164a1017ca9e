//! A value that one worker reads on the path of its requests, and that is replaced between two polls.

use std::cell::RefCell;
use std::rc::Rc;

/// What is in force on this worker. To read it costs a count that no other thread writes.
#[derive(Debug)]
pub(super) struct InForce<T>(RefCell<Rc<T>>);

impl<T> InForce<T> {
    pub(super) fn new(value: T) -> Self {
        Self(RefCell::new(Rc::new(value)))
    }

    /// The value of this moment; whoever keeps it goes on with it.
    pub(super) fn get(&self) -> Rc<T> {
        Rc::clone(&self.0.borrow())
    }

    /// From now on it is this one.
    pub(super) fn set(&self, value: T) {
        self.0.replace(Rc::new(value));
    }
}
