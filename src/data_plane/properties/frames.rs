//! What clients and apps send through a WebSocket.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};

use crate::data_plane::tunnel::frames::Frames;
use crate::data_plane::tunnel::way::{Passed, Until, Way};

/// How many of the bytes say in which pieces the others come, and after how many the order to close does.
const PLAN: usize = 4;

/// A frame as somebody reads it who has all bytes at once.
#[derive(Debug)]
struct Frame {
    end: usize,
    closes: bool,
}

/// The first bytes say how the others come; those are one direction of a WebSocket.
///
/// # Panics
///
/// When a frame is taken to end where it does not, or a direction is cut elsewhere than between two frames.
pub fn frames(bytes: &[u8]) {
    let Some((&[small, large, high, low], bytes)) = bytes.split_first_chunk::<PLAN>() else {
        return;
    };
    let told_after = usize::from(u16::from_be_bytes([high, low])).min(bytes.len());
    let sizes = [usize::from(small) + 1, (usize::from(large) + 1) * 64];
    let whole = read(bytes);
    follows(bytes, &whole, sizes);

    let ends = |until: Until| {
        let mut way = Way::default();
        let mut passed = Vec::new();
        let before = pass(
            &mut way,
            &bytes[..told_after],
            sizes,
            &mut passed,
            Until::End,
        );
        assert_eq!(before, Passed::Ended);
        let after = pass(&mut way, &bytes[told_after..], sizes, &mut passed, until);
        (after, passed)
    };
    // The first place at which nothing is cut through; the very start is one.
    let mut between = std::iter::once(0).chain(whole.iter().map(|frame| frame.end));
    let first = between.find(|end| *end >= told_after);
    assert_eq!(ends(Until::Frame), cut(bytes, first));
    let mut closing = whole.iter().enumerate().filter(|(index, frame)| {
        let closed = whole[..=*index].iter().any(|frame| frame.closes);
        closed && frame.end >= told_after
    });
    let first = closing.next().map(|(_, frame)| frame.end);
    assert_eq!(ends(Until::Close), cut(bytes, first));
}

/// What is passed on of bytes that are to end there, or that end by themselves before.
fn cut(bytes: &[u8], end: Option<usize>) -> (Passed, Vec<u8>) {
    match end {
        Some(end) => (Passed::AsAsked, bytes[..end].to_vec()),
        None => (Passed::Ended, bytes.to_vec()),
    }
}

/// Piece by piece the same ends are found.
fn follows(bytes: &[u8], whole: &[Frame], sizes: [usize; 2]) {
    let mut frames = Frames::default();
    let mut at = 0;
    for piece in pieces(bytes, sizes) {
        let mut piece = piece;
        while !piece.is_empty() {
            let taken = frames.step(piece);
            assert!(taken > 0, "it goes on");
            piece = &piece[taken..];
            at += taken;
            let ended = whole.iter().position(|frame| frame.end == at);
            assert_eq!(frames.at_boundary(), ended.is_some(), "at {at}");
            if let Some(ended) = ended {
                let closed = whole[..=ended].iter().any(|frame| frame.closes);
                assert_eq!(frames.has_closed(), closed, "at {at}");
            }
        }
    }
}

/// The frames that are whole: RFC 6455 section 5.2, word by word.
fn read(bytes: &[u8]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    loop {
        let start = frames.last().map_or(0, |frame| frame.end);
        let Some(end) = end_of(&bytes[start..]).and_then(|length| start.checked_add(length)) else {
            return frames;
        };
        if end > bytes.len() {
            return frames;
        }
        frames.push(Frame {
            end,
            closes: bytes[start] % 16 == 8,
        });
    }
}

/// How long the frame is that begins here, once its header is there.
fn end_of(bytes: &[u8]) -> Option<usize> {
    let second = *bytes.get(1)?;
    let (length, head) = match second % 128 {
        126 => (
            u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
            4,
        ),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let head = head + if second >= 128 { 4 } else { 0 };
    bytes.get(..head)?;
    usize::try_from(length).ok()?.checked_add(head)
}

fn pieces(bytes: &[u8], [small, large]: [usize; 2]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    let mut turn = false;
    std::iter::from_fn(move || {
        turn = !turn;
        let size = if turn { small } else { large }.min(rest.len());
        let piece = rest.split_off(..size)?;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Passes bytes on that come in pieces and are taken at once.
fn pass(way: &mut Way, bytes: &[u8], sizes: [usize; 2], to: &mut Vec<u8>, until: Until) -> Passed {
    let mut from = Pieces(pieces(bytes, sizes));
    let mut cx = Context::from_waker(Waker::noop());
    match way.poll_pass(&mut cx, (&mut from, to), until, |_| {}) {
        Poll::Ready(passed) => passed,
        Poll::Pending => panic!("nobody is waited for"),
    }
}

struct Pieces<I>(I);

impl<'a, I: Iterator<Item = &'a [u8]> + Unpin> AsyncRead for Pieces<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if let Some(piece) = self.0.next() {
            buffer.put_slice(piece);
        }
        Poll::Ready(Ok(()))
    }
}
