//! Why the body of a request did not come to its end.

/// Why a body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(in crate::data_plane) enum UploadError {
    #[error("the client's body ended early: {0}")]
    Client(#[from] hyper::Error),
    #[error("the client's body is larger than allowed")]
    TooLarge,
    /// hyper resets the stream with the code of this.
    #[error("the request was given up: {0}")]
    GivenUp(#[source] h2::Error),
}

// === impl UploadError ===

impl UploadError {
    /// RFC 9113 section 7: the stream is not needed any more.
    pub(super) fn given_up() -> Self {
        Self::GivenUp(h2::Reason::CANCEL.into())
    }
}
