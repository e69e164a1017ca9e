//! The app that a request is for, and what that app sees of its path.

use std::rc::Rc;

use http::Request;
use http::uri::{PathAndQuery, Uri};

use crate::data_plane::Expect;
use crate::data_plane::connection::Client;
use crate::data_plane::headers;
use crate::data_plane::site::Site;
use crate::telemetry::traffic::Reason;

/// Where a request goes.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) site: Rc<Site>,
    /// How many bytes at the start of the path the app does not see.
    stripped: usize,
}

// === impl Destination ===

impl Destination {
    /// The app that this request, which nobody has checked yet, is for; none: no route leads anywhere.
    pub(super) fn of<B>(request: &Request<B>, client: &Client) -> Option<Self> {
        let (site, stripped) = client.route(|| headers::host_of(request), request.uri().path())?;
        Some(Self { site, stripped })
    }

    /// Who decides on `100 Continue` there.
    pub(super) fn expect(&self) -> Expect {
        self.site.config().expect
    }

    /// Takes the prefix of the route off a target in origin form.
    ///
    /// # Errors
    ///
    /// What is left is no path.
    pub(super) fn strip(&self, uri: &mut Uri) -> Result<(), Reason> {
        if self.stripped > 0 {
            let left = without_start(uri, self.stripped).ok_or(Reason::BadRequest)?;
            *uri = Uri::from(left);
        }
        Ok(())
    }
}

fn without_start(uri: &Uri, bytes: usize) -> Option<PathAndQuery> {
    let left = uri.path_and_query()?.as_str().get(bytes..)?;
    let rooted = if left.starts_with('/') {
        left.to_owned()
    } else {
        // The prefix was the whole path.
        format!("/{left}")
    };
    PathAndQuery::try_from(rooted).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_a_path_with_its_query() {
        for (target, left) in [
            ("/api/users?a=/api", "/users?a=/api"),
            ("/api", "/"),
            ("/api/", "/"),
            ("/api?a=b", "/?a=b"),
            ("/api//evil.example", "//evil.example"),
            ("/api/%2e%2e/x", "/%2e%2e/x"),
        ] {
            let uri = target.parse().unwrap();
            assert_eq!(without_start(&uri, 4).unwrap(), left, "{target}");
        }
    }
}
