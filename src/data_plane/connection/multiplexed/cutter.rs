//! Where the frames of HTTP/2 begin and end in the bytes of one direction, and what their heads say.

/// Types of frames: RFC 9113 section 6.
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const HEADERS: u8 = 1;
    pub(in super::super) const RST_STREAM: u8 = 3;
    pub(in super::super) const SETTINGS: u8 = 4;
    pub(in super::super) const GOAWAY: u8 = 7;
    pub(in super::super) const CONTINUATION: u8 = 9;
}

/// RFC 9113 section 4.1.
pub(super) const HEAD_LENGTH: usize = 9;

/// Cuts bytes into frames.
#[derive(Debug)]
pub(super) struct Cutter {
    head: [u8; HEAD_LENGTH],
    have: usize,
    /// How much of the payload is still to come.
    left: usize,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

// === impl Cutter ===

impl Cutter {
    /// One that leaves so many bytes out first.
    pub(super) fn after(left: usize) -> Self {
        Self {
            head: [0; HEAD_LENGTH],
            have: 0,
            left,
        }
    }

    /// Whether the bytes so far end with a frame.
    pub(super) fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Tells of each frame once its head is whole.
    pub(super) fn cut(&mut self, mut bytes: &[u8], mut on_frame: impl FnMut(Head)) {
        loop {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let taken = bytes.len().min(HEAD_LENGTH - self.have);
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have < HEAD_LENGTH {
                return;
            }
            self.have = 0;
            let head = Head::of(self.head);
            self.left = head.length;
            on_frame(head);
        }
    }
}

// === impl Head ===

impl Head {
    fn of(bytes: [u8; HEAD_LENGTH]) -> Self {
        let [high, middle, low, kind, flags, stream @ ..] = bytes;
        let length = u32::from_be_bytes([0, high, middle, low]);
        Self {
            length: usize::try_from(length).expect("24 bits fit"),
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u8, kind: u8, flags: u8, stream: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
        bytes.resize(HEAD_LENGTH + usize::from(length), 0xff);
        bytes
    }

    #[test]
    fn frames_are_cut_the_same_wherever_the_bytes_are_split() {
        let bytes = [
            b"abc".to_vec(),
            frame(0, 4, 0, 0),
            frame(200, kind::HEADERS, 4, 1),
            frame(3, kind::DATA, 0, 1),
        ]
        .concat();
        for step in [1, 2, 8, 9, 10, bytes.len()] {
            let mut cutter = Cutter::after(3);
            let mut kinds = Vec::new();
            for part in bytes.chunks(step) {
                cutter.cut(part, |head| kinds.push((head.kind, head.length)));
            }
            assert_eq!(kinds, [(4, 0), (1, 200), (0, 3)], "{step}");
            assert!(cutter.is_between());
        }
    }
}
