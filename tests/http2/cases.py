"""Frames that a stranger may send, and how RFC 9113 wants them answered.

    cases.py ADDRESS PID frames|times|expect

hitless at ADDRESS has the app of echo.py. For `frames` it takes bodies of up to 200,000 bytes; for `times` every limit of a
client is a second, but that of writing is two; for `expect` the app meets expectations (`expect = "forward"`).
Prints a line for each case, and how much memory the process PID took over all floods. Ends with 1 if any case fails.
"""

import sys
import time
import traceback

from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from wire import PREFACE, Wire

CASES, TIMED, FORWARDED = [], [], []
ADDRESS = PID = None
USUAL = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.org")]


def case(function):
    CASES.append(function)
    return function


def opened(**kind):
    return Wire(ADDRESS, **kind)


def text(wire, stream=1):
    return wire.body.get(stream, b"").decode("latin-1")


def fine(wire, stream=1):
    """A request on this stream is answered: the connection still works."""
    wire.ask(stream)
    status = wire.answered(stream)
    assert status == 200, f"{status} {vars(wire)}"


def connection_error(wire, *codes):
    """GOAWAY with one of these codes, then the end."""
    wire.hear(lambda wire: wire.closed)
    assert wire.goaway in codes, f"GOAWAY {wire.goaway}, not {codes}"
    assert wire.closed, "the connection is still open"


def stream_error(wire, stream, *codes):
    """This stream is reset, and another one still works; or the connection is closed with the same code."""
    wire.hear(lambda wire: stream in wire.resets or wire.goaway)
    found = wire.resets.get(stream) or wire.goaway
    assert found in codes, f"{found}, not {codes}: {wire.status}"
    if wire.goaway is None:
        fine(wire, stream + 2)


def malformed(fields, end=True):
    """RFC 9113 section 8.1.1: a malformed request is a stream error, or is answered with 400."""
    with opened() as wire:
        wire.head(1, fields, end)
        status = wire.answered()
        if status is not None:
            assert status == 400, status
            fine(wire, 3)
        else:
            stream_error(wire, 1, "PROTOCOL_ERROR")


