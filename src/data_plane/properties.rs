//! What must hold whatever strangers send. The fuzz targets call it with bytes of their own making, and the tests below
//! with bytes that are nearly right. Panics where something does not hold.
//!
//! Is part of no build that serves anybody.

mod forwarding;
mod frames;
mod heads;
mod rewriting;
mod strict;

pub use self::forwarding::forwarding;
pub use self::frames::frames;
pub use self::heads::heads;
pub use self::rewriting::rewriting;

#[cfg(test)]
mod tests;
