//! Where an event stream may end: after the blank line that ends an event.

use bytes::Bytes;

/// Follows an event stream line by line.
#[derive(Debug)]
pub(super) struct Events {
    /// The last byte ended a line.
    line_ended: bool,
    /// The last line ended an event, or nothing came yet.
    between: bool,
    after_return: bool,
    closing: bool,
}

// === impl Events ===

impl Default for Events {
    fn default() -> Self {
        Self {
            line_ended: true,
            between: true,
            after_return: false,
            closing: false,
        }
    }
}

impl Events {
    /// It is to end as soon as it can.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Whether it ends here.
    pub(super) fn ends_here(&self) -> bool {
        self.closing && self.between
    }

    /// What of `data` is passed on: all of it, or when it is to end, what belongs to the event that has begun.
    pub(super) fn pass(&mut self, data: Bytes) -> Bytes {
        for (index, &byte) in data.iter().enumerate() {
            if self.ends_here() && !(byte == b'\n' && self.after_return) {
                return data.slice(..index);
            }
            self.step(byte);
        }
        data
    }

    fn step(&mut self, byte: u8) {
        let second_half = byte == b'\n' && self.after_return;
        self.after_return = byte == b'\r';
        if second_half {
            return;
        }
        let ends_line = matches!(byte, b'\n' | b'\r');
        self.between = ends_line && self.line_ended;
        self.line_ended = ends_line;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: &'static str, after: &'static str, passed: &str) {
        let mut events = Events::default();
        events.pass(Bytes::from_static(before.as_bytes()));
        events.close();
        if events.ends_here() {
            assert_eq!(passed, "");
        } else {
            assert_eq!(events.pass(Bytes::from_static(after.as_bytes())), passed);
            assert!(events.ends_here());
        }
    }

    #[test]
    fn a_stream_ends_between_two_events() {
        check("", "data: 1\n\n", "");
        check("data: 1\n\n", "data: 2\n\n", "");
        check("data: 1", "2\n\ndata: 3\n\n", "2\n\n");
        check("data: 1\n", "\ndata: 2", "\n");
        check("data: 1\r\n", "\r\ndata: 2", "\r\n");
        check("data: 1\r", "\rdata: 2", "\r");
        check("data: 1\r\n\r\n", "data: 2", "");
    }
}
