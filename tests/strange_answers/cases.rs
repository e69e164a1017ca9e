//! Answers of apps: RFC 9112 sections 4, 6 and 7, RFC 9110 sections 6 and 15.

/// Bytes of an app and what becomes of them.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    /// Further fields of the request.
    pub(crate) fields: &'static str,
    pub(crate) answer: Vec<u8>,
    pub(crate) then: Then,
    pub(crate) want: Want,
    /// What the head of the answer has, and which names it has not.
    pub(crate) has: &'static [&'static str],
    pub(crate) lacks: &'static [&'static str],
    /// Whether the next request goes by the same connection.
    pub(crate) reused: bool,
}

/// What the app does after its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Closes,
    Waits,
}

/// What the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// 502 of hitless.
    Gateway,
    /// This head, and an end of the connection before that of the body.
    Broken(u16),
    /// The end of the connection: before a word, or before the body, as it is seen sooner or later that there is none.
    Cut,
    /// This status and body.
    Passes(u16, &'static [u8]),
}

fn case(name: &'static str, answer: &[u8], want: Want) -> Case {
    Case {
        name,
        method: "GET",
        fields: "",
        answer: answer.to_vec(),
        then: Then::Waits,
        want,
        has: &[],
        lacks: &["connection", "keep-alive"],
        reused: false,
    }
}

/// No answer that can be passed on.
fn bad(name: &'static str, answer: &[u8]) -> Case {
    Case {
        lacks: &[],
        ..case(name, answer, Want::Gateway)
    }
}

/// A good head, and a body that is not whole.
fn broken(name: &'static str, answer: &[u8]) -> Case {
    case(name, answer, Want::Broken(200))
}

/// Broken off before the client got anything.
fn cut(name: &'static str, answer: &[u8]) -> Case {
    case(name, answer, Want::Cut)
}

/// Passed on, and the connection is used again.
fn good(name: &'static str, status: u16, answer: &[u8], body: &'static [u8]) -> Case {
    Case {
        reused: true,
        ..case(name, answer, Want::Passes(status, body))
    }
}

/// Passed on, and the connection is not used again.
fn last(name: &'static str, status: u16, answer: &[u8], body: &'static [u8]) -> Case {
    case(name, answer, Want::Passes(status, body))
}

impl Case {
    fn closes(self) -> Self {
        Self {
            then: Then::Closes,
            ..self
        }
    }

    fn to(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    fn asked_with(self, fields: &'static str) -> Self {
        Self { fields, ..self }
    }

    fn has(self, has: &'static [&'static str]) -> Self {
        Self { has, ..self }
    }

    fn lacks(self, lacks: &'static [&'static str]) -> Self {
        Self { lacks, ..self }
    }
}

pub(crate) fn all() -> Vec<Case> {
    [
        status_lines(),
        no_status_lines(),
        fields(),
        lengths(),
        chunks(),
        without_bodies(),
        interim(),
        connections(),
    ]
    .concat()
}

fn status_lines() -> Vec<Case> {
    vec![
        good(
            "a plain answer",
            200,
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            b"ok",
        ),
        good(
            "no reason",
            200,
            b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
            b"ok",
        ),
        good(
            "neither reason nor space",
            200,
            b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
            b"ok",
        ),
        good(
            "a reason above ASCII",
            200,
            b"HTTP/1.1 200 S\xc3\xa4ter\r\nContent-Length: 2\r\n\r\nok",
            b"ok",
        ),
        good(
            "a status that nobody has registered",
            299,
            b"HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok",
            b"ok",
        ),
        good(
            "a status of no class",
            799,
            b"HTTP/1.1 799 Odd\r\nContent-Length: 2\r\n\r\nok",
            b"ok",
        ),
        good(
            "every line ends with LF alone",
            200,
            b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
            b"ok",
        ),
        good(
            "an empty line first",
            200,
            b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            b"ok",
        ),
    ]
}

