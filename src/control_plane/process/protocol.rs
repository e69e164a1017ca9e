//! What hitless and its keeper say to each other: requests one way, replies the other, each in a frame of bounded
//! length (four bytes, little-endian, then that many bytes of postcard).
//!
//! Performs no I/O.

use std::ffi::OsString;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// How long a frame may be, in bytes. The kernel takes arguments and environment of some 6 MiB at most.
pub(super) const FRAME_BYTES_MAX: usize = 8 << 20;

/// The length of the length.
const HEAD_BYTES: usize = 4;

/// What hitless asks the keeper for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    /// Start a program. Its standard output and standard error come along as two descriptors.
    Spawn(Spawn),
    /// Send a signal to the process group of an instance. One that has exited gets nothing.
    Signal { id: u64, signal: Signal },
}

/// A program with all it is given.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spawn {
    /// The instance, by a number that is never used twice.
    pub(super) id: u64,
    /// The program and its arguments; not empty.
    pub(super) command: Vec<OsString>,
    /// The whole environment: nothing is inherited.
    pub(super) environment: Vec<(OsString, OsString)>,
    /// Where it starts.
    pub(super) directory: OsString,
    /// The user to become.
    pub(super) user: Option<u32>,
    /// The group to become.
    pub(super) group: Option<u32>,
}

/// The signals that are ever sent to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Signal {
    /// SIGTERM: please end.
    Terminate,
    /// SIGKILL: end.
    Kill,
}

/// What the keeper answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The keeper is there, and signals no longer end it.
    Ready,
    /// It runs, and leads a process group of the same number. Said before its `Exited`.
    Spawned { id: u64, pid: u32 },
    /// It never ran.
    SpawnFailed { id: u64, failure: SpawnFailure },
    /// It has exited and its group is killed. Said once.
    Exited { id: u64, exit: Exit },
}

/// Why a program could not be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SpawnFailure {
    /// The number of the error, 0 where the kernel gave none.
    pub(super) errno: i32,
    /// One sentence without a full stop, such as `cannot start "serve": command not found`.
    pub(super) message: String,
}

/// How an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// With the keeper, its parent, so that nobody knows how.
    Keeper,
}

/// Bytes that are no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// More than [`FRAME_BYTES_MAX`].
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
    /// It does not mean anything.
    #[error("a message cannot be read: {0}")]
    Malformed(#[from] postcard::Error),
}

/// Collects bytes until they are messages.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
}

/// The bytes of one message.
///
/// # Errors
///
/// When it is longer than [`FRAME_BYTES_MAX`].
pub(super) fn frame(message: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let mut frame = postcard::to_extend(message, vec![0; HEAD_BYTES])?;
    let length = frame.len() - HEAD_BYTES;
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    let head = u32::try_from(length).map_err(|_| FrameError::TooLong(length))?;
    frame[..HEAD_BYTES].copy_from_slice(&head.to_le_bytes());
    Ok(frame)
}

// === impl Inbox ===

impl Inbox {
    /// Takes what arrived.
    pub(super) fn fill(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, if it has arrived.
    ///
    /// # Errors
    ///
    /// When what has arrived is no message; what follows is lost then.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let Some(head) = self.bytes.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(length));
        }
        let Some(body) = self.bytes.get(HEAD_BYTES..HEAD_BYTES + length) else {
            return Ok(None);
        };
        let message = postcard::from_bytes(body)?;
        self.bytes.drain(..HEAD_BYTES + length);
        Ok(Some(message))
    }
}

// === impl Exit ===

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Status(status) => write!(f, "exited with status {status}"),
            Self::Signal(signal) => match signal_hook::low_level::signal_name(signal) {
                Some(name) => write!(f, "was killed by {name}"),
                None => write!(f, "was killed by signal {signal}"),
            },
            Self::Keeper => f.write_str("was lost with the keeper that ran it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spawn() -> Request {
        Request::Spawn(Spawn {
            id: 7,
            command: vec!["serve".into(), "--port".into(), "1".into()],
            environment: vec![("A".into(), "b c".into())],
            directory: "/".into(),
            user: None,
            group: Some(3),
        })
    }

    #[test]
    fn messages_arrive_whole_however_they_are_cut() {
        let signal = Request::Signal {
            id: 7,
            signal: Signal::Kill,
        };
        let bytes = [frame(&spawn()).unwrap(), frame(&signal).unwrap()].concat();
        let mut inbox = Inbox::default();
        let mut got = Vec::new();
        for byte in bytes {
            inbox.fill(&[byte]);
            while let Some(message) = inbox.next::<Request>().unwrap() {
                got.push(message);
            }
        }
        assert_eq!(got, [spawn(), signal]);
    }

    #[test]
    fn a_frame_past_the_bound_is_refused_before_it_is_collected() {
        let mut inbox = Inbox::default();
        inbox.fill(&u32::MAX.to_le_bytes());
        assert!(matches!(
            inbox.next::<Request>(),
            Err(FrameError::TooLong(_))
        ));
    }

    #[test]
    fn exits_read_as_sentences() {
        let check = |exit: Exit, said: &str| assert_eq!(exit.to_string(), said);
        check(Exit::Status(1), "exited with status 1");
        check(Exit::Signal(11), "was killed by SIGSEGV");
        check(Exit::Signal(9), "was killed by SIGKILL");
        check(Exit::Signal(40), "was killed by signal 40");
    }
}
