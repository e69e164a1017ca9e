//! The head of a request, kept as bytes while the request is on its way.
//!
//! Nearly every request is kept and nearly none is sent again: keeping must cost nothing, and making a request of it may.
//! A copy of the header map would be two allocations and a count on each name and value; this is a copy of their bytes
//! into memory that the thread has used before.

use std::cell::RefCell;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};

/// How much memory a thread keeps for this: so many heads, each at most so large.
const SPARE_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 8 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Method, target and fields of a request.
#[derive(Debug)]
pub(super) struct KeptHead {
    method: Method,
    uri: Uri,
    /// Each field as the length of its name, the length of its value, name and value.
    fields: Vec<u8>,
}

// === impl KeptHead ===

impl KeptHead {
    pub(super) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let mut fields = spare();
        for (name, value) in headers {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            put_length(&mut fields, name);
            put_length(&mut fields, value);
            fields.extend_from_slice(name);
            fields.extend_from_slice(value);
        }
        Self {
            method: method.clone(),
            uri: uri.clone(),
            fields,
        }
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The fields as they were, each with all its lines in their order.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut rest = &self.fields[..];
        while !rest.is_empty() {
            let name = take_length(&mut rest);
            let value = take_length(&mut rest);
            let name = HeaderName::from_bytes(take(&mut rest, name));
            let value = HeaderValue::from_bytes(take(&mut rest, value));
            headers.append(
                name.expect("it was a name when it was kept"),
                value.expect("it was a value when it was kept"),
            );
        }
        headers
    }
}

impl Drop for KeptHead {
    fn drop(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        if fields.capacity() > SPARE_BYTES_MAX {
            return;
        }
        fields.clear();
        // While the thread ends there may be nothing left to give it back to.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.push(fields);
            }
        });
    }
}

fn spare() -> Vec<u8> {
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
    spare.ok().flatten().unwrap_or_default()
}

fn put_length(fields: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("a head has a few MiB at most");
    fields.extend_from_slice(&length.to_ne_bytes());
}

fn take_length(rest: &mut &[u8]) -> usize {
    let (length, after) = rest
        .split_first_chunk()
        .expect("each field begins with both lengths");
    *rest = after;
    u32::from_ne_bytes(*length) as usize
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (bytes, after) = rest.split_at(length);
    *rest = after;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(headers: &HeaderMap) -> KeptHead {
        KeptHead::of(&Method::GET, &Uri::from_static("/a?b"), headers)
    }

    #[test]
    fn a_head_comes_back_as_it_was() {
        let mut headers = HeaderMap::new();
        headers.append("host", HeaderValue::from_static("example.org"));
        headers.append("cookie", HeaderValue::from_static("a=1"));
        headers.append("x-empty", HeaderValue::from_static(""));
        headers.append("cookie", HeaderValue::from_static("b=2"));
        headers.append("x-other", HeaderValue::from_bytes(b"\xfc\t\"").unwrap());
        let kept = kept(&headers);
        assert_eq!(kept.headers(), headers);
        let lines: Vec<_> = kept.headers().get_all("cookie").iter().cloned().collect();
        assert_eq!(lines, ["a=1", "b=2"]);
        assert_eq!((kept.method(), kept.uri().path()), (&Method::GET, "/a"));
    }

    #[test]
    fn memory_is_used_again_and_holds_nothing_of_the_one_before() {
        let mut headers = HeaderMap::new();
        headers.append("x-long", HeaderValue::from_static("a value of some length"));
        let first = kept(&headers);
        let memory = first.fields.as_ptr();
        drop(first);
        headers.clear();
        headers.append("x", HeaderValue::from_static("y"));
        let second = kept(&headers);
        assert_eq!(second.fields.as_ptr(), memory);
        assert_eq!(second.headers(), headers);
    }

    #[test]
    fn what_is_kept_for_later_is_bounded() {
        let heads: Vec<_> = (0..2 * SPARE_MAX)
            .map(|_| kept(&HeaderMap::new()))
            .collect();
        drop(heads);
        let mut large = HeaderMap::new();
        let value = "x".repeat(SPARE_BYTES_MAX + 1);
        large.append("x-large", HeaderValue::try_from(value).unwrap());
        SPARE.with(|spare| spare.borrow_mut().truncate(1));
        drop(kept(&large));
        SPARE.with(|spare| {
            let spare = spare.borrow();
            assert!(spare.iter().all(|one| one.capacity() <= SPARE_BYTES_MAX));
            assert!(spare.len() <= SPARE_MAX);
        });
    }
}
