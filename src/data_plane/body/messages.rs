//! Where the answer of a gRPC call may end: between two of its messages, each of which begins with its length.

use bytes::Bytes;

/// What stands before a message: whether it is compressed, and its length in four bytes.
const PREFIX: usize = 5;

/// Follows an answer message by message, without a look into them.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// How much of a prefix has come; none of it: between two messages, or within one.
    prefix: usize,
    /// The length as far as it has come.
    length: u32,
    /// How much of a message is still to come.
    left: usize,
    closing: bool,
    cut: bool,
}

// === impl Messages ===

impl Messages {
    /// It is to end as soon as it can.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Whether it ends here.
    pub(super) fn ends_here(&self) -> bool {
        self.closing && self.is_between()
    }

    /// Whether a message that had come was left out: whatever the app says at its end speaks of more than the client has.
    pub(super) fn was_cut(&self) -> bool {
        self.cut
    }

    /// What of `data` is passed on: all of it, or when it is to end, what belongs to the message that has begun.
    pub(super) fn pass(&mut self, data: Bytes) -> Bytes {
        let mut at = 0;
        while at < data.len() {
            if self.ends_here() {
                self.cut = true;
                return data.slice(..at);
            }
            at += self.step(&data[at..]);
        }
        data
    }

    fn is_between(&self) -> bool {
        self.prefix == 0 && self.left == 0
    }

    /// Takes what comes first, and says how many bytes that is.
    fn step(&mut self, rest: &[u8]) -> usize {
        if self.left > 0 {
            let taken = self.left.min(rest.len());
            self.left -= taken;
            return taken;
        }
        self.length = match self.prefix {
            0 => 0,
            _ => self.length << 8 | u32::from(rest[0]),
        };
        self.prefix += 1;
        if self.prefix == PREFIX {
            self.prefix = 0;
            self.left = self.length as usize;
        }
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"\0\0\0\x01\x02\0\0\0\0\0\x01\0\0\0\x03abc";

    /// As it comes in pieces of this size and is told to close before `at`: where it ends.
    fn end(size: usize, at: usize, answer: &[u8]) -> Option<usize> {
        let mut messages = Messages::default();
        let mut passed = 0;
        for (index, piece) in answer.chunks(size).enumerate() {
            if index * size >= at {
                messages.close();
            }
            if messages.ends_here() {
                return Some(passed);
            }
            let data = messages.pass(Bytes::copy_from_slice(piece));
            assert_eq!(data, answer[passed..passed + data.len()]);
            passed += data.len();
        }
        messages.close();
        messages.ends_here().then_some(passed)
    }

    #[test]
    fn an_answer_ends_between_two_messages() {
        let mut answer = TWO.to_vec();
        // The first is 258 bytes long, the second empty, and the third three bytes.
        answer.splice(5..5, vec![b'x'; 258]);
        let ends = [0, 263, 268, answer.len()];
        for size in [1, 2, 7, 100, answer.len()] {
            for at in 0..=answer.len() {
                let told = at.div_ceil(size) * size;
                let expected = ends.into_iter().find(|end| *end >= told.min(answer.len()));
                assert_eq!(end(size, at, &answer), expected, "{size} {at}");
            }
        }
    }

    #[test]
    fn what_is_left_out_is_remembered() {
        const ONE_MORE: &[u8] = b"\0\0\0\0\x03abc\0\0\0\0\x01z";
        for (come, passes) in [(4, 4), (8, 8), (9, 8), (14, 8)] {
            let mut messages = Messages::default();
            messages.pass(Bytes::from_static(&ONE_MORE[..2]));
            messages.close();
            let passed = messages.pass(Bytes::from_static(&ONE_MORE[2..come]));
            assert_eq!(passed.len() + 2, passes, "{come}");
            assert_eq!(messages.was_cut(), come > passes, "{come}");
        }
    }

    #[test]
    fn a_message_that_does_not_come_to_its_end_is_no_place_to_end() {
        assert_eq!(end(3, 0, b"\0\0\0\0\x09abc"), Some(0));
        assert_eq!(end(3, 1, b"\0\0\0\0\x09abc"), None);
        assert_eq!(end(1, 3, b"\0\0\0\0"), None);
    }
}
