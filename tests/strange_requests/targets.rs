//! Targets: RFC 9112 section 3.2, RFC 3986. What is passed on is passed on byte by byte.

use super::case::{Case, passed, refused};

const BAD: &[u16] = &[400];
const ROOT: &[&[u8]] = &[b"GET / HTTP/1.1\nhost: {c}.example\n\n"];

pub(crate) const CASES: &[Case] = &[
    passed(
        "escapes and slashes and dots",
        b"GET /{c}//a/./../%2e%2F%2f?x=%20&&y=+ HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /{c}//a/./../%2e%2F%2f?x=%20&&y=+ HTTP/1.1\nhost: a\n\n"],
    ),
    passed(
        "two slashes first",
        b"GET //{c}/a HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET //{c}/a HTTP/1.1\nhost: a\n\n"],
    ),
    passed(
        "dots above the root",
        b"GET /../../{c} HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /../../{c} HTTP/1.1\nhost: a\n\n"],
    ),
    passed(
        "an escaped NUL",
        b"GET /{c}%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /{c}%00 HTTP/1.1\nhost: a\n\n"],
    ),
    passed(
        "escaped line ends",
        b"GET /{c}%0d%0aX:%20y HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /{c}%0d%0aX:%20y HTTP/1.1\nhost: a\n\n"],
    ),
    passed(
        "an escape that is none",
        b"GET /{c}%zz% HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /{c}%zz% HTTP/1.1\nhost: a\n\n"],
    ),
    passed(
        "an empty query",
        b"GET /{c}? HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /{c}? HTTP/1.1\nhost: a\n\n"],
    ),
    passed(
        "question marks in a query",
        b"GET /{c}?a?b=?c HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /{c}?a?b=?c HTTP/1.1\nhost: a\n\n"],
    ),
    passed(
        "a query that looks like a target",
        b"GET /{c}?http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /{c}?http://b/ HTTP/1.1\nhost: a\n\n"],
    ),
    passed(
        "a path that looks like a target",
        b"GET /http://b/{c} HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /http://b/{c} HTTP/1.1\nhost: a\n\n"],
    ),
    passed(
        "all that a path may hold",
        b"GET /{c}-._~!$&'()*+,;=:@ HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /{c}-._~!$&'()*+,;=:@ HTTP/1.1\nhost: a\n\n"],
    ),
    // Browsers and scripts send these as they are.
    passed(
        "what must be escaped in a path and often is not",
        b"GET /{c}/\"{|}[]^\\ HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /{c}/\"{|}[]^\\ HTTP/1.1\nhost: a\n\n"],
    ),
    passed(
        "what must be escaped in a query and often is not",
        b"GET /{c}?{|}[]^`\\' HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /{c}?{|}[]^`\\' HTTP/1.1\nhost: a\n\n"],
    ),
    // The http crate knows no way to hold these.
    refused(
        "a backquote in a path",
        BAD,
        b"GET /{c}/` HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    refused(
        "a quote in a query",
        BAD,
        b"GET /{c}?\" HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    refused(
        "an angle bracket in a query",
        BAD,
        b"GET /{c}?a>b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    passed(
        "UTF-8 as it is",
        b"GET /{c}/\xc3\xa4?\xe2\x82\xac HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /{c}/\xc3\xa4?\xe2\x82\xac HTTP/1.1\nhost: a\n\n"],
    ),
    refused(
        "bytes that are not UTF-8",
        BAD,
        b"GET /{c}/\xe4 HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    refused(
        "an angle bracket in a path",
        BAD,
        b"GET /{c}/<a> HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    // A fragment is not for the server; like nginx, hitless leaves it out.
    passed(
        "a fragment",
        b"GET /{c}#b HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /{c} HTTP/1.1\nhost: a\n\n"],
    ),
    refused(
        "a NUL in the target",
        BAD,
        b"GET /{c}\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    refused(
        "a CR in the target",
        BAD,
        b"GET /{c}\rX: y HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    refused(
        "an LF in the target",
        BAD,
        b"GET /{c}\nX: y HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    refused(
        "a DEL in the target",
        BAD,
        b"GET /{c}\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    refused(
        "a control character in the target",
        BAD,
        b"GET /{c}\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    refused(
        "a space in the target",
        BAD,
        b"GET /{c} b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    refused(
        "a path without a slash first",
        BAD,
        b"GET {c}/b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    refused(
        "a name for a target",
        BAD,
        b"GET {c} HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    refused(
        "host and port for a target",
        BAD,
        b"GET {c}:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    refused(
        "a query alone for a target",
        BAD,
        b"GET ?{c} HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    refused(
        "an asterisk with GET",
        BAD,
        b"GET * HTTP/1.1\r\nHost: {c}.example\r\n\r\n",
    ),
    passed(
        "an asterisk with OPTIONS",
        b"OPTIONS * HTTP/1.1\r\nHost: {c}.example\r\n\r\n",
        &[b"OPTIONS * HTTP/1.1\nhost: {c}.example\n\n"],
    ),
    refused(
        "an asterisk and more",
        BAD,
        b"OPTIONS *{c} HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    passed(
        "OPTIONS of a path",
        b"OPTIONS /{c} HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"OPTIONS /{c} HTTP/1.1\nhost: a\n\n"],
    ),
    passed(
        "the absolute form",
        b"GET http://b:81/{c}?d HTTP/1.1\r\nHost: b:81\r\n\r\n",
        &[b"GET /{c}?d HTTP/1.1\nhost: b:81\n\n"],
    ),
    passed(
        "the absolute form wins over Host",
        b"GET http://b/{c} HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /{c} HTTP/1.1\nhost: b\n\n"],
    ),
    passed(
        "the absolute form of https",
        b"GET https://b/{c} HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /{c} HTTP/1.1\nhost: b\n\n"],
    ),
    passed(
        "the absolute form with a scheme in large letters",
        b"GET HTTP://b/{c} HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /{c} HTTP/1.1\nhost: b\n\n"],
    ),
    passed(
        "the absolute form keeps the path as it is",
        b"GET http://b//{c}/../%2f HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET //{c}/../%2f HTTP/1.1\nhost: b\n\n"],
    ),
    passed(
        "the absolute form without a path",
        b"GET http://{c}.example HTTP/1.1\r\nHost: a\r\n\r\n",
        ROOT,
    ),
    passed(
        "the absolute form with a query alone",
        b"GET http://{c}.example?d HTTP/1.1\r\nHost: a\r\n\r\n",
        &[b"GET /?d HTTP/1.1\nhost: {c}.example\n\n"],
    ),
    passed(
        "the absolute form with a fragment alone",
        b"GET http://{c}.example#d HTTP/1.1\r\nHost: a\r\n\r\n",
        ROOT,
    ),
    refused(
        "the absolute form without Host",
        BAD,
        b"GET http://b/{c} HTTP/1.1\r\n\r\n",
    ),
    refused(
        "the absolute form with a bad Host",
        BAD,
        b"GET http://b/{c} HTTP/1.1\r\nHost: a/b\r\n\r\n",
    ),
    refused(
        "the absolute form with two Hosts",
        BAD,
        b"GET http://b/{c} HTTP/1.1\r\nHost: b\r\nHost: a\r\n\r\n",
    ),
    refused(
        "the absolute form with a user",
        BAD,
        b"GET http://user@b/{c} HTTP/1.1\r\nHost: b\r\n\r\n",
    ),
    refused(
        "the absolute form without a host",
        BAD,
        b"GET http:///{c} HTTP/1.1\r\nHost: b\r\n\r\n",
    ),
    refused(
        "the absolute form with a bad port",
        BAD,
        b"GET http://b:x/{c} HTTP/1.1\r\nHost: b\r\n\r\n",
    ),
    refused(
        "the absolute form of another scheme",
        BAD,
        b"GET ftp://b/{c} HTTP/1.1\r\nHost: b\r\n\r\n",
    ),
    refused(
        "a file",
        BAD,
        b"GET file:///etc/{c} HTTP/1.1\r\nHost: b\r\n\r\n",
    ),
    refused(
        "the absolute form with a backslash",
        BAD,
        b"GET http:\\\\b\\{c} HTTP/1.1\r\nHost: b\r\n\r\n",
    ),
];
