"""The Tornado app that the tests reload: the same paths as the built-in app (src/demo/routes.rs).

A deploy is a change of the files beside it: VERSION names the version, BOOT the seconds it takes to start, and FAULTS
what is wrong with it, a name and a value a line. No signal handling, as is usual with Tornado.

    probe_status N      hitless's probes are answered with N
    fail_traffic N      everything else is
    fail_file PATH      everything but probes is answered with 500 while this file exists
    exit_after S        it exits with status 1 S seconds after it listens
    kill_after S        it ends by SIGKILL then
    segfault_after S    it ends by SIGSEGV then
    hang_after S        it answers nothing any more from then on
    lock PATH           it holds a lock on this file; where another one does, it says "two at once" and exits
"""

import asyncio
import fcntl
import json
import os
import pathlib
import signal
import sys
import time
import zlib

import tornado.httpserver
import tornado.ioloop
import tornado.netutil
import tornado.options
import tornado.process
import tornado.web
import tornado.websocket

tornado.options.define("port", type=int, help="listen on this port")
tornado.options.define("processes", type=int, default=1, help="fork this many workers")
tornado.options.define("start", type=int, default=1, help="the same with the server's start()")

FOLDER = pathlib.Path(__file__).resolve().parent


def setting(name, default):
    file = FOLDER / name
    return file.read_text().strip() if file.exists() else default


VERSION = setting("VERSION", "1")
FAULTS = dict(line.split(maxsplit=1) for line in setting("FAULTS", "").splitlines())
PROBE_STATUS = int(FAULTS.get("probe_status", "0"))
FAIL_TRAFFIC = int(FAULTS.get("fail_traffic", "0"))
FAIL_FILE = pathlib.Path(FAULTS.get("fail_file", "/nowhere/at/all"))
HANGS = asyncio.Event()


def take_lock(path):
    file = open(path, "a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("two at once")
    return file


LOCK = take_lock(FAULTS["lock"]) if "lock" in FAULTS else None


def plan_faults():
    loop = asyncio.get_running_loop()

    def plan(name, deed, *arguments):
        if name in FAULTS:
            loop.call_later(float(FAULTS[name]), deed, *arguments)

    plan("exit_after", os._exit, 1)
    plan("kill_after", os.kill, os.getpid(), signal.SIGKILL)
    plan("segfault_after", os.kill, os.getpid(), signal.SIGSEGV)
    plan("hang_after", HANGS.set)


class Handler(tornado.web.RequestHandler):
    async def prepare(self):
        await self.hang()
        if status := self.fault():
            self.set_status(status)
            self.finish(f"{status}, as told\n")

    async def hang(self):
        if HANGS.is_set():
            await asyncio.Event().wait()

    def fault(self):
        if self.request.headers.get("User-Agent") == "hitless-probe":
            return PROBE_STATUS
        return 500 if FAIL_FILE.exists() else FAIL_TRAFFIC

    def set_default_headers(self):
        self.set_header("X-Version", VERSION)
        self.set_header("X-Generation", os.environ.get("HITLESS_GENERATION", "0"))
        self.set_header("X-Pid", str(os.getpid()))

    def flush(self, include_footers=False):
        if not self._headers_written:
            self.set_header("X-App-Seconds", f"{self.request.request_time():.6f}")
        return super().flush(include_footers)

    def greet(self):
        generation = os.environ.get("HITLESS_GENERATION", "0")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(f"hello from version {VERSION}, generation {generation}, process {os.getpid()}\n")


class Hello(Handler):
    def get(self):
        self.greet()


class Slow(Handler):
    async def get(self):
        await asyncio.sleep(int(self.get_argument("ms", "1500")) / 1000)
        self.greet()


@tornado.web.stream_request_body
class Upload(Handler):
    async def prepare(self):
        self.length, self.crc32 = 0, 0
        await self.hang()

    def data_received(self, chunk):
        self.length += len(chunk)
        self.crc32 = zlib.crc32(chunk, self.crc32)

    def post(self):
        # Only now, for whoever sends a body reads no answer before its end.
        self.set_status(self.fault() or 200)
        self.write({"length": self.length, "crc32": f"{self.crc32:08x}"})


class Download(Handler):
    BLOCK = bytes(index * 31 % 251 for index in range(251)) * 256

    async def get(self):
        left = int(self.get_argument("bytes", str(1 << 20)))
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Length", str(left))
        while left:
            block = self.BLOCK[:left]
            left -= len(block)
            self.write(block)
            await self.flush()


class Stream(Handler):
    async def get(self):
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        pause = int(self.get_argument("ms", "100")) / 1000
        for index in range(int(self.get_argument("chunks", "10"))):
            if index:
                await asyncio.sleep(pause)
            self.write(f"{index} {VERSION}\n")
            await self.flush()


class Events(Handler):
    async def get(self):
        self.set_header("Content-Type", "text/event-stream")
        pause = int(self.get_argument("ms", "100")) / 1000
        index = 0
        while not self.request.connection.stream.closed():
            self.write(f"id: {index}\ndata: {VERSION}\n\n")
            await self.flush()
            await asyncio.sleep(pause)
            index += 1


class Headers(Handler):
    def get(self):
        fields = [[name.lower(), value] for name, value in self.request.headers.get_all()]
        self.set_header("Content-Type", "application/json")
        self.write(
            json.dumps(
                {
                    "method": self.request.method,
                    "target": self.request.uri,
                    "version": self.request.version,
                    "fields": fields,
                }
            )
        )

    post = get


class Status(Handler):
    def get(self):
        self.set_status(int(self.get_argument("code", "200")))


class Echo(tornado.websocket.WebSocketHandler):
    def set_default_headers(self):
        self.set_header("X-Version", VERSION)
        self.set_header("X-Generation", os.environ.get("HITLESS_GENERATION", "0"))

    async def prepare(self):
        if HANGS.is_set():
            await asyncio.Event().wait()

    def on_message(self, message):
        if isinstance(message, bytes):
            self.write_message(message, binary=True)
        else:
            self.write_message(f"{VERSION} {message}")


ROUTES = [
    ("/", Hello),
    ("/slow", Slow),
    ("/upload", Upload),
    ("/download", Download),
    ("/stream", Stream),
    ("/events", Events),
    ("/headers", Headers),
    ("/status", Status),
    ("/ws", Echo),
]


def make_server():
    app = tornado.web.Application(ROUTES, log_function=lambda handler: None)
    return tornado.httpserver.HTTPServer(app)


async def serve(sockets):
    make_server().add_sockets(sockets)
    plan_faults()
    await asyncio.Event().wait()


def start_server(port, processes):
    """The older way to several processes: the server forks, and each process has a loop of its own."""
    server = make_server()
    server.bind(port, address="127.0.0.1")
    server.start(processes)
    tornado.ioloop.IOLoop.current().start()


def main():
    # What a bigger app does at import.
    time.sleep(float(setting("BOOT", "0")))
    tornado.options.parse_command_line()
    options = tornado.options.options
    if options.start > 1:
        return start_server(options.port, options.start)
    sockets = tornado.netutil.bind_sockets(options.port, address="127.0.0.1")
    print(f"version {VERSION} on port {options.port}", flush=True)
    if options.processes > 1:
        tornado.process.fork_processes(options.processes)
    asyncio.run(serve(sockets))


if __name__ == "__main__":
    main()
