"""An app of HTTP/1.1 that answers each request with what it got: line, fields, trailers, an empty line, the body.

`/never` is not answered and its body not read; `/big` is 10 MB; `/trailers` ends with trailers; `/cut` breaks off;
`/early` answers before the body has come; `/continue` says 100 first. `/ws` is a tunnel that gives back what it gets in
capitals and says `bye` at the end; `/ws-wrong` gives no right proof.
"""

import base64
import hashlib
import os
import select
import socketserver


# Once for all: a hundred of them may be under way.
BIG = b"x" * 10_000_000


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        while self.one():
            pass

    def one(self):
        line = self.rfile.readline().decode("latin-1").rstrip("\r\n")
        if not line:
            return False
        told = [line]
        fields = {}
        while text := self.rfile.readline().decode("latin-1").rstrip("\r\n"):
            told.append(text)
            name, _, value = text.partition(": ")
            fields[name.lower()] = value
        path = line.split(" ")[1].partition("?")[0]
        if path == "/never":
            poll = select.poll()
            poll.register(self.request, select.POLLRDHUP)
            poll.poll()
            return False
        if path == "/big":
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n")
            self.wfile.write(BIG)
            return True
        if path == "/trailers":
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n"
                b"3\r\nabc\r\n0\r\nx-sum: 6\r\nset-cookie: a=b\r\n\r\n"
            )
            return True
        if path == "/cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
            return False
        if path == "/early":
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        if path in ("/ws", "/ws-wrong") and fields.get("upgrade") == "websocket":
            return self.tunnel(fields["sec-websocket-key"] + ("x" if path == "/ws-wrong" else ""))
        if path == "/continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if path == "/hints":
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
        body = b""
        if fields.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while text := self.rfile.readline().decode("latin-1").rstrip("\r\n"):
                told.append("trailer " + text)
        else:
            body = self.rfile.read(int(fields.get("content-length", 0)))
        if path == "/early":
            return True
        told = "\n".join(told).encode("latin-1") + b"\n\n" + body
        if line.startswith("HEAD "):
            told = b""
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(told) + told)
        return True

    def tunnel(self, key):
        proof = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-accept: " + base64.b64encode(proof) + b"\r\nx-word: value\r\n\r\nready"
        )
        while data := self.request.recv(1000):
            self.wfile.write(data.upper())
        self.wfile.write(b"bye")
        return False


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    Server(("127.0.0.1", int(os.environ["PORT"])), Echo).serve_forever()
