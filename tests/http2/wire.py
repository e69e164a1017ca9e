"""A client of HTTP/2 that sends frames as it is told, right or wrong, and notes what comes back."""

import socket
import time

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WAIT = 10.0

CODES = {
    0: "NO_ERROR",
    1: "PROTOCOL_ERROR",
    2: "INTERNAL_ERROR",
    3: "FLOW_CONTROL_ERROR",
    4: "SETTINGS_TIMEOUT",
    5: "STREAM_CLOSED",
    6: "FRAME_SIZE_ERROR",
    7: "REFUSED_STREAM",
    8: "CANCEL",
    9: "COMPRESSION_ERROR",
    11: "ENHANCE_YOUR_CALM",
}


class Wire:
    """One connection. What comes is noted in `status`, `fields`, `body`, `trailers`, `ended` (by stream), `resets` (by
    stream), `goaway` (a code), `closed`, `settings` and `pongs`."""

    def __init__(self, address, settings=None, hello=True, rcvbuf=None):
        self.socket = socket.socket()
        if rcvbuf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.socket.settimeout(WAIT)
        self.socket.connect(address)
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.bytes = b""
        self.status, self.fields, self.body, self.trailers = {}, {}, {}, {}
        self.ended, self.resets, self.settings = set(), {}, {}
        self.goaway = None
        self.goaways = []
        self.closed = False
        self.pongs = 0
        self.pings = 0
        self.answer_pings = True
        self.windows = True
        if hello:
            self.raw(PREFACE)
            self.send(SettingsFrame(0, settings=settings or {}))

    # --- sending

    def raw(self, data):
        """Says whether they could be sent."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            self.closed = True
            return False

    def send(self, *frames):
        return self.raw(b"".join(frame.serialize() for frame in frames))

    def frame(self, kind, flags, stream, payload=b"", length=None):
        """A frame of any kind, also with a length that is not that of its payload."""
        length = len(payload) if length is None else length
        head = length.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
        return self.raw(head + payload)

    def block(self, fields):
        return self.encoder.encode(fields)

    def ask(self, stream=1, fields=(), end=True, path="/", method="GET", **pseudo):
        """A request with these fields after the usual ones."""
        head = [
            (":method", method),
            (":scheme", pseudo.get("scheme", "http")),
            (":path", path),
            (":authority", pseudo.get("authority", "example.org")),
        ]
        return self.head(stream, head + list(fields), end)

    def head(self, stream, fields, end=True):
        block = self.block(fields)
        parts = [block[at : at + 16384] for at in range(0, len(block), 16384)] or [b""]
        frames = [HeadersFrame(stream, parts[0], flags=["END_STREAM"] if end else [])]
        frames += [ContinuationFrame(stream, part) for part in parts[1:]]
        frames[-1].flags.add("END_HEADERS")
        return self.send(*frames)

    def data(self, stream, data, end=False):
        return self.send(DataFrame(stream, data, flags=["END_STREAM"] if end else []))

    # --- hearing

    def greet(self):
        """Waits until both sides know each other's settings."""
        self.hear(lambda wire: wire.settings)
        return self

    def hear(self, until, wait=WAIT):
        """Notes what comes until that holds. Says whether it does."""
        deadline = time.monotonic() + wait
        while not until(self):
            if self.closed:
                return False
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(1 << 16)
            except TimeoutError:
                return False
            except OSError:
                data = b""
            if not data:
                self.closed = True
                continue
            self.bytes += data
            self.read()
        return True

    def read(self):
        while len(self.bytes) >= 9:
            length = int.from_bytes(self.bytes[:3], "big")
            if len(self.bytes) < 9 + length:
                return
            frame, _ = Frame.parse_frame_header(memoryview(self.bytes[:9]))
            frame.parse_body(memoryview(self.bytes[9 : 9 + length]))
            self.bytes = self.bytes[9 + length :]
            self.note(frame)

    def note(self, frame):
        stream = frame.stream_id
        if isinstance(frame, HeadersFrame):
            fields = self.decoder.decode(frame.data)
            if stream in self.status:
                self.trailers[stream] = dict(fields)
            else:
                self.fields[stream] = dict(fields)
                self.status[stream] = int(self.fields[stream][":status"])
        elif isinstance(frame, DataFrame):
            self.body[stream] = self.body.get(stream, b"") + frame.data
            if self.windows and frame.flow_controlled_length:
                size = frame.flow_controlled_length
                self.send(WindowUpdateFrame(0, size), WindowUpdateFrame(stream, size))
        elif isinstance(frame, RstStreamFrame):
            self.resets[stream] = CODES.get(frame.error_code, frame.error_code)
        elif isinstance(frame, GoAwayFrame):
            self.goaway = CODES.get(frame.error_code, frame.error_code)
            self.goaways.append((frame.last_stream_id, self.goaway))
        elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.settings.update(frame.settings)
            self.send(SettingsFrame(0, flags=["ACK"]))
        elif isinstance(frame, PingFrame):
            if "ACK" in frame.flags:
                self.pongs += 1
            else:
                self.pings += 1
                if self.answer_pings:
                    self.send(PingFrame(0, frame.opaque_data, flags=["ACK"]))
        elif isinstance(frame, ContinuationFrame):
            raise AssertionError("hitless needs no CONTINUATION here")
        if "END_STREAM" in frame.flags:
            self.ended.add(stream)

    def answered(self, stream=1):
        self.hear(lambda wire: stream in wire.ended or stream in wire.resets or wire.goaway)
        return self.status.get(stream)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