fn no_status_lines() -> Vec<Case> {
    vec![
        bad(
            "a status of two digits",
            b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        bad(
            "a status of four digits",
            b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        bad(
            "a status below 100",
            b"HTTP/1.1 099 No\r\nContent-Length: 2\r\n\r\nok",
        ),
        bad(
            "a status of letters",
            b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        bad(
            "two spaces before the status",
            b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        bad(
            "a NUL in the reason",
            b"HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nok",
        ),
        bad(
            "the version 1.2",
            b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        bad(
            "the version 2",
            b"HTTP/2 200\r\nContent-Length: 2\r\n\r\nok",
        ),
        bad(
            "a version in small letters",
            b"http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        bad(
            "another protocol",
            b"ICY 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        bad("no head, as in HTTP/0.9", b"<html>hello</html>").closes(),
        bad("a request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("a record of TLS", b"\x15\x03\x01\x00\x02\x02\x28"),
        bad("nothing", b"").closes(),
        bad("half a status line", b"HTTP/1.1 20").closes(),
        bad("half a head", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n").closes(),
    ]
}

fn fields() -> Vec<Case> {
    let many = |count: usize| {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n".to_vec();
        for number in 1..count {
            answer.extend_from_slice(format!("X-{number}: y\r\n").as_bytes());
        }
        answer.extend_from_slice(b"\r\nok");
        answer
    };
    let large = |bytes: usize| {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: ".to_vec();
        answer.resize(bytes, b'y');
        answer.extend_from_slice(b"\r\n\r\nok");
        answer
    };
    vec![
        good("bytes above ASCII within a value", 200, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: \xc3\xa4\r\n\r\nok", b"ok").has(&["x: \u{c3}\u{a4}"]),
        good("several lines of one name", 200, b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1, b\r\nContent-Length: 2\r\nSet-Cookie: c=2\r\n\r\nok", b"ok").has(&["set-cookie: a=1, b", "set-cookie: c=2"]),
        good("what concerns the app's connection only", 200, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X\r\nKeep-Alive: timeout=30\r\nX: 1\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nTrailer: z\r\nTE: trailers\r\n\r\nok", b"ok").lacks(&["connection", "keep-alive", "x", "proxy-authenticate", "upgrade", "te"]),
        good("Connection cannot take the length away", 200, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: content-length\r\n\r\nok", b"ok").has(&["content-length: 2"]),
        good("as many fields as may be", 200, &many(100), b"ok"),
        bad("more fields than may be", &many(101)),
        good("a head as large as may be", 200, &large(60_000), b"ok"),
        bad("a larger head", &large(70_000)),
        bad("a space before the colon", b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"),
        bad("a folded line", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n z\r\n\r\nok"),
        bad("a space before the first field", b"HTTP/1.1 200 OK\r\n Content-Length: 2\r\n\r\nok"),
        bad("no colon", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX\r\n\r\nok"),
        bad("no name", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n: y\r\n\r\nok"),
        bad("a space within a name", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX y: z\r\n\r\nok"),
        bad("a NUL within a value", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\0z\r\n\r\nok"),
        bad("a CR within a value", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\rSet-Cookie: z\r\n\r\nok"),
    ]
}

fn lengths() -> Vec<Case> {
    vec![
        good("the same length twice", 200, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", b"ok").has(&["content-length: 2"]),
        bad("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
        bad("two lengths on one line", b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok"),
        bad("a length with a sign", b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"),
        bad("a negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"),
        bad("a length of letters", b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"),
        bad("an empty length", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok"),
        bad("a length beyond 64 bits", b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok"),
        broken("a body that ends before its length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok").closes(),
        // The end may be there before the head is on its way to the client.
        cut("a length, and nothing of it", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").closes(),
        last("a body longer than its length", 200, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more", b"ok"),
        last("two answers at once", 200, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", b"ok"),
        last("a length of nothing and a body", 200, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nok", b""),
        last("a body that ends with the connection", 200, b"HTTP/1.1 200 OK\r\n\r\nok", b"ok").closes(),
    ]
}

fn chunks() -> Vec<Case> {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunked = |body: &[u8]| [HEAD, body].concat();
    vec![
        good("chunks", 200, &chunked(b"1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n"), b"ok").has(&["transfer-encoding: chunked"]),
        good("chunks of nothing", 200, &chunked(b"0\r\n\r\n"), b""),
        good("chunks and a length", 200, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok").lacks(&["content-length"]),
        good("trailers that nobody asked for", 200, &chunked(b"2\r\nok\r\n0\r\nX: 1\r\n\r\n"), b"ok"),
        last("something after the last chunk", 200, &chunked(b"2\r\nok\r\n0\r\n\r\nmore"), b"ok"),
        bad("two codings", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        bad("two codings on two lines", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        bad("chunks twice", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        bad("another coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok").closes(),
        bad("identity", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok").closes(),
        bad("chunks in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        broken("no last chunk", &chunked(b"2\r\nok\r\n")).closes(),
        broken("a chunk that ends early", &chunked(b"5\r\nok")).closes(),
        broken("a last chunk without its empty line", &chunked(b"2\r\nok\r\n0\r\n")).closes(),
        broken("a size of letters", &chunked(b"2\r\nok\r\nxyz\r\n\r\n")),
        broken("a size with a sign", &chunked(b"2\r\nok\r\n+1\r\nk\r\n0\r\n\r\n")),
        broken("a size beyond 64 bits", &chunked(b"2\r\nok\r\n10000000000000001\r\nk\r\n0\r\n\r\n")),
        broken("a size that ends with LF alone", &chunked(b"2\r\nok\r\n1\nk\r\n0\r\n\r\n")),
        broken("a chunk longer than its size", &chunked(b"1\r\nok\r\n0\r\n\r\n")),
        broken("a trailer without a colon", &chunked(b"2\r\nok\r\n0\r\nX\r\n\r\n")),
    ]
}

fn without_bodies() -> Vec<Case> {
    vec![
        good(
            "HEAD",
            200,
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            b"",
        )
        .to("HEAD")
        .has(&["content-length: 5"]),
        good(
            "HEAD of chunks",
            200,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"",
        )
        .to("HEAD"),
        last(
            "HEAD with a body",
            200,
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            b"",
        )
        .to("HEAD"),
        good("204", 204, b"HTTP/1.1 204 No Content\r\n\r\n", b"")
            .lacks(&["content-length", "transfer-encoding"]),
        good(
            "204 with a length",
            204,
            b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            b"",
        )
        .lacks(&["content-length"]),
        last(
            "204 with a body",
            204,
            b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
            b"",
        )
        .lacks(&["content-length"]),
        good(
            "304",
            304,
            b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
            b"",
        )
        .has(&["etag: \"x\""])
        .lacks(&["transfer-encoding"]),
        last(
            "304 with a body",
            304,
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok",
            b"",
        ),
        good(
            "205 with a length of nothing",
            205,
            b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
            b"",
        ),
    ]
}

fn interim() -> Vec<Case> {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let after = |interim: &[u8]| [interim, OK].concat();
    vec![
        good("100 that nobody waits for", 200, &after(b"HTTP/1.1 100 Continue\r\n\r\n"), b"ok"),
        good("103 without early_hints", 200, &after(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"), b"ok").lacks(&["link"]),
        good("102, 104 and 199", 200, &after(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 104 X\r\nX: y\r\n\r\nHTTP/1.1 199 Y\r\n\r\n"), b"ok").lacks(&["x"]),
        good("100 many times", 200, &after(&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(200)), b"ok"),
        good("100 with a length, which means nothing", 200, &after(b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n"), b"ok"),
        bad("100 with a body", &after(b"HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nno")),
        bad("100 and nothing else", b"HTTP/1.1 100 Continue\r\n\r\n").closes(),
        bad("a bad answer after 100", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2 OK\r\n\r\n"),
        bad("101 that nobody asked for", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        bad("101 to another protocol than was asked for", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n").asked_with("Connection: upgrade\r\nUpgrade: websocket\r\n"),
        bad("101 without an Upgrade", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n").asked_with("Connection: upgrade\r\nUpgrade: websocket\r\n"),
        good("no to an upgrade", 403, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", b"no").asked_with("Connection: upgrade\r\nUpgrade: websocket\r\n"),
    ]
}

fn connections() -> Vec<Case> {
    vec![
        last("Connection: close", 200, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", b"ok"),
        last("Connection: close among others", 200, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x\r\nConnection: keep-alive, Close\r\n\r\nok", b"ok"),
        last("HTTP/1.0", 200, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        last("HTTP/1.0 that would go on", 200, b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        last("HTTP/1.0 until its end", 200, b"HTTP/1.0 200 OK\r\n\r\nok", b"ok").closes(),
        last("a connection that is not to be kept", 200, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=0\r\n\r\nok", b"ok"),
    ]
}
