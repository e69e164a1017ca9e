"""A WebSocket over HTTP/2 (RFC 8441), frame by frame.

    over_http2.py HOST:PORT ROUNDS

Echoes ROUNDS messages and closes, or goes on until it is closed with ROUNDS 0; prints a line of JSON when it has ended:
how many there were, the code of the Close that came, whether the stream ended as it should.
"""

import json
import pathlib
import struct
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "http2"))

from wire import WAIT, Wire  # noqa: E402

TEXT, CLOSE = 1, 8
# Longer than one read and than one frame of HTTP/2.
PADDING = "x" * 60_000


class Socket:
    def __init__(self, wire, stream):
        self.wire, self.stream = wire, stream
        assert wire.greet().settings.get(8) == 1, wire.settings
        head = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/ws"),
            (":authority", "example.org"),
            ("sec-websocket-version", "13"),
        ]
        wire.head(stream, head, end=False)
        assert wire.hear(lambda wire: stream in wire.status), vars(wire)
        assert wire.status[stream] == 200, wire.fields[stream]

    def send(self, opcode, payload):
        mask = b"\x01\x02\x03\x04"
        length = len(payload)
        head = bytes([0x80 | opcode])
        if length < 126:
            head += bytes([0x80 | length])
        elif length < 1 << 16:
            head += bytes([0x80 | 126]) + struct.pack("!H", length)
        else:
            head += bytes([0x80 | 127]) + struct.pack("!Q", length)
        whole = head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        for at in range(0, len(whole), 16_384):
            self.wire.data(self.stream, whole[at : at + 16_384])

    def next(self):
        """The next frame, or none when the stream has ended."""
        assert self.wire.hear(lambda _: self.whole() or self.ended()), vars(self.wire)
        length = self.whole()
        if not length:
            return None
        body = self.wire.body[self.stream]
        frame, self.wire.body[self.stream] = body[: sum(length)], body[sum(length) :]
        return frame[0] & 0x0F, frame[length[0] :]

    def whole(self):
        """The lengths of head and payload of the frame that is there."""
        body = self.wire.body.get(self.stream, b"")
        if len(body) < 2:
            return None
        extended = {126: 2, 127: 8}.get(body[1], 0)
        head = 2 + extended
        length = int.from_bytes(body[2:head], "big") if extended else body[1]
        return (head, length) if len(body) >= head + length else None

    def ended(self):
        wire = self.wire
        return self.stream in wire.ended or self.stream in wire.resets or wire.closed or wire.goaway


def main():
    host, _, port = sys.argv[1].rpartition(":")
    wanted, rounds, code = int(sys.argv[2]), 0, None
    with Wire((host, int(port))) as wire:
        socket = Socket(wire, 1)
        while not wanted or rounds < wanted:
            message = f"{rounds} {PADDING}".encode()
            socket.send(TEXT, message)
            frame = socket.next()
            if frame is None or frame[0] == CLOSE:
                break
            version, _, echoed = frame[1].partition(b" ")
            assert echoed == message and version == b"1", frame[1][:40]
            rounds += 1
            time.sleep(0.02)
        else:
            socket.send(CLOSE, struct.pack("!H", 1000))
            frame = socket.next()
        if frame is not None:
            code = int.from_bytes(frame[1][:2], "big")
            socket.send(CLOSE, frame[1][:2])
        wire.hear(lambda _: socket.ended(), WAIT)
        print(json.dumps({"rounds": rounds, "code": code, "ended": 1 in wire.ended, "resets": wire.resets}))


main()
