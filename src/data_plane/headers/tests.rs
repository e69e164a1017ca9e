//! The promises of `headers`, one test each.

use http::Uri;
use http_body_util::{Empty, Full};

use super::*;

fn request(target: &str, fields: &[(&str, &str)]) -> Request<Empty<&'static [u8]>> {
    let mut request = Request::builder().uri(target.parse::<Uri>().unwrap());
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

fn stranger() -> Origin {
    origin("198.51.100.1")
}

fn friend() -> Origin {
    origin("192.0.2.7")
}

fn origin(peer: &str) -> Origin {
    Origin::new(Some(peer.parse().unwrap()), Some(8080), &proxies())
}

fn proxies() -> TrustedProxies {
    let nets = ["192.0.2.0/24", "10.0.0.0/8", "2001:db8::/32"];
    TrustedProxies::new(nets.iter().map(|net| net.parse().unwrap()).collect())
}

fn rewrite<B: Body>(request: &mut Request<B>, origin: &Origin) -> Result<Found, Reason> {
    let proxies = proxies();
    let rules = Rules {
        proxies: &proxies,
        expect: Expect::Answer,
    };
    toward_app(request, origin, &rules)
}

#[track_caller]
fn check(
    fields: &[(&str, &str)],
    origin: &Origin,
    expected: &[(&str, Option<&str>)],
) -> Request<Empty<&'static [u8]>> {
    let mut fields = fields.to_vec();
    if !fields.iter().any(|(name, _)| *name == "host") {
        fields.push(("host", "example.org"));
    }
    let mut request = request("/a", &fields);
    rewrite(&mut request, origin).unwrap();
    for (name, value) in expected {
        let lines: Vec<_> = request.headers().get_all(*name).iter().collect();
        let expected: Vec<_> = value.iter().collect();
        assert_eq!(lines, expected, "{name}");
    }
    request
}

#[track_caller]
fn check_refused(target: &str, fields: &[(&str, &str)], reason: Reason) {
    let mut request = request(target, fields);
    let refused = rewrite(&mut request, &stranger()).unwrap_err();
    assert_eq!(refused, reason);
}

#[test]
fn every_field_that_any_connection_line_names_is_removed() {
    check(
        &[
            ("connection", "keep-alive, x-one"),
            ("connection", "X-Two ,,x-three"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("x-four", "4"),
        ],
        &stranger(),
        &[
            ("connection", None),
            ("x-one", None),
            ("x-two", None),
            ("x-three", None),
            ("keep-alive", None),
            ("proxy-connection", None),
            ("x-four", Some("4")),
        ],
    );
}

#[test]
fn naming_a_forwarding_field_in_connection_does_not_remove_ours() {
    check(
        &[("connection", "x-forwarded-for, x-request-id, host")],
        &stranger(),
        &[
            ("x-forwarded-for", Some("198.51.100.1")),
            ("x-forwarded-proto", Some("http")),
        ],
    );
}

#[test]
fn a_clients_close_is_never_passed_on() {
    check(
        &[("connection", "close")],
        &stranger(),
        &[("connection", None)],
    );
}

#[test]
fn only_trailers_of_te_is_kept() {
    check(
        &[("te", "gzip, trailers")],
        &stranger(),
        &[("te", Some("trailers"))],
    );
    check(
        &[("te", "gzip")],
        &stranger(),
        &[("te", None), ("connection", None)],
    );
    check(
        &[("trailer", "x-sum")],
        &stranger(),
        &[("trailer", Some("x-sum"))],
    );
}

#[test]
fn what_a_stranger_claims_is_removed_under_every_spelling() {
    check(
        &[
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x-forwarded_user", "root"),
            ("forwarded", "for=10.0.0.1"),
            ("x-real_ip", "10.0.0.1"),
            ("x_request_id", "mine"),
            ("proxy", "http://evil"),
            ("x-forwardedish", "stays"),
        ],
        &stranger(),
        &[
            ("x-forwarded-for", Some("198.51.100.1")),
            ("x_forwarded_for", None),
            ("x-forwarded_user", None),
            ("forwarded", None),
            ("x-real_ip", None),
            ("x_request_id", None),
            ("proxy", None),
            ("x-forwardedish", Some("stays")),
        ],
    );
}

#[test]
fn what_a_trusted_peer_claims_is_kept_and_appended_to() {
    check(
        &[
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "https"),
            ("x-request-id", "abc"),
        ],
        &friend(),
        &[
            ("x-forwarded-for", Some("10.0.0.1, 10.0.0.2, 192.0.2.7")),
            ("x-forwarded-proto", Some("https")),
            ("x-forwarded-port", Some("8080")),
            ("x-forwarded-host", Some("example.org")),
            ("x-request-id", Some("abc")),
        ],
    );
}

