//! Hosts: RFC 9112 section 3.2, RFC 3986 section 3.2.

use super::case::{Case, last, passed, refused};

const BAD: &[u16] = &[400];

pub(crate) const CASES: &[Case] = &[
    refused("no host", BAD, b"GET /{c} HTTP/1.1\r\n\r\n"),
    refused("an empty host", BAD, b"GET /{c} HTTP/1.1\r\nHost:\r\n\r\n"),
    refused(
        "a host of spaces",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost:   \r\n\r\n",
    ),
    refused(
        "the same host twice",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    ),
    refused(
        "two hosts",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: a\r\nX: y\r\nhost: b\r\n\r\n",
    ),
    refused(
        "two hosts with HTTP/1.0",
        BAD,
        b"GET /{c} HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    ),
    refused(
        "a host and an empty one",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: a\r\nHost:\r\n\r\n",
    ),
    refused(
        "two hosts on one line",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: a, b\r\n\r\n",
    ),
    refused(
        "a host with a path",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: a/b\r\n\r\n",
    ),
    refused(
        "a host with a query",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: a?b\r\n\r\n",
    ),
    refused(
        "a host with a fragment",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: a#b\r\n\r\n",
    ),
    refused(
        "a host with a user",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: b@a\r\n\r\n",
    ),
    refused(
        "a host with a scheme",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: http://a\r\n\r\n",
    ),
    refused(
        "a host with a backslash",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: a\\b\r\n\r\n",
    ),
    refused(
        "a host with a space",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: a b\r\n\r\n",
    ),
    refused(
        "a host with a tab",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: a\tb\r\n\r\n",
    ),
    refused(
        "a host in quotes",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: \"a\"\r\n\r\n",
    ),
    refused(
        "a host in angle brackets",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: <a>\r\n\r\n",
    ),
    refused(
        "a host with an umlaut",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n",
    ),
    refused(
        "a host with half an escape",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: a%4\r\n\r\n",
    ),
    refused(
        "a port of letters",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: a:http\r\n\r\n",
    ),
    refused(
        "a negative port",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: a:-1\r\n\r\n",
    ),
    refused(
        "two ports",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: a:80:80\r\n\r\n",
    ),
    refused(
        "a port alone",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: :80\r\n\r\n",
    ),
    refused(
        "an address of IPv6 without brackets",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: ::1\r\n\r\n",
    ),
    refused(
        "an address of IPv6 with half its brackets",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: [::1\r\n\r\n",
    ),
    refused(
        "a name in brackets",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: [a]\r\n\r\n",
    ),
    refused(
        "an address of IPv6 with a zone",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n",
    ),
    refused(
        "something after an address of IPv6",
        BAD,
        b"GET /{c} HTTP/1.1\r\nHost: [::1]80\r\n\r\n",
    ),
    passed(
        "a port",
        b"GET /{c} HTTP/1.1\r\nHost: a.example:8080\r\n\r\n",
        &[b"GET /{c} HTTP/1.1\nhost: a.example:8080\n\n"],
    ),
    passed(
        "an empty port",
        b"GET /{c} HTTP/1.1\r\nHost: a:\r\n\r\n",
        &[b"GET /{c} HTTP/1.1\nhost: a:\n\n"],
    ),
    passed(
        "an address of IPv4",
        b"GET /{c} HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n",
        &[b"GET /{c} HTTP/1.1\nhost: 127.0.0.1:80\n\n"],
    ),
    passed(
        "an address of IPv6",
        b"GET /{c} HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        &[b"GET /{c} HTTP/1.1\nhost: [::1]:80\n\n"],
    ),
    passed(
        "a host as it is written",
        b"GET /{c} HTTP/1.1\r\nhOsT: WWW.Example.COM.\r\n\r\n",
        &[b"GET /{c} HTTP/1.1\nhost: WWW.Example.COM.\n\n"],
    ),
    passed(
        "a host with a low line",
        b"GET /{c} HTTP/1.1\r\nHost: a_b\r\n\r\n",
        &[b"GET /{c} HTTP/1.1\nhost: a_b\n\n"],
    ),
    passed(
        "a host with an escape",
        b"GET /{c} HTTP/1.1\r\nHost: a%2eb\r\n\r\n",
        &[b"GET /{c} HTTP/1.1\nhost: a%2eb\n\n"],
    ),
    passed(
        "Host as the last field",
        b"GET /{c} HTTP/1.1\r\nX: y\r\nHost: a\r\n\r\n",
        &[b"GET /{c} HTTP/1.1\nhost: a\nx: y\n\n"],
    ),
    last(
        "a bad host is none with HTTP/1.0 either",
        b"GET /{c} HTTP/1.0\r\nHost: a/b\r\n\r\n",
        &[],
    )
    .answered(BAD),
];
