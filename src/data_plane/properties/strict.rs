//! Reads a request as the strictest of apps would: whatever has two readings is a fault.

/// A request that has one reading only.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    /// How many bytes it has.
    pub(super) length: usize,
}

/// The one request that these bytes begin with; none: it is not there to its end.
///
/// # Panics
///
/// When another reader could see another request.
pub(super) fn read(bytes: &[u8]) -> Option<Message> {
    let end = find(bytes, b"\r\n\r\n")?;
    let mut lines = split(&bytes[..end]).into_iter();
    let first = text(lines.next().unwrap_or_default());
    let parts: Vec<_> = first.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else {
        panic!("a request line with several readings: {first:?}");
    };
    assert!(is_token(method.as_bytes()), "no method: {method:?}");
    assert!(!target.is_empty(), "no target: {first:?}");
    let fields: Vec<_> = lines.map(field).collect();
    let (body, length) = body(&fields, &bytes[end + 4..])?;
    Some(Message {
        method: method.to_owned(),
        target: target.to_owned(),
        fields,
        body,
        length: end + 4 + length,
    })
}

impl Message {
    /// All values of a field.
    pub(super) fn all(&self, name: &str) -> Vec<&[u8]> {
        let same = self.fields.iter().filter(|field| field.0 == name);
        same.map(|field| field.1.as_slice()).collect()
    }
}

fn body(fields: &[(String, Vec<u8>)], rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let all = |name: &str| -> Vec<&[u8]> {
        let same = fields.iter().filter(|field| field.0 == name);
        same.map(|field| field.1.as_slice()).collect()
    };
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    match (&lengths[..], &codings[..]) {
        ([], []) => Some((Vec::new(), 0)),
        ([length], []) => {
            let length = text(length);
            assert!(
                !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()),
                "{length:?}"
            );
            let length: usize = length.parse().ok()?;
            Some((rest.get(..length)?.to_vec(), length))
        }
        ([], [coding]) if *coding == b"chunked" => chunks(rest),
        _ => panic!("a length with several readings: {lengths:?} {codings:?}"),
    }
}

fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = find(&bytes[at..], b"\r\n")?;
        let size = text(&bytes[at..at + line]);
        assert!(
            !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{size:?}"
        );
        let size = usize::from_str_radix(&size, 16).expect("checked above");
        at += line + 2;
        if size == 0 {
            break;
        }
        body.extend_from_slice(bytes.get(at..at + size)?);
        assert_eq!(
            bytes.get(at + size..at + size + 2)?,
            b"\r\n",
            "a chunk's end"
        );
        at += size + 2;
    }
    // The trailer section, of which each line must be a field.
    loop {
        let line = find(&bytes[at..], b"\r\n")?;
        let trailer = &bytes[at..at + line];
        at += line + 2;
        if trailer.is_empty() {
            return Some((body, at));
        }
        let (name, _) = field(trailer);
        assert!(!name.starts_with("x-forwarded") && name != "host" && name != "content-length");
    }
}

fn field(line: &[u8]) -> (String, Vec<u8>) {
    let colon = line.iter().position(|&byte| byte == b':');
    let colon = colon.unwrap_or_else(|| panic!("no field: {:?}", String::from_utf8_lossy(line)));
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    assert!(
        is_token(name),
        "no name: {:?}",
        String::from_utf8_lossy(line)
    );
    assert!(
        !value.iter().any(|byte| b"\r\n\0".contains(byte)),
        "{value:?}"
    );
    (text(name).to_ascii_lowercase(), value.to_vec())
}

/// Lines, each of which must end with CR and LF and hold neither otherwise.
fn split(head: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = head;
    loop {
        let end = find(rest, b"\r\n").unwrap_or(rest.len());
        let line = &rest[..end];
        assert!(
            !line.iter().any(|byte| b"\r\n\0".contains(byte)),
            "{line:?}"
        );
        lines.push(line);
        match rest.get(end + 2..) {
            Some(more) => rest = more,
            None => return lines,
        }
    }
}

fn is_token(bytes: &[u8]) -> bool {
    let is = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