def memory():
    with open(f"/proc/{PID}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


# --- what is right


@case
def a_request_reaches_the_app_as_http_1_1():
    with opened() as wire:
        wire.ask(path="/a?b=c", fields=[("x-word", "value"), ("te", "trailers")])
        assert wire.answered() == 200
        lines = text(wire).split("\n")
        assert lines[0] == "GET /a?b=c HTTP/1.1", lines
        assert "host: example.org" in lines and "x-word: value" in lines, lines
        assert "te: trailers" in lines and "connection: te" in lines, lines
        assert not any(line.startswith(":") for line in lines), lines
        assert "transfer-encoding: chunked" not in lines, lines
        wire.hear(lambda wire: 3 in wire.settings)
        assert wire.settings[3] == 100 and wire.settings[6] == 65536, wire.settings


@case
def many_requests_at_once_are_answered_each():
    with opened() as wire:
        streams = range(1, 200, 2)
        for stream in streams:
            wire.ask(stream, path=f"/{stream}")
        assert wire.hear(lambda wire: all(stream in wire.ended for stream in streams))
        for stream in streams:
            assert f"GET /{stream} " in text(wire, stream)


@case
def a_body_without_length_goes_on_in_chunks():
    with opened() as wire:
        wire.ask(method="POST", end=False)
        wire.data(1, b"abc")
        wire.data(1, b"def", end=True)
        assert wire.answered() == 200
        assert "transfer-encoding: chunked" in text(wire)
        assert text(wire).endswith("\n\nabcdef"), text(wire)


@case
def a_body_with_length_keeps_it():
    with opened() as wire:
        wire.ask(method="POST", fields=[("content-length", "3")], end=False)
        wire.data(1, b"abc", end=True)
        assert wire.answered() == 200
        assert "content-length: 3" in text(wire) and text(wire).endswith("\n\nabc")


@case
def a_get_may_have_a_body():
    with opened() as wire:
        wire.ask(end=False)
        wire.data(1, b"abc", end=True)
        assert wire.answered() == 200 and text(wire).endswith("\n\nabc"), text(wire)


@case
def crumbs_are_joined():
    with opened() as wire:
        wire.ask(fields=[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")])
        assert wire.answered() == 200
        assert "cookie: a=1; b=2" in text(wire).split("\n"), text(wire)


@case
def trailers_that_are_announced_reach_the_app():
    with opened() as wire:
        wire.ask(method="POST", fields=[("trailer", "x-sum")], end=False)
        wire.data(1, b"abc")
        wire.head(1, [("x-sum", "6"), ("host", "evil.example")])
        assert wire.answered() == 200
        assert "trailer x-sum: 6" in text(wire), text(wire)
        assert "evil" not in text(wire)


@case
def the_preface_may_come_byte_by_byte():
    with opened(hello=False) as wire:
        for byte in PREFACE:
            wire.raw(bytes([byte]))
        wire.send(SettingsFrame(0))
        fine(wire)


@case
def an_answer_to_head_has_no_body():
    with opened() as wire:
        wire.ask(method="HEAD")
        assert wire.answered() == 200 and not wire.body.get(1)


@case
def the_host_field_stands_in_for_an_authority():
    with opened() as wire:
        wire.head(1, USUAL[:3] + [("host", "Example.NET:81")])
        assert wire.answered() == 200
        assert "host: Example.NET:81" in text(wire), text(wire)


@case
def the_server_as_a_whole_can_be_asked():
    with opened() as wire:
        wire.ask(method="OPTIONS", path="*")
        assert wire.answered() == 200 and text(wire).startswith("OPTIONS * "), text(wire)


@case
def a_ping_is_answered():
    with opened() as wire:
        wire.send(PingFrame(0, b"12345678"))
        assert wire.hear(lambda wire: wire.pongs == 1)
        fine(wire)


@case
def priorities_and_unknown_frames_are_ignored():
    with opened() as wire:
        wire.send(PriorityFrame(1, depends_on=0, stream_weight=5, exclusive=False))
        wire.frame(0xFA, 0xFF, 0, b"whatever")
        wire.frame(0x10, 0, 0, b"\0\0\0\1u=1")
        fine(wire)


@case
def unknown_settings_are_ignored():
    with opened() as wire:
        wire.frame(4, 0, 0, b"\xfa\xfa\0\0\0\1")
        fine(wire)


@case
def padding_is_taken_off():
    with opened() as wire:
        frame = HeadersFrame(1, wire.block(USUAL), flags=["END_HEADERS", "PADDED"])
        frame.pad_length = 30
        wire.send(frame)
        data = DataFrame(1, b"abc", flags=["END_STREAM", "PADDED"])
        data.pad_length = 200
        wire.send(data)
        assert wire.answered() == 200 and text(wire).endswith("\n\nabc")


@case
def a_head_may_be_continued():
    with opened() as wire:
        block = wire.block(USUAL + [("x-long", "y" * 5000)])
        wire.send(HeadersFrame(1, block[:10], flags=["END_STREAM"]))
        wire.send(ContinuationFrame(1, block[10:3000]))
        wire.send(ContinuationFrame(1, block[3000:], flags=["END_HEADERS"]))
        assert wire.answered() == 200 and "y" * 5000 in text(wire)


@case
def what_a_client_cancels_does_not_hurt_the_others():
    with opened() as wire:
        wire.ask(1, path="/never")
        wire.send(RstStreamFrame(1, 8))
        fine(wire, 3)


@case
def after_goaway_of_the_client_what_is_under_way_is_answered():
    with opened() as wire:
        wire.ask(1)
        wire.send(GoAwayFrame(0, 0, 0))
        assert wire.answered() == 200


@case
def a_body_too_large_is_refused_while_it_comes():
    with opened().greet() as wire:
        wire.ask(method="POST", end=False)
        for _ in range(12):
            wire.data(1, b"a" * 16384)
        wire.data(1, b"a" * 4000)
        # The app answers only what ends, so that this is hitless's word.
        assert wire.answered() == 413, vars(wire)
        wire.hear(lambda wire: 1 in wire.resets)
        assert wire.resets.get(1) == "NO_ERROR", wire.resets
        fine(wire, 3)


# --- answers


@case
def trailers_of_the_app_end_the_answer():
    with opened() as wire:
        wire.ask(path="/trailers", fields=[("te", "trailers")])
        assert wire.answered() == 200 and text(wire) == "abc"
        assert wire.trailers.get(1) == {"x-sum": "6"}, wire.trailers
        assert "transfer-encoding" not in wire.fields[1], wire.fields


@case
def an_answer_that_is_cut_resets_its_stream_alone():
    with opened() as wire:
        wire.ask(1, path="/cut")
        wire.answered()
        assert wire.resets.get(1) == "INTERNAL_ERROR", vars(wire)
        assert 1 not in wire.ended
        fine(wire, 3)


@case
def an_early_answer_ends_the_upload():
    with opened().greet() as wire:
        wire.ask(1, method="POST", end=False, path="/early")
        assert wire.answered() == 403, vars(wire)
        wire.hear(lambda wire: 1 in wire.resets)
        # RFC 9113 section 8.1: so that the client keeps the answer.
        assert wire.resets.get(1) == "NO_ERROR", wire.resets
        fine(wire, 3)


CONTINUE = [("expect", "100-continue"), ("content-length", "5")]


@case
def expect_gets_no_100_and_the_app_the_body_when_it_comes():
    with opened() as wire:
        wire.ask(1, method="POST", fields=CONTINUE, end=False)
        wire.hear(lambda wire: wire.status or wire.resets, 1.5)
        assert not wire.status and not wire.resets, vars(wire)
        # RFC 9110 section 10.1.1: no client waits for ever.
        wire.data(1, b"hello", end=True)
        assert wire.answered() == 200, vars(wire)
        assert text(wire).endswith("hello") and "expect" not in text(wire), text(wire)


@case
def expect_of_a_body_that_is_there_is_met_by_it():
    with opened() as wire:
        wire.ask(1, method="POST", fields=CONTINUE, end=False)
        wire.data(1, b"hello", end=True)
        assert wire.answered() == 200 and text(wire).endswith("hello"), vars(wire)


@case
def expect_gets_the_final_answer_of_an_app_that_wants_no_body():
    with opened() as wire:
        wire.ask(1, method="POST", fields=CONTINUE, end=False, path="/early")
        assert wire.answered() == 403, vars(wire)
        fine(wire, 3)


@case
def expect_gets_the_refusal_of_a_body_that_is_too_large():
    with opened() as wire:
        wire.ask(1, method="POST", fields=[CONTINUE[0], ("content-length", "300000")], end=False)
        assert wire.answered() == 413, vars(wire)
        fine(wire, 3)


@case
def hints_are_dropped():
    with opened() as wire:
        wire.ask(path="/hints")
        assert wire.answered() == 200


@case
def what_hitless_answers_itself_says_why():
    with opened() as wire:
        wire.ask(method="POST", fields=[("expect", "something")], end=False)
        assert wire.answered() == 417 and "proxy-status" in wire.fields[1], vars(wire)
        assert "connection" not in wire.fields[1]
        fine(wire, 3)


# --- WebSockets: RFC 8441


def connect(wire, stream, path, protocol="websocket", fields=()):
    head = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", path), (":authority", "a")]
    wire.head(stream, head + [("sec-websocket-version", "13"), *fields], end=False)


@case
def a_websocket_reaches_an_app_of_http_1_1():
    with opened().greet() as wire:
        assert wire.settings.get(8) == 1, wire.settings
        connect(wire, 1, "/ws", fields=[("sec-websocket-key", "x" * 24)])
        wire.hear(lambda wire: wire.body.get(1) == b"ready")
        assert wire.status.get(1) == 200 and wire.fields[1]["x-word"] == "value", vars(wire)
        for name in ("sec-websocket-accept", "upgrade", "connection"):
            assert name not in wire.fields[1], wire.fields
        wire.data(1, b"hello")
        assert wire.hear(lambda wire: wire.body.get(1) == b"readyHELLO"), wire.body
        fine(wire, 3)
        wire.data(1, b" and more", end=True)
        # One side may end before the other.
        assert wire.hear(lambda wire: 1 in wire.ended), vars(wire)
        assert wire.body[1] == b"readyHELLO AND MOREbye", wire.body
        fine(wire, 5)


@case
def a_websocket_whose_proof_is_wrong_is_502():
    with opened().greet() as wire:
        connect(wire, 1, "/ws-wrong")
        assert wire.answered() == 502, vars(wire)
        fine(wire, 3)


@case
def a_websocket_that_the_app_does_not_open_is_no_tunnel():
    with opened().greet() as wire:
        # 200 from the app would look like one.
        connect(wire, 1, "/")
        assert wire.answered() == 502, vars(wire)
        connect(wire, 3, "/early")
        assert wire.answered(3) == 403, vars(wire)


@case
def a_tunnel_that_is_reset_ends_at_the_app():
    with opened().greet() as wire:
        connect(wire, 1, "/ws")
        wire.hear(lambda wire: wire.body.get(1) == b"ready")
        wire.send(RstStreamFrame(1, 8))
        fine(wire, 3)


@case
def another_protocol_than_websocket_is_501():
    with opened().greet() as wire:
        connect(wire, 1, "/", protocol="what")
        assert wire.answered() == 501, vars(wire)
        fine(wire, 3)


# --- malformed requests: RFC 9113 sections 8.1 to 8.3

for number, (name, fields) in enumerate(
    {
        "no_method": USUAL[1:],
        "no_scheme": USUAL[:1] + USUAL[2:],
        "no_path": USUAL[:2] + USUAL[3:],
        "an_empty_path": USUAL[:2] + [(":path", ""), USUAL[3]],
        "a_path_without_a_slash": USUAL[:2] + [(":path", "a/b"), USUAL[3]],
        "two_methods": USUAL[:1] + USUAL,
        "two_paths": USUAL + [(":path", "/other")],
        "two_authorities": USUAL + [(":authority", "evil.example")],
        "an_unknown_pseudo_field": USUAL + [(":what", "ever")],
        "a_pseudo_field_of_answers": USUAL + [(":status", "200")],
        "a_pseudo_field_after_the_others": USUAL[:3] + [("x", "y"), USUAL[3]],
        "a_name_in_capitals": USUAL + [("X-Name", "y")],
        "an_empty_name": USUAL + [("", "y")],
        "a_space_in_a_name": USUAL + [("x y", "z")],
        "a_colon_in_a_name": USUAL + [("x:y", "z")],
        "a_line_end_in_a_name": USUAL + [("x\r\nevil: 1", "z")],
        "a_line_end_in_a_value": USUAL + [("x", "y\r\nevil: 1")],
        "a_line_feed_in_a_value": USUAL + [("x", "y\nevil: 1")],
        "a_nul_in_a_value": USUAL + [("x", "y\0z")],
        "a_line_end_in_the_path": USUAL[:2] + [(":path", "/ HTTP/1.1\r\nevil: 1\r\n\r\n"), USUAL[3]],
        "a_space_in_the_path": USUAL[:2] + [(":path", "/a b"), USUAL[3]],
        "a_line_end_in_the_method": [(":method", "GET / HTTP/1.1\r\nevil: 1\r\n\r\nGET")] + USUAL[1:],
        "a_space_in_the_method": [(":method", "GET /evil")] + USUAL[1:],
        "a_line_end_in_the_authority": USUAL[:3] + [(":authority", "a\r\nevil: 1")],
        "a_user_in_the_authority": USUAL[:3] + [(":authority", "user@example.org")],
        "an_empty_authority": USUAL[:3] + [(":authority", "")],
        "a_slash_in_the_authority": USUAL[:3] + [(":authority", "example.org/evil")],
        "a_host_that_is_another_one": USUAL + [("host", "evil.example")],
        "neither_authority_nor_host": USUAL[:3],
        "two_hosts": USUAL[:3] + [("host", "a"), ("host", "b")],
        "another_scheme": [USUAL[0], (":scheme", "ftp")] + USUAL[2:],
        "connection": USUAL + [("connection", "keep-alive")],
        "transfer_encoding": USUAL + [("transfer-encoding", "chunked")],
        "upgrade": USUAL + [("upgrade", "websocket")],
        "keep_alive": USUAL + [("keep-alive", "timeout=5")],
        "proxy_connection": USUAL + [("proxy-connection", "close")],
        "te_other_than_trailers": USUAL + [("te", "gzip")],
        "a_length_that_is_no_number": USUAL + [("content-length", "abc")],
        "two_lengths": USUAL + [("content-length", "0"), ("content-length", "5")],
        "a_length_without_a_body": USUAL + [("content-length", "5")],
        "a_protocol_without_connect": USUAL + [(":protocol", "websocket")],
    }.items()
):

    def check(fields=fields):
        malformed(fields)

    check.__name__ = f"malformed_{name}"
    case(check)


@case
def malformed_more_than_its_length():
    with opened() as wire:
        wire.ask(method="POST", fields=[("content-length", "3")], end=False)
        wire.data(1, b"abcdef", end=True)
        wire.answered()
        assert wire.status.get(1) in (None, 400), wire.status
        stream_error(wire, 1, "PROTOCOL_ERROR", "NO_ERROR")


@case
def malformed_less_than_its_length():
    with opened() as wire:
        wire.ask(method="POST", fields=[("content-length", "9")], end=False)
        wire.data(1, b"abcdef", end=True)
        wire.answered()
        assert wire.status.get(1) in (None, 400), wire.status
        stream_error(wire, 1, "PROTOCOL_ERROR", "NO_ERROR")


@case
def a_pseudo_field_in_trailers_does_not_reach_the_app():
    with opened() as wire:
        wire.ask(method="POST", end=False)
        wire.data(1, b"abc")
        wire.head(1, [(":path", "/evil")])
        # h2 drops it, where RFC 9113 section 8.1 calls it malformed.
        assert wire.answered() == 200 and "evil" not in text(wire), text(wire)


@case
def malformed_trailers_without_end():
    with opened() as wire:
        wire.ask(method="POST", end=False)
        wire.head(1, [("x", "y")], end=False)
        stream_error(wire, 1, "PROTOCOL_ERROR")


@case
def connect_is_not_spoken():
    with opened() as wire:
        wire.head(1, [(":method", "CONNECT"), (":authority", "example.org:443")])
        assert wire.answered() == 501, wire.status
        fine(wire, 3)


# --- faults in frames: RFC 9113 sections 4 to 6


def fault(name, codes, send):
    def check():
        with opened() as wire:
            send(wire)
            connection_error(wire, *codes)

    check.__name__ = f"fault_{name}"
    case(check)


P, F, S, C, W = "PROTOCOL_ERROR", "FRAME_SIZE_ERROR", "STREAM_CLOSED", "COMPRESSION_ERROR", "FLOW_CONTROL_ERROR"
# Where P stands beside another code, that is the one of RFC 9113, and h2 says P.
fault("data_on_no_stream", [P], lambda wire: wire.frame(0, 0, 0, b"abc"))
fault("data_on_an_idle_stream", [P], lambda wire: wire.frame(0, 0, 1, b"abc"))
fault("headers_on_no_stream", [P], lambda wire: wire.frame(1, 5, 0, wire.block(USUAL)))
fault("headers_on_an_even_stream", [P], lambda wire: wire.frame(1, 5, 2, wire.block(USUAL)))
fault("reset_of_an_idle_stream", [P], lambda wire: wire.frame(3, 0, 7, b"\0\0\0\x08"))
fault("reset_of_no_stream", [P], lambda wire: wire.frame(3, 0, 0, b"\0\0\0\x08"))
fault("reset_of_a_wrong_size", [F, P], lambda wire: (wire.ask(end=False), wire.frame(3, 0, 1, b"\0\0\0")))
fault("settings_on_a_stream", [P], lambda wire: wire.frame(4, 0, 1, b""))
fault("settings_of_a_wrong_size", [F, P], lambda wire: wire.frame(4, 0, 0, b"\0\3\0"))
fault("settings_acknowledged_with_a_payload", [F, P], lambda wire: wire.frame(4, 1, 0, b"\0\3\0\0\0\1"))
fault("push_set_to_2", [P], lambda wire: wire.frame(4, 0, 0, b"\0\2\0\0\0\2"))
fault("a_window_set_too_large", [W, P], lambda wire: wire.frame(4, 0, 0, b"\0\4\x80\0\0\0"))
fault("a_frame_size_set_too_small", [P], lambda wire: wire.frame(4, 0, 0, b"\0\5\0\0\0\1"))
fault("a_promise_from_a_client", [P], lambda wire: wire.send(PushPromiseFrame(1, 2, wire.block(USUAL), flags=["END_HEADERS"])))
fault("a_ping_on_a_stream", [P], lambda wire: wire.frame(6, 0, 1, b"12345678"))
fault("a_ping_of_a_wrong_size", [F, P], lambda wire: wire.frame(6, 0, 0, b"1234"))
fault("goaway_on_a_stream", [P], lambda wire: wire.frame(7, 0, 1, b"\0" * 8))
fault("a_window_of_a_wrong_size", [F, P], lambda wire: wire.frame(8, 0, 0, b"\0\0\1"))
fault("a_window_of_the_connection_opened_by_nothing", [P], lambda wire: wire.frame(8, 0, 0, b"\0\0\0\0"))
fault("a_window_of_the_connection_beyond_its_end", [W], lambda wire: wire.frame(8, 0, 0, b"\x7f\xff\xff\xff"))
fault("a_continuation_of_nothing", [P], lambda wire: wire.frame(9, 4, 1, b"abc"))
fault("another_frame_amid_a_head", [P], lambda wire: (wire.frame(1, 1, 1, wire.block(USUAL)), wire.frame(6, 0, 0, b"12345678")))
fault("a_continuation_of_another_stream", [P], lambda wire: (wire.frame(1, 1, 1, wire.block(USUAL)), wire.frame(9, 4, 3, b"")))
fault("a_frame_too_large", [F], lambda wire: wire.frame(0, 0, 1, b"x" * 16385))
fault("padding_longer_than_the_frame", [P], lambda wire: (wire.ask(end=False), wire.frame(0, 8, 1, b"\xff abc")))
fault("a_block_that_is_none", [C, P], lambda wire: wire.frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
fault("an_index_that_nothing_has", [C, P], lambda wire: wire.frame(1, 5, 1, b"\xfe"))
fault("a_stream_lower_than_the_last", [P, S], lambda wire: (wire.ask(5), wire.answered(5), wire.ask(3)))


@case
def fault_a_window_of_a_stream_opened_by_nothing():
    with opened() as wire:
        wire.ask(end=False, path="/never")
        wire.frame(8, 0, 1, b"\0\0\0\0")
        stream_error(wire, 1, "PROTOCOL_ERROR")


@case
def fault_a_window_of_a_stream_beyond_its_end():
    with opened() as wire:
        wire.ask(end=False, path="/never")
        wire.frame(8, 0, 1, b"\x7f\xff\xff\xff")
        stream_error(wire, 1, "FLOW_CONTROL_ERROR")


@case
def fault_data_after_the_end():
    with opened() as wire:
        wire.ask(1, path="/never")
        wire.data(1, b"abc")
        stream_error(wire, 1, "STREAM_CLOSED", "PROTOCOL_ERROR")


@case
def a_preface_that_goes_wrong_is_a_request_of_http_1_1():
    with opened(hello=False) as wire:
        wire.raw(PREFACE[:20] + b"XX\r\n\r\n")
        data = b""
        try:
            while chunk := wire.socket.recv(1000):
                data += chunk
        except OSError:
            pass
        assert not data or data.startswith(b"HTTP/1.1 400"), data


@case
def a_first_frame_that_is_no_settings():
    with opened(hello=False) as wire:
        wire.raw(PREFACE)
        wire.send(PingFrame(0, b"12345678"))
        connection_error(wire, "PROTOCOL_ERROR")


# --- limits and floods


@case
def limit_of_streams():
    with opened() as wire:
        streams = range(1, 203, 2)
        # In one piece, so that none is over before the last has come.
        for stream in streams:
            wire.ask(stream, path="/never")
        wire.hear(lambda wire: 201 in wire.resets)
        assert wire.resets.get(201) == "REFUSED_STREAM", (wire.resets, wire.goaway)
        for stream in streams:
            wire.send(RstStreamFrame(stream, 8))
            if stream == 81:
                break
        fine(wire, 203)


@case
def limit_of_a_head():
    with opened() as wire:
        wire.ask(fields=[(f"x-{number}", "y" * 3900) for number in range(20)])
        assert wire.answered() == 431, vars(wire)
        fine(wire, 3)


@case
def limit_of_fields():
    with opened() as wire:
        wire.ask(fields=[(f"x-{number}", "y") for number in range(101)])
        assert wire.answered() == 431, vars(wire)
        fine(wire, 3)


@case
def limit_of_crumbs():
    with opened() as wire:
        wire.ask(fields=[("cookie", "a=1")] * 1000)
        assert wire.answered() == 431, vars(wire)
        fine(wire, 3)


def flood(name, codes, send, times):
    """Sent over and over it ends the connection, with one of these codes where the client still hears it."""

    def check():
        before = memory()
        with opened() as wire:
            sent = 0
            for number in range(times):
                if not send(wire, number):
                    break
                sent += 1
            wire.hear(lambda wire: wire.closed, 20)
            assert wire.closed, f"still open after {sent}"
            assert wire.goaway in codes + [None], wire.goaway
        grown = memory() - before
        assert grown < 48, f"{grown:.0f} MiB more"
        with opened() as wire:
            fine(wire)

    check.__name__ = f"flood_{name}"
    case(check)


CALM = ["ENHANCE_YOUR_CALM"]
many = lambda make: lambda wire, number: wire.raw(make(wire, number) * 100)
flood("of_pings", CALM, many(lambda wire, _: PingFrame(0, b"12345678").serialize()), 1000)
flood("of_settings", CALM, many(lambda wire, _: SettingsFrame(0, {1: 4096}).serialize()), 1000)
flood("of_settings_acknowledged", CALM + [P], many(lambda wire, _: SettingsFrame(0, flags=["ACK"]).serialize()), 1000)
flood("of_priorities", CALM, many(lambda wire, _: PriorityFrame(1, depends_on=0).serialize()), 1000)
flood("of_unknown_frames", CALM, many(lambda wire, _: b"\0\0\4\xfa\0\0\0\0\0abcd"), 1000)
flood("of_windows", CALM, many(lambda wire, _: WindowUpdateFrame(0, 1).serialize()), 1000)
flood(
    "of_resets",
    CALM + [P],
    lambda wire, number: wire.ask(2 * number + 1, path="/never") and wire.send(RstStreamFrame(2 * number + 1, 8)),
    20000,
)
flood("of_faults", CALM + [P], lambda wire, number: wire.head(2 * number + 1, USUAL + [("connection", "x")]), 20000)


def endless_continuations(wire, number):
    if number == 0:
        return wire.frame(1, 1, 1, wire.block(USUAL))
    return wire.frame(9, 0, 1, b"\x00\x01x" + b"\x7f\x81\x7d" + b"y" * 16000)


def empty_continuations(wire, number):
    if number == 0:
        return wire.frame(1, 1, 1, wire.block(USUAL))
    return wire.raw(b"\0\0\0\x09\0\0\0\0\1" * 100)


def empty_data(wire, number):
    if number == 0:
        return wire.ask(1, method="POST", end=False, path="/never")
    return wire.raw(b"\0\0\0\0\0\0\0\0\1" * 100)


def refused_streams(wire, number):
    return wire.ask(2 * number + 1, path="/never")


flood("of_continuations", CALM + [P, C, F], endless_continuations, 5000)
flood("of_empty_continuations", CALM + [P], empty_continuations, 5000)
flood("of_empty_data", CALM, empty_data, 5000)
flood("of_streams_beyond_the_limit", CALM, refused_streams, 20000)


@case
def a_head_that_a_few_bytes_stand_for_is_bounded():
    """An "HTTP/2 bomb": one large field, then references to it."""
    before = memory()
    with opened() as wire:
        block = wire.block(USUAL + [("x-large", "y" * 4000)])
        wire.send(HeadersFrame(1, block, flags=["END_HEADERS", "END_STREAM"]))
        wire.answered()
        for number in range(200):
            stream = 2 * number + 3
            if not wire.send(HeadersFrame(stream, wire.block(USUAL) + b"\xbe" * 16000, flags=["END_HEADERS", "END_STREAM"])):
                break
        wire.hear(lambda wire: wire.closed or 403 in wire.status, 5)
        assert not any(status == 200 for stream, status in wire.status.items() if stream > 1), wire.status
    assert memory() - before < 48, memory() - before


@case
def a_client_that_takes_nothing_slows_the_app_and_not_the_memory():
    before = memory()
    with opened(settings={4: 0}) as wire:
        for stream in range(1, 100, 2):
            wire.ask(stream, path="/big")
        wire.hear(lambda wire: len(wire.status) == 50)
        assert len(wire.status) == 50 and not any(wire.body.values())
        wire.hear(lambda wire: False, 1)
        grown = memory() - before
        assert grown < 48, f"{grown:.0f} MiB for 50 answers of 10 MB"


@case
def a_client_that_stops_amid_its_answers_slows_the_apps_and_not_the_memory():
    # By then the app's connections have been read from in ever larger pieces, if anything lets them.
    taken = 1_000_000
    before = memory()
    with opened(settings={4: taken}) as wire:
        wire.windows = False
        wire.send(WindowUpdateFrame(0, 100 * taken))
        for stream in range(1, 200, 2):
            wire.ask(stream, path="/big")
        wire.hear(lambda wire: sum(map(len, wire.body.values())) == 100 * taken, 60)
        assert len(wire.body) == 100 and set(map(len, wire.body.values())) == {taken}, vars(wire).keys()
        wire.hear(lambda wire: False, 1)
        grown = memory() - before
        assert grown < 64, f"{grown:.0f} MiB for 100 answers of 10 MB"


# --- times


def timed(function):
    TIMED.append(function)
    return function


@timed
def an_idle_connection_gets_goaway_twice_and_ends():
    with opened() as wire:
        fine(wire)
        since = time.monotonic()
        assert wire.hear(lambda wire: wire.closed)
        assert 0.9 < time.monotonic() - since < 8, time.monotonic() - since
        assert wire.goaways == [(2**31 - 1, "NO_ERROR"), (1, "NO_ERROR")], wire.goaways


@timed
def a_connection_that_never_asks_is_closed():
    with opened() as wire:
        assert wire.hear(lambda wire: wire.closed)
        assert wire.goaway == "NO_ERROR", wire.goaway


@timed
def an_idle_client_that_answers_no_ping_is_left_all_the_same():
    with opened() as wire:
        wire.answer_pings = False
        fine(wire)
        assert wire.hear(lambda wire: wire.closed, 15)


@timed
def pings_of_a_client_do_not_keep_it():
    with opened() as wire:
        until = time.monotonic() + 15
        while not wire.closed and time.monotonic() < until:
            wire.send(PingFrame(0, b"12345678"))
            wire.hear(lambda wire: False, 0.1)
        assert wire.closed and wire.goaway == "NO_ERROR", wire.goaway


@timed
def a_preface_that_does_not_come_is_408():
    with opened(hello=False) as wire:
        wire.raw(PREFACE[:10])
        assert wire.socket.recv(1000).startswith(b"HTTP/1.1 408 ")


@timed
def a_head_that_does_not_end_ends_the_connection():
    with opened() as wire:
        wire.send(HeadersFrame(1, wire.block(USUAL), flags=["END_STREAM"]))
        since = time.monotonic()
        assert wire.hear(lambda wire: wire.closed)
        assert time.monotonic() - since < 5


@timed
def a_body_that_does_not_come_is_408():
    with opened() as wire:
        wire.ask(1, method="POST", end=False)
        wire.data(1, b"abc")
        assert wire.answered() == 408, vars(wire)
        fine(wire, 3)


@timed
def expect_without_a_body_is_408():
    with opened() as wire:
        wire.ask(1, method="POST", fields=CONTINUE, end=False)
        since = time.monotonic()
        assert wire.answered() == 408, vars(wire)
        assert time.monotonic() - since < 5
        fine(wire, 3)


@timed
def a_body_beyond_the_window_is_a_fault():
    with opened().greet() as wire:
        wire.ask(1, path="/never", method="POST", end=False)
        for _ in range(3000):
            if not wire.data(1, b"x" * 16384) or wire.hear(lambda wire: wire.resets or wire.goaway, 0):
                break
        stream_error(wire, 1, "FLOW_CONTROL_ERROR")


@timed
def a_client_that_opens_no_window_loses_the_answer_alone():
    with opened(settings={4: 100}) as wire:
        wire.windows = False
        wire.ask(1, path="/big")
        wire.hear(lambda wire: 1 in wire.resets)
        assert wire.resets.get(1) == "CANCEL" and len(wire.body[1]) == 100, vars(wire)
        wire.windows = True
        wire.ask(3, method="HEAD")
        assert wire.answered(3) == 200


@timed
def a_client_that_takes_some_now_and_then_gets_it_all():
    with opened(settings={4: 1000}) as wire:
        wire.windows = False
        wire.ask(1, path="/")
        length = None
        wire.hear(lambda wire: 1 in wire.status)
        length = int(wire.fields[1]["content-length"])
        while len(wire.body.get(1, b"")) < length:
            wire.hear(lambda wire: False, 0.5)
            assert wire.send(WindowUpdateFrame(1, 50))
        assert 1 not in wire.resets


@timed
def a_tunnel_that_says_nothing_outlives_the_idle_timeout():
    with opened().greet() as wire:
        head = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws"), (":authority", "a")]
        wire.head(1, head, end=False)
        wire.hear(lambda wire: wire.body.get(1) == b"ready")
        wire.hear(lambda wire: wire.goaway, 4)
        assert wire.goaway is None and not wire.closed
        wire.data(1, b"hello")
        assert wire.hear(lambda wire: wire.body.get(1) == b"readyHELLO"), wire.body
        wire.data(1, b"", end=True)
        assert wire.hear(lambda wire: wire.closed)


@timed
def a_client_that_reads_nothing_is_left():
    with opened(settings={4: 2**31 - 1}, rcvbuf=4096) as wire:
        wire.send(WindowUpdateFrame(0, 2**30))
        wire.ask(1, path="/big")
        until = time.monotonic() + 20
        while time.monotonic() < until:
            time.sleep(0.2)
            if not wire.send(PingFrame(0, b"12345678")):
                return
        raise AssertionError("still open after 20 s")


# --- an app that meets expectations itself


def forwarded(function):
    FORWARDED.append(function)
    return function


@forwarded
def expect_goes_on_and_the_body_when_the_app_says_100():
    with opened() as wire:
        wire.ask(1, method="POST", fields=CONTINUE, end=False, path="/continue")
        wire.data(1, b"hello", end=True)
        assert wire.answered() == 200, vars(wire)
        assert text(wire).endswith("hello") and "expect: 100-continue" in text(wire), text(wire)


@forwarded
def expect_goes_on_and_the_body_after_a_second_of_silence():
    with opened() as wire:
        since = time.monotonic()
        wire.ask(1, method="POST", fields=CONTINUE, end=False)
        wire.data(1, b"hello", end=True)
        assert wire.answered() == 200 and text(wire).endswith("hello"), vars(wire)
        assert 0.9 < time.monotonic() - since < 5, time.monotonic() - since


@forwarded
def expect_goes_on_and_the_final_answer_comes_back():
    with opened() as wire:
        wire.ask(1, method="POST", fields=CONTINUE, end=False, path="/early")
        assert wire.answered() == 403, vars(wire)
        fine(wire, 3)


def main():
    global ADDRESS, PID
    host, port = sys.argv[1].rsplit(":", 1)
    ADDRESS, PID = (host, int(port)), int(sys.argv[2])
    cases, wanted = {"frames": CASES, "times": TIMED, "expect": FORWARDED}[sys.argv[3]], sys.argv[4:]
    failed = 0
    before = memory()
    for check in cases:
        if wanted and check.__name__ not in wanted:
            continue
        try:
            check()
            print("ok", check.__name__, flush=True)
        except Exception as error:  # noqa: BLE001
            failed += 1
            print("FAILED", check.__name__, repr(error) if isinstance(error, AssertionError) else traceback.format_exc(), flush=True)
    print(f"{len(cases)} cases, {failed} failed, {memory() - before:.1f} MiB more than before")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
