//! Where one WebSocket frame ends and the next begins (RFC 6455 5.2). Reads headers alone and changes no byte.

/// A frame's header has 2 bytes, up to 8 of a longer length, and 4 of a mask.
const HEADER_BYTES_MAX: usize = 14;

/// The opcode of a Close frame.
const CLOSE: u8 = 8;

/// Follows the frames of one direction.
#[derive(Debug, Default)]
pub(in crate::data_plane) struct Frames {
    header: [u8; HEADER_BYTES_MAX],
    read: usize,
    payload_left: u64,
    closed: bool,
}

impl Frames {
    /// Takes the next bytes of the direction, but none beyond the end of the frame that they are in; says how many.
    pub(in crate::data_plane) fn step(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken) {
            if self.payload_left > 0 {
                let passed = left(self.payload_left).min(bytes.len() - taken);
                self.payload_left -= passed as u64;
                taken += passed;
            } else {
                self.header[self.read] = byte;
                self.read += 1;
                taken += 1;
                if let Some(length) = self.length() {
                    self.closed |= self.header[0] & 0x0f == CLOSE;
                    self.payload_left = length;
                    self.read = 0;
                }
            }
            if self.at_boundary() {
                break;
            }
        }
        taken
    }

    /// Whether a frame may begin here.
    pub(in crate::data_plane) fn at_boundary(&self) -> bool {
        self.read == 0 && self.payload_left == 0
    }

    /// Whether a Close frame has begun: what follows it is no message.
    pub(in crate::data_plane) fn has_closed(&self) -> bool {
        self.closed
    }

    /// The length of the payload, once the header is whole.
    fn length(&self) -> Option<u64> {
        let [_, second, ..] = self.header;
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        if self.read < 2 || self.read < 2 + extended + mask {
            return None;
        }
        let long = self.header[2..2 + extended].iter();
        Some(match extended {
            0 => u64::from(second & 0x7f),
            _ => long.fold(0, |length, byte| length << 8 | u64::from(*byte)),
        })
    }
}

/// As many bytes as can be told apart here.
fn left(payload: u64) -> usize {
    usize::try_from(payload).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(frames: &mut Frames, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = frames.step(bytes);
            bytes = &bytes[taken..];
        }
    }

    /// The places, counted in bytes from the start, at which a frame may begin.
    fn boundaries(bytes: &[u8]) -> Vec<usize> {
        let mut frames = Frames::default();
        let after = |index: usize| {
            assert_eq!(frames.step(&bytes[index..=index]), 1);
            frames.at_boundary().then_some(index + 1)
        };
        (0..bytes.len()).filter_map(after).collect()
    }

    #[test]
    fn a_frame_ends_after_its_payload() {
        assert_eq!(boundaries(b"\x81\x02hi\x89\x00\x81\x01x"), [4, 6, 9]);
    }

    #[test]
    fn a_masked_frame_has_four_bytes_more() {
        assert_eq!(
            boundaries(b"\x81\x82\x01\x02\x03\x04hi\x81\x80\x01\x02\x03\x04"),
            [8, 14]
        );
    }

    #[test]
    fn no_step_goes_beyond_a_frame() {
        let mut frames = Frames::default();
        assert_eq!(frames.step(b"\x81\x02h"), 3);
        assert!(!frames.at_boundary());
        assert_eq!(frames.step(b"i\x89\x00\x81"), 1);
        assert!(frames.at_boundary());
        assert_eq!(frames.step(b"\x89\x00\x81"), 2);
        assert_eq!(frames.step(b""), 0);
    }

    #[test]
    fn a_close_frame_is_seen_and_its_bytes_in_a_payload_are_not() {
        let mut frames = Frames::default();
        feed(&mut frames, b"\x82\x02\x88\x00");
        assert!(!frames.has_closed());
        feed(&mut frames, b"\x88\x02\x03\xe8");
        assert!(frames.has_closed());
    }

    #[test]
    fn long_payloads_are_counted_whole() {
        for (head, length) in [
            (&b"\x82\x7e\x01\x00"[..], 256),
            (b"\x82\x7f\0\0\0\0\0\x01\x00\x01", 65_537),
        ] {
            let frame = [head, &vec![0; length]].concat();
            assert_eq!(boundaries(&frame), [frame.len()]);
            let mut frames = Frames::default();
            assert_eq!(frames.step(&frame), frame.len(), "the same in one piece");
            assert!(frames.at_boundary());
        }
    }
}
