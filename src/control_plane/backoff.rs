//! The pauses before something that died is started again.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(200);
/// Each pause is that much longer than the one before it.
const FACTOR: f64 = 1.5;
/// No pause is longer.
const MAX: Duration = Duration::from_secs(30);
/// After that time of service the pauses begin anew.
pub const GOOD_SERVICE: Duration = Duration::from_secs(60);

/// Pauses that grow by half from 0.2 s to 30 s.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    /// How many pauses there were since the last good service.
    pauses: i32,
}

impl Backoff {
    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = FIRST.mul_f64(FACTOR.powi(self.pauses)).min(MAX);
        // Beyond the longest pause there is nothing to count.
        if pause < MAX {
            self.pauses += 1;
        }
        pause
    }

    /// How many pauses there were since the last good service; past the longest pause they are no longer counted.
    pub fn pauses(&self) -> u32 {
        self.pauses.unsigned_abs()
    }

    /// It has served well: the next pause is the first again.
    pub fn reset(&mut self) {
        self.pauses = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_by_half_up_to_thirty_seconds_and_begin_anew_after_good_service() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..14).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses[..4], [200, 300, 450, 675]);
        assert_eq!(pauses[13], 30_000);
        backoff.reset();
        assert_eq!(backoff.pause().as_millis(), 200);
    }
}
