//! What is kept of a request's body: what has been received and not been passed on, and what may have to be passed on
//! again. Performs no I/O.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

/// Smaller pieces are copied together: one alone would keep the whole buffer alive that it was read into.
const SMALL: usize = 4096;

/// The kept part of one body. Keeps nothing unless it is told to.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// Not passed on yet by the attempt under way.
    ahead: Pieces,
    /// Passed on by it.
    behind: Pieces,
    /// How many bytes may be kept so that the body can be passed on again; none: it cannot be.
    limit: Option<usize>,
}

/// A part of a body.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// Pieces in their order.
#[derive(Debug, Default)]
struct Pieces {
    whole: VecDeque<Piece>,
    /// Small ones, which come after the others.
    small: BytesMut,
    bytes: usize,
}

// === impl Store ===

impl Store {
    /// Keeps what is passed on from here on, as long as the whole body is not larger than this.
    pub(super) fn keep(&mut self, bytes_max: usize) {
        self.limit = Some(bytes_max);
        self.check();
    }

    /// The body will not be passed on again.
    pub(super) fn release(&mut self) {
        self.limit = None;
        self.behind = Pieces::default();
    }

    /// Whether all that has been passed on can be passed on again.
    pub(super) fn is_kept(&self) -> bool {
        self.limit.is_some()
    }

    /// Whether so many more bytes can be kept as well.
    pub(super) fn has_room_for(&self, bytes: u64) -> bool {
        let room = self
            .limit
            .map(|limit| limit.saturating_sub(self.bytes()) as u64);
        room.is_some_and(|room| bytes <= room)
    }

    /// How many bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        self.ahead.bytes + self.behind.bytes
    }

    /// How many bytes it holds that are to be passed on.
    pub(super) fn bytes_ahead(&self) -> usize {
        self.ahead.bytes
    }

    /// Whether there is nothing in it that is to be passed on.
    pub(super) fn is_passed(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Takes in what came before anybody asked for it.
    pub(super) fn receive(&mut self, piece: Piece) {
        self.ahead.push(piece);
        self.check();
    }

    /// What is to be passed on next.
    pub(super) fn next(&mut self) -> Option<Piece> {
        let piece = self.ahead.pop()?;
        if self.is_kept() {
            self.behind.push(piece.clone());
        }
        Some(piece)
    }

    /// This is being passed on as it comes.
    pub(super) fn pass(&mut self, frame: &Frame<Bytes>) {
        if self.is_kept()
            && let Some(piece) = Piece::of(frame)
        {
            self.behind.push(piece);
            self.check();
        }
    }

    /// All that is kept is to be passed on again.
    pub(super) fn rewind(&mut self) {
        let mut all = std::mem::take(&mut self.behind);
        while let Some(piece) = self.ahead.pop() {
            all.push(piece);
        }
        self.ahead = all;
    }

    fn check(&mut self) {
        if self.limit.is_some_and(|limit| self.bytes() > limit) {
            self.release();
        }
    }
}

// === impl Piece ===

impl Piece {
    pub(super) fn of(frame: &Frame<Bytes>) -> Option<Self> {
        let data = frame.data_ref().cloned().map(Self::Data);
        data.or_else(|| frame.trailers_ref().cloned().map(Self::Trailers))
    }
}

impl From<Piece> for Frame<Bytes> {
    fn from(piece: Piece) -> Self {
        match piece {
            Piece::Data(data) => Self::data(data),
            Piece::Trailers(trailers) => Self::trailers(trailers),
        }
    }
}

// === impl Pieces ===

impl Pieces {
    fn push(&mut self, piece: Piece) {
        match piece {
            Piece::Data(data) if data.len() < SMALL => {
                self.bytes += data.len();
                self.small.extend_from_slice(&data);
            }
            Piece::Data(data) => {
                self.bytes += data.len();
                self.close_small();
                self.whole.push_back(Piece::Data(data));
            }
            Piece::Trailers(trailers) => {
                self.close_small();
                self.whole.push_back(Piece::Trailers(trailers));
            }
        }
    }

    fn pop(&mut self) -> Option<Piece> {
        if self.whole.is_empty() {
            self.close_small();
        }
        let piece = self.whole.pop_front()?;
        if let Piece::Data(data) = &piece {
            self.bytes -= data.len();
        }
        Some(piece)
    }

    fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.small.is_empty()
    }

    fn close_small(&mut self) {
        if !self.small.is_empty() {
            let small = self.small.split().freeze();
            self.whole.push_back(Piece::Data(small));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    fn text(store: &mut Store) -> String {
        let mut text = String::new();
        while let Some(piece) = store.next() {
            match piece {
                Piece::Data(data) => text.push_str(std::str::from_utf8(&data).unwrap()),
                Piece::Trailers(_) => text.push('.'),
            }
        }
        text
    }

    #[test]
    fn what_was_passed_on_comes_again_in_its_order() {
        let large: &str = "x".repeat(SMALL).leak();
        let mut store = Store::default();
        store.keep(3 * SMALL);
        for part in ["a", "b", large, "c"] {
            store.pass(&frame(part));
        }
        store.pass(&Frame::trailers(HeaderMap::new()));
        for _ in 0..2 {
            assert!(store.is_passed());
            store.rewind();
            assert_eq!(store.bytes_ahead(), SMALL + 3);
            assert_eq!(text(&mut store), format!("ab{large}c."));
        }
        // Broken off in the middle.
        store.rewind();
        assert!(store.next().is_some());
        store.rewind();
        assert_eq!(text(&mut store), format!("ab{large}c."));
    }

    #[test]
    fn past_its_limit_nothing_is_kept() {
        let mut store = Store::default();
        store.keep(3);
        store.pass(&frame("abc"));
        assert!(store.is_kept() && !store.has_room_for(1));
        store.pass(&frame("d"));
        assert!(!store.is_kept());
        assert_eq!(store.bytes(), 0);
    }

    #[test]
    fn what_was_not_passed_on_survives_the_end_of_keeping() {
        let mut store = Store::default();
        store.receive(Piece::Data(Bytes::from_static(b"abc")));
        store.keep(2);
        assert!(!store.is_kept());
        assert_eq!(text(&mut store), "abc");
        assert_eq!(store.bytes(), 0);
    }
}
