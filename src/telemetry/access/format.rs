//! The shape of a line. Whatever a client sent is escaped: a line is printable ASCII and its end.
//!
//! Text: the combined format, with what it lacks behind it as `name=value`; `-` for what there is not. In the texts of
//! clients `"`, `\`, every control character and every byte from 0x80 on are written `\xHH`.
//!
//! JSON: one object a line, the same keys in each, `null` for what there is not. Characters beyond ASCII are written
//! `\uHHHH`, so that a parser gets them back and a terminal never does; what is no UTF-8 becomes U+FFFD.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::pen::{Line, Text};
use crate::telemetry::log::Format;
use crate::telemetry::traffic::Protocol;

/// What a client without an address is called, as nginx does.
const UNIX_CLIENT: &str = "unix:";

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The time of a line as text, made anew once a second.
#[derive(Debug)]
pub(super) struct Clock {
    second: u64,
    /// `2026-11-25T03:41:58`.
    rfc3339: String,
    /// `25/Nov/2026:03:41:58 +0000`.
    combined: String,
}

// === impl Clock ===

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            second: 0,
            rfc3339: rfc3339(0),
            combined: combined(&rfc3339(0)),
        }
    }

    /// The milliseconds of this second, whose text is ready then.
    fn set(&mut self, time: SystemTime) -> u32 {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if since.as_secs() != self.second {
            self.second = since.as_secs();
            self.rfc3339 = rfc3339(self.second);
            self.combined = combined(&self.rfc3339);
        }
        since.subsec_millis()
    }

    fn push_rfc3339(&mut self, time: SystemTime, to: &mut Vec<u8>) {
        let millis = self.set(time);
        to.extend_from_slice(self.rfc3339.as_bytes());
        to.push(b'.');
        push_padded::<3>(to, millis);
        to.push(b'Z');
    }

    fn push_combined(&mut self, time: SystemTime, to: &mut Vec<u8>) {
        self.set(time);
        to.extend_from_slice(self.combined.as_bytes());
    }
}

/// To the second, in UTC.
fn rfc3339(second: u64) -> String {
    // Past the year 9999 the clock is wrong, and the log the least of it.
    let time = UNIX_EPOCH + Duration::from_secs(second.min(253_402_300_799));
    let mut text = humantime::format_rfc3339_seconds(time).to_string();
    text.truncate("2026-11-25T03:41:58".len());
    text
}

/// The same time in the form of the combined format.
fn combined(rfc3339: &str) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = rfc3339[5..7].parse().unwrap_or(1_usize);
    let (day, month, year) = (&rfc3339[8..10], MONTHS[month - 1], &rfc3339[..4]);
    format!("{day}/{month}/{year}:{} +0000", &rfc3339[11..])
}

/// Appends the line of a request whose head was read at `time`.
pub(super) fn push(
    to: &mut Vec<u8>,
    line: &Line<'_>,
    time: SystemTime,
    clock: &mut Clock,
    format: Format,
) {
    match format {
        Format::Text => push_text(to, line, time, clock),
        Format::Json => push_json(to, line, time, clock),
    }
    to.push(b'\n');
}

// === text ===

fn push_text(to: &mut Vec<u8>, line: &Line<'_>, time: SystemTime, clock: &mut Clock) {
    let entry = line.entry;
    push_client(to, line);
    to.extend_from_slice(b" - - [");
    clock.push_combined(time, to);
    to.extend_from_slice(b"] \"");
    if line.text(Text::Method).is_some() {
        push_escaped(to, line.text(Text::Method));
        to.push(b' ');
        push_escaped(to, line.text(Text::Path));
        to.push(b' ');
        to.extend_from_slice(protocol(entry.protocol));
    } else {
        to.push(b'-');
    }
    to.extend_from_slice(b"\" ");
    push_number(to, entry.status.into());
    to.push(b' ');
    push_number(to, entry.bytes_out);
    for text in [Text::Referer, Text::UserAgent] {
        to.extend_from_slice(b" \"");
        push_escaped(to, line.text(text));
        to.push(b'"');
    }
    to.extend_from_slice(b" app=");
    push_escaped(to, line.text(Text::App));
    let numbers = [
        (" generation=", entry.generation.map(|id| id.get())),
        (" instance=", entry.instance.map(u64::from)),
    ];
    for (name, number) in numbers {
        to.extend_from_slice(name.as_bytes());
        push_or(to, number, b"-", push_number);
    }
    let times = [
        (" time=", Some(entry.total)),
        (" head=", entry.upstream_head),
        (" hold=", Some(entry.hold)),
    ];
    for (name, time) in times {
        to.extend_from_slice(name.as_bytes());
        push_or(to, time, b"-", push_seconds);
    }
    to.extend_from_slice(b" in=");
    push_number(to, entry.bytes_in);
    to.extend_from_slice(b" resends=");
    push_number(to, entry.resends.into());
    to.extend_from_slice(b" reason=");
    to.extend_from_slice(entry.reason.unwrap_or("-").as_bytes());
    to.extend_from_slice(b" id=");
    push_escaped(to, line.text(Text::RequestId));
}

fn protocol(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Http10 => b"HTTP/1.0",
        Protocol::Http11 => b"HTTP/1.1",
        Protocol::Http2 => b"HTTP/2.0",
    }
}

fn push_escaped(to: &mut Vec<u8>, text: Option<&[u8]>) {
    let Some(mut text) = text.filter(|text| !text.is_empty()) else {
        return to.push(b'-');
    };
    if is_plain(text) {
        return to.extend_from_slice(text);
    }
    while let Some(at) = text.iter().position(|byte| needs_escape(*byte)) {
        to.extend_from_slice(&text[..at]);
        let byte = text[at];
        let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]];
        to.extend_from_slice(b"\\x");
        to.extend_from_slice(&digits);
        text = &text[at + 1..];
    }
    to.extend_from_slice(text);
}

