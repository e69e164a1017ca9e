//! Chunks and trailers: RFC 9112 section 7.1, RFC 9110 section 6.5.

use super::case::{Case, broken, passed};

const BAD: &[u16] = &[400];
const HI: &[&[u8]] = &[b"POST /{c} HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n\nhi"];

/// A head with chunks, and what is to be the body.
macro_rules! chunked {
    ($body:literal) => {
        concat!(
            "POST /{c} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            $body
        )
        .as_bytes()
    };
}

pub(crate) const CASES: &[Case] = &[
    passed("several chunks", chunked!("1\r\nh\r\n1\r\ni\r\n0\r\n\r\n"), HI),
    passed("sizes with zeros first", chunked!("0002\r\nhi\r\n000\r\n\r\n"), HI),
    passed("a size in small letters", chunked!("a\r\n0123456789\r\n0\r\n\r\n"), &[b"POST /{c} HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n\n0123456789"]),
    passed("a size in large letters", chunked!("A\r\n0123456789\r\n0\r\n\r\n"), &[b"POST /{c} HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n\n0123456789"]),
    passed("chunk extensions", chunked!("2;a=b;c=\"d e\";f\r\nhi\r\n0;x\r\n\r\n"), HI),
    // RFC 9112 section 7.1.1 allows it before an extension only.
    passed("space after a size", chunked!("2 \t\r\nhi\r\n0\r\n\r\n"), HI),
    passed("space before an extension", chunked!("2 ; a\r\nhi\r\n0\r\n\r\n"), HI),
    passed("nothing but the last chunk", chunked!("0\r\n\r\n"), &[b"POST /{c} HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n\n"]),
    passed("chunks that look like a request", chunked!("28\r\nGET /smuggled HTTP/1.1\r\nHost: smuggled\r\n\r\n0\r\n\r\n"), &[b"POST /{c} HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n\nGET /smuggled HTTP/1.1\r\nHost: smuggled\r\n"]),
    broken("a size with 0x first", BAD, chunked!("0x2\r\nhi\r\n0\r\n\r\n")),
    broken("a size with a sign", BAD, chunked!("+2\r\nhi\r\n0\r\n\r\n")),
    broken("a negative size", BAD, chunked!("-2\r\nhi\r\n0\r\n\r\n")),
    broken("a size with a low line", BAD, chunked!("0_2\r\nhi\r\n0\r\n\r\n")),
    broken("a size with a space first", BAD, chunked!(" 2\r\nhi\r\n0\r\n\r\n")),
    broken("a size with a space within", BAD, chunked!("0 2\r\nhi\r\n0\r\n\r\n")),
    broken("a size of no digits", BAD, chunked!("\r\nhi\r\n0\r\n\r\n")),
    broken("a size of an extension alone", BAD, chunked!(";a\r\nhi\r\n0\r\n\r\n")),
    broken("a size that is a word", BAD, chunked!("two\r\nhi\r\n0\r\n\r\n")),
    broken("a size beyond 64 bits", BAD, chunked!("10000000000000002\r\nhi\r\n0\r\n\r\n")),
    broken("a size that fits and never comes", BAD, chunked!("7fffffffffffffff\r\nhi\r\n0\r\n\r\n")).finished(),
    broken("a size that ends with LF alone", BAD, chunked!("2\nhi\r\n0\r\n\r\n")),
    broken("a size that ends with CR alone", BAD, chunked!("2\rhi\r\n0\r\n\r\n")),
    broken("a size with two CRs", BAD, chunked!("2\r\r\nhi\r\n0\r\n\r\n")),
    broken("an extension with LF alone", BAD, chunked!("2;a\nb\r\nhi\r\n0\r\n\r\n")),
    broken("an extension with CR alone", BAD, chunked!("2;a\rb\r\nhi\r\n0\r\n\r\n")),
    broken("a chunk longer than its size", BAD, chunked!("1\r\nhi\r\n0\r\n\r\n")),
    broken("a chunk shorter than its size", BAD, chunked!("3\r\nhi\r\n0\r\n\r\n")),
    broken("a chunk that ends with LF alone", BAD, chunked!("2\r\nhi\n0\r\n\r\n")),
    broken("a chunk that ends with CR alone", BAD, chunked!("2\r\nhi\r0\r\n\r\n")),
    broken("a chunk without an end", BAD, chunked!("2\r\nhi0\r\n\r\n")),
    broken("no last chunk", BAD, chunked!("2\r\nhi\r\n")).finished(),
    broken("a last chunk without its empty line", BAD, chunked!("2\r\nhi\r\n0\r\n")).finished(),
    broken("a last chunk that ends with LF alone", BAD, chunked!("2\r\nhi\r\n0\n\n")),
    broken("an empty line that ends with CR alone", BAD, chunked!("2\r\nhi\r\n0\r\n\rGET")),
    passed("trailers", b"POST /{c} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x, y\r\n\r\n2\r\nhi\r\n0\r\nX: 1\r\nY: 2\r\n\r\n", &[b"POST /{c} HTTP/1.1\nhost: a\ntrailer: x, y\ntransfer-encoding: chunked\n\nhi\nx: 1\ny: 2"]),
    // Only what was said to come: hyper knows no other way to write trailers.
    passed("trailers that nobody was told of", chunked!("2\r\nhi\r\n0\r\nX: 1\r\n\r\n"), HI),
    passed("trailers that would frame, route or authenticate", b"POST /{c} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x, host, content-length, authorization, x-forwarded-for, transfer-encoding, x_real_ip\r\n\r\n2\r\nhi\r\n0\r\nHost: b\r\nContent-Length: 9\r\nAuthorization: b\r\nX: 1\r\nX-Forwarded-For: 6.6.6.6\r\nTransfer-Encoding: gzip\r\nX_Real_IP: 6.6.6.6\r\n\r\n", &[b"POST /{c} HTTP/1.1\nhost: a\ntrailer: x, host, content-length, authorization, x-forwarded-for, transfer-encoding, x_real_ip\ntransfer-encoding: chunked\n\nhi\nx: 1"]),
    broken("a trailer without a colon", BAD, chunked!("2\r\nhi\r\n0\r\nX\r\n\r\n")),
    broken("a trailer with a space before the colon", BAD, chunked!("2\r\nhi\r\n0\r\nX : 1\r\n\r\n")),
    broken("a folded trailer", BAD, chunked!("2\r\nhi\r\n0\r\nX: 1\r\n 2\r\n\r\n")),
    broken("a trailer with a NUL", BAD, chunked!("2\r\nhi\r\n0\r\nX: \0\r\n\r\n")),
];
