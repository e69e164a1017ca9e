//! Several requests on one connection: RFC 9112 section 9.

use super::case::{Case, last, passed, refused};

const TWO: &[&[u8]] = &[
    b"GET /{c}/1 HTTP/1.1\nhost: a\n\n",
    b"GET /{c}/2 HTTP/1.1\nhost: a\n\n",
];
const ONE: &[&[u8]] = &[b"GET /{c}/1 HTTP/1.1\nhost: a\n\n"];
const BETWEEN: &[&[u8]] = &[
    TWO[0],
    b"POST /{c} HTTP/1.1\ncontent-length: 2\nhost: a\n\nhi",
    TWO[1],
];
const BETWEEN_CHUNKED: &[&[u8]] = &[
    TWO[0],
    b"POST /{c} HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n\nhi",
    TWO[1],
];

pub(crate) const CASES: &[Case] = &[
    passed("two requests at once", b"GET /{c}/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /{c}/2 HTTP/1.1\r\nHost: a\r\n\r\n", TWO).answered(&[200, 200]),
    passed("an empty line between two requests", b"GET /{c}/1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /{c}/2 HTTP/1.1\r\nHost: a\r\n\r\n", TWO).answered(&[200, 200]),
    passed("an upload between two requests", b"GET /{c}/1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /{c} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /{c}/2 HTTP/1.1\r\nHost: a\r\n\r\n", BETWEEN).answered(&[200, 200, 200]),
    passed("chunks between two requests", b"GET /{c}/1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /{c} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET /{c}/2 HTTP/1.1\r\nHost: a\r\n\r\n", BETWEEN_CHUNKED).answered(&[200, 200, 200]),
    last("a request after the last one", b"GET /{c}/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /{c}/2 HTTP/1.1\r\nHost: a\r\n\r\n", ONE),
    last("a request after one of HTTP/1.0", b"GET /{c}/1 HTTP/1.0\r\nHost: a\r\n\r\nGET /{c}/2 HTTP/1.0\r\nHost: a\r\n\r\n", ONE),
    passed("HTTP/1.0 that asks for more", b"GET /{c}/1 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\nGET /{c}/2 HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n", TWO).answered(&[200, 200]),
    last("a bad request after a good one", b"GET /{c}/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /{c}/2 HTTP/1.1\r\nHost : a\r\n\r\n", ONE).answered(&[200, 400]),
    last("garbage after a good request", b"GET /{c}/1 HTTP/1.1\r\nHost: a\r\n\r\n\x00\x01\x02\r\n\r\n", ONE).answered(&[200, 400]),
    last("a body longer than its length", b"POST /{c} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi there\r\n\r\n", &[b"POST /{c} HTTP/1.1\ncontent-length: 2\nhost: a\n\nhi"]).answered(&[200, 400]),
    refused("a good request after a bad one", &[400], b"GET /{c}/1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nGET /{c}/2 HTTP/1.1\r\nHost: a\r\n\r\n"),
    refused("a good request after one that hyper refuses", &[400], b"GET /{c}/1 HTTP/1.1\r\nHost : a\r\n\r\nGET /{c}/2 HTTP/1.1\r\nHost: a\r\n\r\n"),
    refused("a request within the body of a refused one", &[400], b"POST /{c}/1 HTTP/1.1\r\nContent-Length: 44\r\n\r\nGET /{c}/2 HTTP/1.1\r\nHost: a\r\nX: yyyyyyyyy\r\n\r\n"),
    refused("a request after an upgrade that was refused", &[501], b"POST /{c}/1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\nGET /{c}/2 HTTP/1.1\r\nHost: a\r\n\r\n"),
    last("garbage after chunks", b"POST /{c} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n: :\r\n\r\n", &[b"POST /{c} HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n\n"]).answered(&[200, 400]),
];