/// Looks at all of it in any case, so that it takes a few instructions for sixteen bytes.
fn is_plain(text: &[u8]) -> bool {
    let any = |found, byte: &u8| found | needs_escape(*byte);
    !text.iter().fold(false, any)
}

fn needs_escape(byte: u8) -> bool {
    !(b' '..=b'~').contains(&byte) || byte == b'"' || byte == b'\\'
}

// === JSON ===

fn push_json(to: &mut Vec<u8>, line: &Line<'_>, time: SystemTime, clock: &mut Clock) {
    let entry = line.entry;
    to.extend_from_slice(b"{\"time\":\"");
    clock.push_rfc3339(time, to);
    to.extend_from_slice(b"\",\"client\":\"");
    push_client(to, line);
    to.extend_from_slice(b"\",\"protocol\":");
    // Of what never became a request nobody knows what it would have spoken.
    let known = line.text(Text::Method).map(|_| entry.protocol.as_str());
    push_string(to, known.map(str::as_bytes));
    push_key(to, "method");
    push_string(to, line.text(Text::Method));
    push_key(to, "path");
    push_string(to, line.text(Text::Path));
    for (key, number) in [
        ("status", entry.status.into()),
        ("bytes_in", entry.bytes_in),
        ("bytes_out", entry.bytes_out),
    ] {
        push_key(to, key);
        push_number(to, number);
    }
    for (key, time) in [
        ("total", Some(entry.total)),
        ("upstream_head", entry.upstream_head),
        ("hold", Some(entry.hold)),
    ] {
        push_key(to, key);
        push_or(to, time, b"null", push_seconds);
    }
    push_key(to, "app");
    push_string(to, line.text(Text::App));
    for (key, number) in [
        ("generation", entry.generation.map(|id| id.get())),
        ("instance", entry.instance.map(u64::from)),
        ("resends", Some(entry.resends.into())),
    ] {
        push_key(to, key);
        push_or(to, number, b"null", push_number);
    }
    push_key(to, "reason");
    push_string(to, entry.reason.map(str::as_bytes));
    for (key, text) in [
        ("request_id", Text::RequestId),
        ("user_agent", Text::UserAgent),
        ("referer", Text::Referer),
    ] {
        push_key(to, key);
        push_string(to, line.text(text));
    }
    to.push(b'}');
}

fn push_key(to: &mut Vec<u8>, key: &str) {
    to.extend_from_slice(b",\"");
    to.extend_from_slice(key.as_bytes());
    to.extend_from_slice(b"\":");
}

fn push_string(to: &mut Vec<u8>, text: Option<&[u8]>) {
    let Some(text) = text else {
        return to.extend_from_slice(b"null");
    };
    to.push(b'"');
    if is_plain(text) {
        to.extend_from_slice(text);
    } else {
        for character in String::from_utf8_lossy(text).chars() {
            push_character(to, character);
        }
    }
    to.push(b'"');
}

fn push_character(to: &mut Vec<u8>, character: char) {
    match character {
        '"' => to.extend_from_slice(b"\\\""),
        '\\' => to.extend_from_slice(b"\\\\"),
        ' '..='~' => to.push(character as u8),
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                to.extend_from_slice(b"\\u");
                for shift in [12, 8, 4, 0] {
                    to.push(HEX[usize::from(*unit >> shift & 0xf)]);
                }
            }
        }
    }
}

// === both ===

fn push_client(to: &mut Vec<u8>, line: &Line<'_>) {
    use std::io::Write;
    match line.entry.client {
        Some(IpAddr::V4(address)) => {
            let [first, rest @ ..] = address.octets();
            push_number(to, first.into());
            for octet in rest {
                to.push(b'.');
                push_number(to, octet.into());
            }
        }
        // A Vec takes everything.
        Some(IpAddr::V6(address)) => drop(write!(to, "{address}")),
        None => to.extend_from_slice(UNIX_CLIENT.as_bytes()),
    }
}

fn push_or<T>(
    to: &mut Vec<u8>,
    value: Option<T>,
    otherwise: &[u8],
    push: impl FnOnce(&mut Vec<u8>, T),
) {
    match value {
        Some(value) => push(to, value),
        None => to.extend_from_slice(otherwise),
    }
}

/// Seconds with six places.
fn push_seconds(to: &mut Vec<u8>, time: Duration) {
    push_number(to, time.as_secs());
    to.push(b'.');
    push_padded::<6>(to, time.subsec_micros());
}

fn push_number(to: &mut Vec<u8>, number: u64) {
    if number < 10 {
        // Most are.
        return to.push(digit(number));
    }
    let mut digits = [0; 20];
    let mut rest = number;
    let mut at = digits.len();
    while rest > 0 {
        at -= 1;
        digits[at] = digit(rest);
        rest /= 10;
    }
    to.extend_from_slice(&digits[at..]);
}

fn push_padded<const PLACES: usize>(to: &mut Vec<u8>, number: u32) {
    let mut digits = [b'0'; PLACES];
    let mut rest = number;
    for place in digits.iter_mut().rev() {
        *place = digit(rest.into());
        rest /= 10;
    }
    to.extend_from_slice(&digits);
}

/// The last one of a number.
fn digit(number: u64) -> u8 {
    b'0' + u8::try_from(number % 10).expect("a digit is below ten")
}
