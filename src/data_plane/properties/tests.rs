//! The properties with bytes that are nearly right, which is where the mistakes are.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// What heads and bodies are made of.
const PIECES: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a?b HTTP/1.1\r\n",
    "GET http://b/c HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
    "PUT / HTTP/1.0\r\n",
    "GET / HTTP/1.1\n",
    "Host: a\r\n",
    "Host: a\r\n\r\n",
    "Host: a\n\n",
    "Host : a\r\n",
    "Host:\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 3\r\n\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: +3\r\n",
    "Content-Length: 3, 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\n\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: \x0bchunked\r\n",
    "transfer-encoding: Chunked\r\n",
    "Connection: close\r\n",
    "Connection: host, content-length\r\n",
    "Connection: transfer-encoding, x\r\n",
    "Connection: upgrade\r\nUpgrade: websocket\r\n",
    "Expect: 100-continue\r\n",
    "X: a\r\n b\r\n",
    "X: a\rb\r\n",
    "TE: trailers\r\n",
    "Trailer: x\r\n",
    "3\r\nabc\r\n",
    "3;x=y\r\nabc\r\n",
    "03\r\nabc\r\n",
    "3 \r\nabc\r\n",
    "3\nabc\n",
    "0\r\n\r\n",
    "0\r\nx: 1\r\n\r\n",
    "0\r\nhost: b\r\nx-forwarded-for: 1\r\n\r\n",
    "abc",
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    ":",
];

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        20 => select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    let name = select(
        &[
            "host",
            "connection",
            "te",
            "expect",
            "forwarded",
            "x-forwarded-for",
            "x_forwarded-for",
            "x-request-id",
            "x-real-ip",
            "upgrade",
            "keep-alive",
            "content-length",
            "proxy",
            "transfer-encoding",
            "trailer",
            "x",
            "proxy-connection",
            "http2-settings",
        ][..],
    );
    let value = prop_oneof![
        3 => select(&[
            "a", "", "x, host", "trailers", "100-continue", "chunked", "for=1.2.3.4", "close, te",
            "upgrade", "websocket", "x-forwarded-for", "timeout=5", "1.2.3.4, unknown",
        ][..])
        .prop_map(str::to_owned),
        1 => "[ -~]{0,12}",
    ];
    let line = (name, value).prop_map(|(name, value)| format!("{name}:{value}\n"));
    (any::<u8>(), vec(line, 0..12)).prop_map(|(who, lines)| {
        let mut bytes = vec![who];
        bytes.extend_from_slice(lines.concat().as_bytes());
        bytes
    })
}

fn forwarded() -> impl Strategy<Value = Vec<u8>> {
    let entry = select(
        &[
            "10.0.0.0/8",
            "::ffff:10.0.0.0/104",
            "unix:",
            "1.2.3.4",
            "10.1.0.0/8",
            "x",
        ][..],
    );
    let element = prop_oneof![
        4 => select(&[
            "1.2.3.4", "192.0.2.7", "192.0.2.7:80", "[::1]:80", "\"[::1]\"", "for=1.2.3.4", "for=\"_a",
            "For=192.0.2.7;proto=http", "unknown", "", "\"", ";", "=", "by=x;for=\"192.0.2.7\"",
        ][..])
        .prop_map(str::to_owned),
        1 => "[ -~]{0,8}",
    ];
    (entry, vec(element, 0..6))
        .prop_map(|(entry, elements)| format!("{entry}\n{}", elements.join(",")).into_bytes())
}

/// A plan of pieces, and frames of every form of length; the last one may be cut short.
fn websocket() -> impl Strategy<Value = Vec<u8>> {
    let length = select(&[0_usize, 1, 2, 125, 126, 127, 300, 65_535, 65_536][..]);
    let frame = (any::<u8>(), any::<bool>(), length).prop_map(|(first, masked, length)| {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![first];
        match length {
            0..=125 => frame.push(mask | u8::try_from(length).unwrap()),
            126..=0xffff => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(std::iter::repeat_n(
            0x88,
            if masked { 4 } else { 0 } + length,
        ));
        frame
    });
    (any::<[u8; 4]>(), vec(frame, 0..5), 0..20_usize).prop_map(|(plan, frames, cut)| {
        let mut bytes = plan.to_vec();
        bytes.extend(frames.concat());
        bytes.truncate(bytes.len().saturating_sub(cut).max(4));
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_app_reads_the_very_requests_that_were_let_through(bytes in pieces()) {
        heads(&bytes);
    }

    #[test]
    fn a_rewritten_head_claims_nothing_that_it_may_not(bytes in lines()) {
        rewriting(&bytes);
    }

    #[test]
    fn nobody_speaks_for_somebody_else(bytes in forwarded()) {
        forwarding(&bytes);
    }

    #[test]
    fn a_tunnel_is_cut_between_two_frames_only(bytes in websocket()) {
        frames(&bytes);
    }

    #[test]
    fn nor_is_one_of_any_bytes_at_all(bytes in vec(any::<u8>(), 0..200)) {
        frames(&bytes);
    }
}

/// Without this a property that looks at nothing would hold as well.
#[test]
#[should_panic(expected = "several readings")]
fn a_request_with_two_lengths_is_found() {
    strict::read(b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx");
}
