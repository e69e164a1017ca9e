//! The interim answers of an app (1xx, RFC 9110 section 15.2): what becomes of them before the final one is there.
//!
//! 100 opens the gate of a body that waits for it, 103 goes on to the client where that is wanted. The others have no
//! meaning here and are dropped: a recipient may ignore them.

use std::sync::Arc;

use http::{Request, StatusCode};

use crate::data_plane::body::{Key, RequestBody};
use crate::data_plane::headers;
use crate::data_plane::wire::Hints;

/// Who is to hear of interim answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Interim {
    /// The gate that 100 opens.
    pub(super) key: Option<Arc<Key>>,
    /// The client's connection, which takes 103.
    pub(super) hints: Option<Arc<Hints>>,
}

// === impl Interim ===

impl Interim {
    /// Has them told of what comes for this request before its final answer.
    pub(super) fn listen(&self, request: &mut Request<RequestBody>) {
        if self.key.is_none() && self.hints.is_none() {
            return;
        }
        let me = self.clone();
        hyper::ext::on_informational(request, move |response| {
            match (response.status(), &me.key, &me.hints) {
                (StatusCode::CONTINUE, Some(key), _) => key.turn(),
                (StatusCode::EARLY_HINTS, _, Some(hints)) => {
                    hints.push(&headers::early_hints(response.headers()));
                }
                _ => {}
            }
        });
    }
}
