//! What a case is. `{c}` in bytes stands for a word of the case's own.

use super::support::raw::Ends;

/// Bytes of a client and what becomes of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) send: &'static [u8],
    /// The client says after them that nothing more comes.
    pub(crate) finish: bool,
    /// The statuses of the answers, in order; 1xx count.
    pub(crate) answers: &'static [u16],
    /// How the connection goes on after the last of them.
    pub(crate) ends: Ends,
    pub(crate) upstream: Upstream,
}

/// What the app gets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Upstream {
    /// Not a byte.
    Nothing,
    /// These requests: line, fields in the order of their names, an empty line, body, trailers.
    Whole(&'static [&'static [u8]]),
    /// Nothing that it can take for a whole request; the head may be on its way before the body turns out bad.
    Part,
}

/// Answered with this status and closed; not a byte goes upstream.
pub(crate) const fn refused(
    name: &'static str,
    answers: &'static [u16],
    send: &'static [u8],
) -> Case {
    Case {
        name,
        send,
        finish: false,
        answers,
        ends: Ends::Closed,
        upstream: Upstream::Nothing,
    }
}

/// Passed on as written here and answered; the connection goes on.
pub(crate) const fn passed(
    name: &'static str,
    send: &'static [u8],
    upstream: &'static [&'static [u8]],
) -> Case {
    Case {
        name,
        send,
        finish: false,
        answers: &[200],
        ends: Ends::Open,
        upstream: Upstream::Whole(upstream),
    }
}

/// The same, and the connection is closed.
pub(crate) const fn last(
    name: &'static str,
    send: &'static [u8],
    upstream: &'static [&'static [u8]],
) -> Case {
    Case {
        ends: Ends::Closed,
        ..passed(name, send, upstream)
    }
}

/// The body breaks a rule, which may turn out only after the head has been passed on.
pub(crate) const fn broken(
    name: &'static str,
    answers: &'static [u16],
    send: &'static [u8],
) -> Case {
    Case {
        upstream: Upstream::Part,
        ..refused(name, answers, send)
    }
}

impl Case {
    /// With other answers than one 200.
    pub(crate) const fn answered(self, answers: &'static [u16]) -> Self {
        Self { answers, ..self }
    }

    /// The client says that nothing more comes.
    pub(crate) const fn finished(self) -> Self {
        Self {
            finish: true,
            ..self
        }
    }
}
