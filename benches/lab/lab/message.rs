//! As much of HTTP/1.1 as two ends need that know each other.

/// The head of a message that is there as a whole.
pub struct Head {
    /// Its bytes, with the empty line.
    pub size: usize,
    pub body: u64,
    pub closes: bool,
}

/// None: more has to come.
///
/// # Errors
///
/// A message that neither end sends.
pub fn head(bytes: &[u8]) -> Result<Option<Head>, &'static str> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() < 64 * 1024 {
            Ok(None)
        } else {
            Err("a head without an end")
        };
    };
    let mut head = Head {
        size: end + 4,
        body: 0,
        closes: false,
    };
    for line in bytes[..end].split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(value).map_err(|_| "a length that is none")?;
            head.body = digits.parse().map_err(|_| "a length that is none")?;
        } else if name.eq_ignore_ascii_case(b"connection") {
            head.closes |= value.eq_ignore_ascii_case(b"close");
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err("a body of unknown length");
        }
    }
    Ok(Some(head))
}