#[test]
fn a_trusted_peer_is_added_to_forwarded_where_there_is_one() {
    let fields = [
        ("forwarded", "for=10.0.0.1;proto=https"),
        ("forwarded", "for=_x"),
    ];
    let expected = "for=10.0.0.1;proto=https, for=_x, for=192.0.2.7";
    check(&fields, &friend(), &[("forwarded", Some(expected))]);
    let expected = "for=10.0.0.1;proto=https, for=_x, for=\"[2001:db8::1]\"";
    check(
        &fields,
        &origin("2001:db8::1"),
        &[("forwarded", Some(expected))],
    );
    check(&[], &friend(), &[("forwarded", None)]);
}

#[test]
fn even_a_trusted_peer_passes_on_no_lookalike() {
    check(
        &[
            ("x_forwarded_for", "6.6.6.6"),
            ("x-real_ip", "6.6.6.6"),
            ("x-real-ip", "10.0.0.1"),
            ("proxy", "http://evil"),
        ],
        &friend(),
        &[
            ("x-forwarded-for", Some("192.0.2.7")),
            ("x_forwarded_for", None),
            ("x-real_ip", None),
            ("x-real-ip", Some("10.0.0.1")),
            ("proxy", None),
        ],
    );
}

#[test]
fn a_trusted_peer_cannot_be_made_to_forget_whom_it_asks_for() {
    check(
        &[
            (
                "connection",
                "x-forwarded-for, forwarded, host, content-length",
            ),
            ("x-forwarded-for", "203.0.113.9"),
            ("forwarded", "for=203.0.113.9"),
            ("content-length", "0"),
        ],
        &friend(),
        &[
            ("x-forwarded-for", Some("203.0.113.9, 192.0.2.7")),
            ("forwarded", Some("for=203.0.113.9, for=192.0.2.7")),
            ("host", Some("example.org")),
            ("content-length", Some("0")),
        ],
    );
}

#[track_caller]
fn check_client(fields: &[(&str, &str)], origin: &Origin, client: &str) {
    let mut fields = fields.to_vec();
    fields.push(("host", "a"));
    let found = rewrite(&mut request("/", &fields), origin).unwrap();
    assert_eq!(found.client, Some(client.parse().unwrap()), "{fields:?}");
}

/// Each proxy adds at the end; what stands further left than the first stranger is that stranger's word.
#[test]
fn who_asked_is_read_from_the_right() {
    let line = |line| [("x-forwarded-for", line)];
    let (a, b) = ("203.0.113.9", "192.0.2.7");
    check_client(&line("6.6.6.6"), &stranger(), "198.51.100.1");
    check_client(&[], &friend(), b);
    check_client(&line("203.0.113.9"), &friend(), a);
    check_client(&line("6.6.6.6, 203.0.113.9, 10.0.0.1"), &friend(), a);
    check_client(
        &line("6.6.6.6,203.0.113.9:4711,[2001:db8::1]:80 "),
        &friend(),
        a,
    );
    check_client(&line("6.6.6.6, unknown, 10.0.0.1"), &friend(), "10.0.0.1");
    check_client(&line("10.0.0.2, 10.0.0.1"), &friend(), "10.0.0.2");
    check_client(&line(""), &friend(), b);
    let lines = [
        ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
        ("x-forwarded-for", "10.0.0.1"),
    ];
    check_client(&lines, &friend(), a);
}

#[test]
fn who_asked_is_read_from_forwarded_where_there_is_nothing_else() {
    let line = |line| [("forwarded", line)];
    let (a, b) = ("203.0.113.9", "192.0.2.7");
    check_client(
        &line("for=6.6.6.6, For=203.0.113.9;proto=http, for=10.0.0.1"),
        &friend(),
        a,
    );
    let quoted = "for=6.6.6.6, proto=https; for=\"203.0.113.9:80\";by=x, for=\"[2001:db8::1]\"";
    check_client(&line(quoted), &friend(), a);
    check_client(&line("for=6.6.6.6, for=\"_a,b\""), &friend(), b);
    check_client(&line("for=6.6.6.6, host=x"), &friend(), b);
    check_client(&line("for=6.6.6.6, for=\"203.0.113.9"), &friend(), b);
    let both = [
        ("forwarded", "for=6.6.6.6"),
        ("x-forwarded-for", "203.0.113.9"),
    ];
    check_client(&both, &friend(), a);
}

