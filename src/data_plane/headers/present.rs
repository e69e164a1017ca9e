//! Which of the fields that matter here stand in a head.
//!
//! Most of them stand in few heads. One pass over the names tells, and costs less than a search for two of them.

use http::HeaderMap;
use http::header::HeaderName;

use super::forwarded;

/// A set of fields, or of kinds of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::data_plane) struct Present(u16);

// === impl Present ===

impl Present {
    pub(in crate::data_plane) const CONNECTION: Self = Self(1);
    pub(in crate::data_plane) const KEEP_ALIVE: Self = Self(1 << 1);
    pub(super) const CONTENT_LENGTH: Self = Self(1 << 2);
    pub(super) const EXPECT: Self = Self(1 << 3);
    pub(super) const PROXY: Self = Self(1 << 4);
    pub(super) const TE: Self = Self(1 << 5);
    pub(super) const TRANSFER_ENCODING: Self = Self(1 << 6);
    /// The other fields that concern one connection only.
    const HOP: Self = Self(1 << 7);
    /// What claims to say where a message came from, or may be taken for one of these or for a field that frames.
    pub(super) const CLAIM: Self = Self(1 << 8);

    /// All that concern one connection only.
    pub(super) const ONE_CONNECTION: Self = Self::CONNECTION
        .and(Self::KEEP_ALIVE)
        .and(Self::TE)
        .and(Self::TRANSFER_ENCODING)
        .and(Self::HOP);

    /// What stands in this head now.
    pub(in crate::data_plane) fn of(headers: &HeaderMap) -> Self {
        let kinds = headers.keys().map(Self::kind);
        kinds.fold(Self::default(), Self::and)
    }

    /// Whether at least one of these does.
    pub(in crate::data_plane) fn has(self, any_of: Self) -> bool {
        self.0 & any_of.0 != 0
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn kind(name: &HeaderName) -> Self {
        let none = Self::default();
        let text = name.as_str().as_bytes();
        // Most names are told apart by their first letter.
        match text.first() {
            Some(b'c') => match text {
                b"connection" => Self::CONNECTION,
                b"content-length" => Self::CONTENT_LENGTH,
                _ => Self::claim(forwarded::is_disguised(name)),
            },
            Some(b'e') if text == b"expect" => Self::EXPECT,
            Some(b'f' | b'x') => Self::claim(forwarded::is_claim(name)),
            Some(b'h') if text == b"http2-settings" => Self::HOP,
            Some(b'k') if text == b"keep-alive" => Self::KEEP_ALIVE,
            Some(b'p') => match text {
                b"proxy" => Self::PROXY,
                b"proxy-connection" | b"proxy-authenticate" | b"proxy-authorization" => Self::HOP,
                _ => none,
            },
            Some(b't') => match text {
                b"te" => Self::TE,
                b"transfer-encoding" => Self::TRANSFER_ENCODING,
                _ => Self::claim(forwarded::is_disguised(name)),
            },
            Some(b'u') if text == b"upgrade" => Self::HOP,
            _ => none,
        }
    }

    fn claim(is_one: bool) -> Self {
        if is_one { Self::CLAIM } else { Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::data_plane::headers::hop_by_hop;

    fn of(name: &str) -> Present {
        let mut headers = HeaderMap::new();
        for name in ["host", "accept", name, "user-agent"] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_static("x"));
        }
        Present::of(&headers)
    }

    #[test]
    fn every_field_that_is_stripped_is_seen() {
        for name in hop_by_hop::names() {
            assert!(of(name.as_str()).has(Present::ONE_CONNECTION), "{name}");
        }
    }

    #[test]
    fn each_field_is_what_it_is_and_nothing_else() {
        for (name, what) in [
            ("Connection", Present::CONNECTION),
            ("keep-alive", Present::KEEP_ALIVE),
            ("content-length", Present::CONTENT_LENGTH),
            ("expect", Present::EXPECT),
            ("Proxy", Present::PROXY),
            ("te", Present::TE),
            ("transfer-encoding", Present::TRANSFER_ENCODING),
            ("x-forwarded-for", Present::CLAIM),
            ("x-forwarded-anything", Present::CLAIM),
            ("x_real_ip", Present::CLAIM),
            ("x-request-id", Present::CLAIM),
            ("forwarded", Present::CLAIM),
            ("content_length", Present::CLAIM),
            ("transfer_encoding", Present::CLAIM),
            ("content-type", Present::default()),
            ("trailer", Present::default()),
            ("cookie", Present::default()),
            ("proxy-status", Present::default()),
            ("x-other", Present::default()),
        ] {
            assert_eq!(of(name), what, "{name}");
        }
    }
}
