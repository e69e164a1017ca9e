//! A WebSocket that sends each message back after its version: the least of RFC 6455 that an honest client needs.
//!
//! No extension, no fragmented message, no message above 64 KiB; whatever else comes ends the connection.

use std::io;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::app::say;
use super::routes::{AnswerBody, text, with_status};

const MESSAGE_BYTES_MAX: u64 = 64 * 1024;
pub(super) const TEXT: u8 = 0x1;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xA;

/// One whole message or control frame.
struct Message {
    opcode: u8,
    payload: Vec<u8>,
}

/// Answers the opening handshake (RFC 6455 4.2.2) and echoes from then on in a task of its own.
pub(super) fn accept(mut request: Request<Incoming>, version: String) -> Response<AnswerBody> {
    let Some(key) = request.headers().get("sec-websocket-key") else {
        let answer = text("a WebSocket and nothing else\n".into());
        return with_status(StatusCode::UPGRADE_REQUIRED, answer);
    };
    let accept = accept_key(key.as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::task::spawn_local(async move {
        let echoed = match upgrade.await {
            Ok(upgraded) => echo(TokioIo::new(upgraded), &version).await,
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = echoed {
            say(&format!("a WebSocket ended early: {error}"));
        }
    });
    switching_protocols(&accept)
}

fn switching_protocols(accept: &str) -> Response<AnswerBody> {
    let mut answer = Response::new(Full::<Bytes>::default().boxed_unsync());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        "sec-websocket-accept",
        HeaderValue::from_str(accept).expect("base64 is a field value"),
    );
    answer
}

/// Echoes until the client closes.
async fn echo(mut stream: TokioIo<Upgraded>, version: &str) -> io::Result<()> {
    loop {
        let message = read(&mut stream).await?;
        match message.opcode {
            CLOSE => {
                write(&mut stream, CLOSE, &message.payload).await?;
                return stream.shutdown().await;
            }
            PING => write(&mut stream, PONG, &message.payload).await?,
            PONG => {}
            opcode => {
                let mut answer = Vec::new();
                if opcode == TEXT {
                    answer.extend_from_slice(version.as_bytes());
                    answer.push(b' ');
                }
                answer.extend_from_slice(&message.payload);
                write(&mut stream, opcode, &answer).await?;
            }
        }
    }
}

/// RFC 6455 5.2: two bytes, a longer length if needed, the mask, the payload.
async fn read(stream: &mut TokioIo<Upgraded>) -> io::Result<Message> {
    let [first, second] = [stream.read_u8().await?, stream.read_u8().await?];
    let length = match second & 0x7F {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        length => u64::from(length),
    };
    let (whole, masked) = (first & 0xF0 == 0x80, second & 0x80 != 0);
    if !whole || !masked || length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other("a frame that this app does not speak"));
    }
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).await?;
    let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    stream.read_exact(&mut payload).await?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok(Message {
        opcode: first & 0x0F,
        payload,
    })
}

/// A server's frames are not masked (RFC 6455 5.1).
async fn write(stream: &mut TokioIo<Upgraded>, opcode: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = vec![0x80 | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..=125), _) => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await?;
    stream.flush().await
}

/// RFC 6455 1.3: base64 of the SHA-1 of the key and a fixed text.
pub(super) fn accept_key(key: &[u8]) -> String {
    base64(&sha1(
        &[key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat(),
    ))
}

/// RFC 3174. Not for anything secret: the handshake only wants it.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - message.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());

    let mut state = [
        0x6745_2301,
        0xEFCD_AB89,
        0x98BA_DCFE,
        0x1032_5476,
        0xC3D2_E1F0,
    ];
    for block in padded.chunks_exact(64) {
        sha1_block(&mut state, block);
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn sha1_block(state: &mut [u32; 5], block: &[u8]) {
    let mut words = [0; 80];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    for index in 16..80 {
        let mixed = words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16];
        words[index] = u32::rotate_left(mixed, 1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (round, word) in words.into_iter().enumerate() {
        let (mix, constant) = match round {
            0..20 => ((b & c) | (!b & d), 0x5A82_7999),
            20..40 => (b ^ c ^ d, 0x6ED9_EBA1),
            40..60 => ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC),
            _ => (b ^ c ^ d, 0xCA62_C1D6_u32),
        };
        let next = a
            .rotate_left(5)
            .wrapping_add(mix)
            .wrapping_add(e)
            .wrapping_add(constant)
            .wrapping_add(word);
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
    }
    for (sum, word) in state.iter_mut().zip([a, b, c, d, e]) {
        *sum = sum.wrapping_add(word);
    }
}

/// RFC 4648 4, with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(padded);
        for place in 0..4 {
            if place > group.len() {
                text.push('=');
            } else {
                let index = (bits >> (18 - 6 * place)) & 0x3F;
                text.push(char::from(ALPHABET[index as usize]));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_key_of_the_rfc() {
        assert_eq!(
            accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn sha1_agrees_with_the_vectors_of_the_rfc() {
        let hex = |message: &[u8]| -> String {
            sha1(message)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        };
        assert_eq!(hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            hex(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
        );
        assert_eq!(
            hex(&[b'a'; 1_000_000]),
            "34aa973cd4c4daa4f61eeb2bdbad27316534016f"
        );
    }

    #[test]
    fn base64_pads() {
        let texts: [(&[u8], &str); 4] =
            [(b"", ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v")];
        for (bytes, text) in texts {
            assert_eq!(base64(bytes), text);
        }
    }
}