#[test]
fn a_request_id_of_a_trusted_peer_is_kept_where_it_is_one() {
    let long = "x".repeat(129);
    for bad in ["", "a b", "a\u{e4}", &long] {
        let request = check(&[("x-request-id", bad)], &friend(), &[]);
        assert_eq!(request.headers()["x-request-id"].len(), 32, "{bad:?}");
    }
    let twice = [("x-request-id", "one"), ("x-request-id", "two")];
    let request = check(&twice, &friend(), &[]);
    assert_eq!(request.headers()["x-request-id"].len(), 32);
}

#[test]
fn a_strangers_request_id_is_replaced_by_128_bits_in_hexadecimal() {
    let request = check(&[("x-request-id", "mine")], &stranger(), &[]);
    let id = request.headers()["x-request-id"].to_str().unwrap();
    assert_eq!(id.len(), 32);
    assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()));
}

#[test]
fn no_host_or_several_or_a_bad_one_is_a_bad_request() {
    check_refused("/", &[], Reason::BadRequest);
    check_refused("/", &[("host", "a"), ("host", "a")], Reason::BadRequest);
    check_refused("/", &[("host", "")], Reason::BadRequest);
    check_refused("/", &[("host", "a/b")], Reason::BadRequest);
    for host in [
        "user@a", "a:b", "a:80:80", "::1", "[::1", "[::1]x", "[a]", "[]", ":80", "a%4", "a:123456",
    ] {
        check_refused("/", &[("host", host)], Reason::BadRequest);
        check_refused("http://b/", &[("host", host)], Reason::BadRequest);
    }
    for host in ["a:", "a:80", "[::1]", "[::1]:80", "a_b", "%41", "a.", "A,b"] {
        check(&[("host", host)], &stranger(), &[("host", Some(host))]);
    }
    check_refused("http://user@a/", &[("host", "a")], Reason::BadRequest);
}

#[test]
fn in_absolute_form_the_authority_wins_over_host() {
    let mut request = request("http://real.org:81/p?q=%2F", &[("host", "other")]);
    rewrite(&mut request, &stranger()).unwrap();
    assert_eq!(request.headers()["host"], "real.org:81");
    assert_eq!(request.uri(), "/p?q=%2F");
    assert!(request.uri().authority().is_none());
}

/// Found by fuzzing: the path is there and empty.
#[test]
fn the_absolute_form_with_a_fragment_alone_has_a_path() {
    for target in ["http://b#c", "http://b", "http://b/"] {
        let mut request = request(target, &[("host", "a")]);
        rewrite(&mut request, &stranger()).unwrap();
        assert_eq!(request.uri().to_string(), "/", "{target}");
    }
}

#[test]
fn a_target_in_a_form_that_is_not_for_it_is_a_bad_request() {
    let host = [("host", "a")];
    for target in ["*", "b", "b:80", "ftp://b/"] {
        check_refused(target, &host, Reason::BadRequest);
    }
}

#[test]
fn a_name_that_a_wsgi_app_takes_for_the_framing_is_removed() {
    for origin in [stranger(), friend()] {
        check(
            &[
                ("content_length", "5"),
                ("transfer_encoding", "chunked"),
                ("content-length", "0"),
            ],
            &origin,
            &[
                ("content_length", None),
                ("transfer_encoding", None),
                ("content-length", Some("0")),
            ],
        );
    }
}

#[test]
fn path_and_query_stay_as_they_are() {
    for target in ["//a//b/../c?x=%20&y", "*", "/%E4?a?b"] {
        let mut request = request(target, &[("host", "a")]);
        *request.method_mut() = Method::OPTIONS;
        rewrite(&mut request, &stranger()).unwrap();
        assert_eq!(request.uri().to_string(), target);
    }
}

#[test]
fn what_hitless_does_not_speak_is_refused() {
    let host = ("host", "a");
    check_refused(
        "/",
        &[host, ("transfer-encoding", "gzip, chunked")],
        Reason::NotImplemented,
    );
    let twice = [
        host,
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "chunked"),
    ];
    check_refused("/", &twice, Reason::NotImplemented);
    check_refused("/", &[host, ("expect", "tea")], Reason::ExpectationFailed);
    let mut connect = request("/", &[host]);
    *connect.method_mut() = Method::CONNECT;
    assert_eq!(
        rewrite(&mut connect, &stranger()).unwrap_err(),
        Reason::NotImplemented
    );
}

#[test]
fn a_get_with_a_body_of_unknown_length_is_sent_in_chunks() {
    let body = http_body_util::StreamBody::new(futures_util::stream::pending::<
        Result<http_body::Frame<&'static [u8]>, std::io::Error>,
    >());
    let mut request = Request::builder().header("host", "a").body(body).unwrap();
    request
        .headers_mut()
        .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    rewrite(&mut request, &stranger()).unwrap();
    assert_eq!(request.headers()["transfer-encoding"], "chunked");
}

#[test]
fn only_a_websocket_upgrade_is_asked_for_upstream() {
    let asked = |upgrade| [("connection", "Upgrade"), ("upgrade", upgrade)];
    let websocket = [
        ("upgrade", Some("websocket")),
        ("connection", Some("upgrade")),
    ];
    check(&asked("WebSocket"), &stranger(), &websocket);
    let dropped = [
        ("upgrade", None),
        ("http2-settings", None),
        ("connection", None),
    ];
    check(&asked("h2c"), &stranger(), &dropped);
    check(&[("upgrade", "websocket")], &stranger(), &dropped);
}

#[test]
fn an_answer_with_a_transfer_coding_loses_its_length() {
    let mut response = Response::builder()
        .version(Version::HTTP_10)
        .header("transfer-encoding", "chunked")
        .header("content-length", "3")
        .header("connection", "close, x-hop")
        .header("x-hop", "1")
        .body(Full::new(&b"abcdef"[..]))
        .unwrap();
    toward_client(&mut response).unwrap();
    assert_eq!(response.version(), Version::HTTP_11);
    assert!(response.headers().is_empty(), "{:?}", response.headers());
}

#[test]
fn an_answer_in_another_coding_is_none() {
    for coding in ["gzip, chunked", "gzip", "chunked, chunked", "identity"] {
        let head = Response::builder().header("transfer-encoding", coding);
        let mut response = head.body(()).unwrap();
        assert_eq!(
            toward_client(&mut response),
            Err(Reason::BadAnswer),
            "{coding}"
        );
    }
}

#[test]
fn a_hint_has_no_field_of_its_own_connection() {
    let mut fields = HeaderMap::new();
    for (name, value) in [
        ("link", "</a.css>; rel=preload"),
        ("link", "</b.css>; rel=preload"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("content-length", "5"),
    ] {
        fields.append(name, HeaderValue::from_static(value));
    }
    let message = String::from_utf8(early_hints(&fields)).unwrap();
    let expected = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\
                    link: </b.css>; rel=preload\r\n\r\n";
    assert_eq!(message, expected);
}

#[test]
fn a_switch_to_another_protocol_than_asked_for_is_told() {
    let switch = |upgrade| {
        let head = Response::builder().header("connection", "upgrade");
        let mut response = head.header("upgrade", upgrade).body(()).unwrap();
        switch_protocols(&mut response)
    };
    assert!(switch("websocket"));
    assert!(!switch("h2c"));
    assert!(!switch("websocket, h2c"));
}

#[test]
fn trailers_cannot_claim_where_a_message_came_from() {
    let mut trailers = HeaderMap::new();
    for name in [
        "x-forwarded-for",
        "content-length",
        "transfer-encoding",
        "x-request-id",
        "authorization",
        "set-cookie",
        "content-type",
        "proxy",
        "x-sum",
    ] {
        trailers.insert(name, HeaderValue::from_static("1"));
    }
    clean_trailers(&mut trailers);
    let left: Vec<_> = trailers
        .keys()
        .map(|name| name.as_str().to_owned())
        .collect();
    assert_eq!(left, ["x-sum"]);
}

#[test]
fn the_apps_own_keep_alive_is_read() {
    let timeout = |value| {
        let mut headers = HeaderMap::new();
        headers.insert("keep-alive", HeaderValue::from_static(value));
        keep_alive_timeout(&headers)
    };
    assert_eq!(timeout("timeout=5, max=100"), Some(5));
    assert_eq!(timeout("max=100,Timeout= 7"), Some(7));
    assert_eq!(timeout("max=100"), None);
}
