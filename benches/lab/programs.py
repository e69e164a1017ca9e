"""The programs: the lab itself, hitless, and the peers, each set up as its own guide says."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from . import machine

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
HERE = os.path.dirname(os.path.abspath(__file__))


def results_folder():
    return os.path.join(TARGET, "bench")


def release_binary():
    return os.path.join(TARGET, "release", "hitless")


def need_binary(path):
    if not os.access(path, os.X_OK):
        sys.exit(f"no hitless at {path}: cargo build --release, or name one with --binary")
    return os.path.abspath(path)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Lab:
    """A folder for the run, and the lab's own program in it."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="hitless-bench-")
        self.program = os.path.join(self.folder, "lab")
        self.running = []
        self.compile("lab.rs", self.program)

    def __enter__(self):
        # Whoever asks for an end gets one that cleans up.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        machine.raise_files_max()
        return self

    def __exit__(self, *_):
        for one in reversed(self.running):
            with contextlib.suppress(Exception):
                one.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def compile(self, source, out, *options):
        rustc = os.environ.get("RUSTC", "rustc")
        words = [rustc, "--edition", "2024", "-O", *options, "-o", out, os.path.join(HERE, source)]
        subprocess.run(words, check=True, timeout=300)

    def keep(self, one):
        """Stopped at the end, whatever happens until then."""
        self.running.append(one)
        return one

    def path(self, name):
        return os.path.join(self.folder, name)

    def load_command(self, address, **options):
        words = [self.program, "load", address]
        for name, value in options.items():
            if value is True:
                words.append(f"--{name}")
            elif value:
                words += [f"--{name}", str(value)]
        return words

    def load(self, address, core=None, meter=None, within=None, strict=True, **options):
        """Runs clients to their end, and returns what they saw. A meter is begun once every connection is there and has
        been used, and is ended before any is closed."""
        command = self.load_command(address, **options, **({"warm": True} if meter else {}))
        if core is not None:
            command = ["taskset", "-c", ",".join(str(one) for one in ensure_list(core)), *command]
        within = within or 60 + 3 * float(options.get("seconds", 60))
        if meter:
            seen = self.metered(command, meter, within)
            if strict:
                expect_all_answered(seen)
            return seen
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=within
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr or done.stdout}")
        seen = json.loads(done.stdout.strip().splitlines()[-1])
        if strict:
            expect_all_answered(seen)
        return seen

    def metered(self, command, meter, within):
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        # Bounded: whatever is waited for below ends with it.
        limit = threading.Timer(within, child.kill)
        limit.start()
        try:
            if child.stdout.readline().strip() == "warm":
                meter.begin()
                child.stdin.write("go\n")
                child.stdin.flush()
                said = child.stdout.readline()
                meter.end()
                if said:
                    child.stdin.close()
                    child.wait()
                    return json.loads(said)
            child.kill()
            raise RuntimeError(f"{' '.join(command)}: {child.stderr.read()}")
        finally:
            limit.cancel()
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                pipe.close()

    def load_http2(self, address, core, path, connections, streams, seconds=None, requests=None, meter=None):
        """The same over HTTP/2 by prior knowledge, with the client of nghttp2. Its few connections count."""
        log = self.path("h2load.log")
        amount = ["-n", str(requests)] if requests else ["-D", f"{round(seconds * 1000)}ms"]
        command = [
            "taskset", "-c", ",".join(str(one) for one in ensure_list(core)), machine.need("h2load", "nghttp2-client"),
            "-t1", "-c", str(connections), "-m", str(streams), *amount, f"--log-file={log}", f"http://{address}{path}",
        ]
        with contextlib.suppress(OSError):
            os.unlink(log)
        if meter:
            meter.begin()
        began = time.monotonic()
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        lasted = time.monotonic() - began
        if meter:
            meter.end()
        with open(log) as file:
            answers = [line.split("\t") for line in file]
        times = sorted(int(took) for _, status, took in answers if status == "200")
        if done.returncode != 0 or not times or len(times) != len(answers):
            raise RuntimeError(f"{' '.join(command)}: {len(times)} of {len(answers)} are good\n{done.stdout}{done.stderr}")
        at = {f"p{name}_us": float(times[int(part * len(times))]) for name, part in
              (("50", 0.5), ("99", 0.99), ("999", 0.999))}
        phase = {"name": "first", "seconds": seconds or lasted, "answered": len(times), "lost": 0, "wrong": 0, **at}
        return {"connects": connections, "refused": 0, "problems": [], "phases": [phase]}


def ensure_list(value):
    return sorted(value) if isinstance(value, (set, list, tuple)) else [value]


def failed(seen):
    return sum(phase["lost"] + phase["wrong"] for phase in seen["phases"])


def answered(seen):
    return sum(phase["answered"] for phase in seen["phases"])


def expect_all_answered(seen):
    if failed(seen) or not answered(seen):
        raise RuntimeError(f"{failed(seen)} of {answered(seen) + failed(seen)} requests failed: {seen['problems']}")


class Clients:
    """Clients that run beside something else, in phases."""

    def __init__(self, lab, address, core=None, **options):
        command = lab.load_command(address, **options)
        if core is not None:
            command = ["taskset", "-c", ",".join(str(one) for one in ensure_list(core)), *command]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lab.keep(self)

    def phase(self, name):
        self.child.stdin.write(f"{name}\n")
        self.child.stdin.flush()

    def idle(self):
        """Waits until every connection has had its answer and is kept."""
        if self.child.stdout.readline().strip() != "idle":
            raise RuntimeError("the clients ended before they were idle")

    def finish(self):
        out, _ = self.child.communicate(timeout=60)
        return json.loads(out.strip().splitlines()[-1])

    def stop(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()


class Hitless:
    """hitless in front of the lab's app, or of any other command."""

    name = "hitless"

    def __init__(self, lab, binary, core=None, app_core=None, prefix=(), command=None, globals="", settings="",
                 threads=1, name="hitless", env=None, ready_within=60):
        self.lab, self.binary = lab, binary
        self.control = lab.path(f"{name}.sock")
        backend = command or [lab.program, "backend", "{port}"]
        if app_core is not None:
            backend = ["taskset", "-c", str(app_core), *backend]
        self.config = lab.path(f"{name}.toml")
        self.write(backend, globals, settings, threads)
        self.backend = backend
        arguments = [*prefix, binary, "run", "--config", self.config]
        self.process = lab.keep(machine.Process(arguments, lab.path(f"{name}.log"), core, env))
        self.pid = self.process.pid
        self.ready_within = ready_within
        status = machine.until("hitless is live", ready_within, self.is_live)
        # HTTP/2 by prior knowledge comes in by the same door.
        self.address = self.http2_address = status["listen"][0]

    def write(self, backend, globals, settings, threads):
        with open(self.config, "w") as file:
            file.write(
                f"listen = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\nthreads = {threads}\n"
                f"control = {json.dumps(self.control)}\n{globals}\n"
                f"[app.app]\ncommand = {json.dumps(backend)}\n{settings}\n"
            )

    def is_live(self):
        self.process.check()
        status = self.status()
        return status if status and status["apps"][0]["live"] else None

    def status(self):
        """None: it cannot be asked."""
        done = subprocess.run(
            [self.binary, "status", "--json", "--control", self.control], capture_output=True, text=True, timeout=60
        )
        with contextlib.suppress(json.JSONDecodeError):
            status = json.loads(done.stdout)
            apps = status["apps"]
            status["apps"] = list(apps.values()) if isinstance(apps, dict) else apps
            return status
        return None

    def app(self):
        status = self.status()
        if not status:
            raise RuntimeError(f"hitless does not answer:\n{self.process.words()}")
        return status["apps"][0]

    def ask(self, *words, within=120):
        words = [words[0], "--control", self.control, *words[1:]]
        done = subprocess.run([self.binary, *words], capture_output=True, text=True, timeout=within)
        if done.returncode != 0:
            raise RuntimeError(f"hitless {' '.join(words)}: {done.stdout}{done.stderr}")

    def post(self, path, within=60):
        """Asks over the control socket itself: no program has to be started, and so nothing but hitless takes time."""
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(within)
            one.connect(self.control)
            one.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            said = b""
            while True:
                part = one.recv(65536)
                if not part:
                    break
                said += part
        if b" 200 " not in said.split(b"\r\n", 1)[0] or b'"live"' not in said:
            raise RuntimeError(f"{path}: {said.decode(errors='replace')}")

    def backend_address(self):
        app = self.app()
        live = [one for one in app["generations"] if one["generation"] == app["live"]]
        return live[0]["addresses"][0]

    def pids(self):
        """hitless and its keeper; the app is not hitless."""
        return [self.pid, *machine.children(self.pid)]

    def stop(self):
        return self.process.stop(within=40)

    def accepts(self, globals="", settings=""):
        """Whether this hitless knows these keys already."""
        path = self.lab.path("probe.toml")
        with open(path, "w") as file:
            file.write(f"{globals}\n[app.app]\ncommand = [\"true\"]\n{settings}\n")
        done = subprocess.run([self.binary, "check", "--config", path], capture_output=True, timeout=30)
        return done.returncode == 0


class Nginx:
    """As the guide of ngx_http_upstream_module has it for kept-alive upstreams, and the same fields added as by hitless."""

    LARGE = """
        proxy_buffer_size 64k; proxy_buffers 16 64k; proxy_busy_buffers_size 256k;
        client_body_buffer_size 128k; proxy_max_temp_file_size 0;"""

    def __init__(self, lab, upstream, core, workers=1, large=False, log=None, name="nginx"):
        self.name = name
        self.address, self.http2_address = (f"127.0.0.1:{free_port()}" for _ in range(2))
        folder = lab.path(name)
        os.makedirs(folder)
        config = os.path.join(folder, "nginx.conf")
        access = f"access_log {log} same;" if log else "access_log off;"
        user = "user root;" if os.geteuid() == 0 else ""
        location = f"""location / {{
            proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Request-Id $request_id;
            {self.LARGE if large else ''}
        }}"""
        with open(config, "w") as file:
            file.write(f"""
daemon off; {user} pid {folder}/pid; error_log stderr; worker_processes {workers}; 
events {{ worker_connections {2 * machine.connections_max()}; }}
http {{
    log_format same '$time_iso8601 $remote_addr "$request" $status $body_bytes_sent $request_time $request_id';
    {access}
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    client_max_body_size 0; keepalive_timeout 75s;
    upstream app {{ server {upstream}; keepalive 128; }}
    server {{
        listen {self.address} {'reuseport' if workers > 1 else ''} backlog=4096;
        {location}
    }}
    server {{
        # The client of HTTP/2 does not come back when it is told to after 1,000 requests.
        listen {self.http2_address} http2 {'reuseport' if workers > 1 else ''}; keepalive_requests 1000000000;
        {location}
    }}
}}
""")
        program = machine.need("nginx", "nginx-light")
        self.process = lab.keep(machine.Process([program, "-c", config, "-p", folder], lab.path(f"{name}.log"), core))
        machine.until(f"{name} listens", 10, lambda: self.process.check() or connects(self.address))

    def pids(self):
        return [self.process.pid, *machine.children(self.process.pid)]

    def stop(self):
        return self.process.stop()


class HAProxy:
    """As its guide has it for kept-alive servers, with connections shared among clients."""

    def __init__(self, lab, upstream, core, workers=1, large=False, log=None, name="haproxy"):
        self.name = name
        self.address, self.http2_address = (f"127.0.0.1:{free_port()}" for _ in range(2))
        config = lab.path(f"{name}.cfg")
        logs = "log stdout format raw local0" if log else ""
        line = ('log global\n  log-format "%t %ci \\"%HM %HU\\" %ST %B %Ta %ID"' if log else "")
        with open(config, "w") as file:
            file.write(f"""
global
  maxconn {machine.connections_max()}
  nbthread {workers}
  {'tune.bufsize 65536' if large else ''}
  {logs}
defaults
  mode http
  {line}
  timeout connect 3s
  timeout client 75s
  timeout server 60s
  timeout http-keep-alive 75s
frontend clients
  bind {self.address} backlog 4096
  bind {self.http2_address} proto h2
  option forwardfor
  unique-id-format %{{+X}}o%ci%cp%fi%fp%Ts%rt
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  default_backend app
backend app
  http-reuse always
  server app {upstream}
""")
        program = machine.need("haproxy")
        self.process = lab.keep(machine.Process([program, "-db", "-f", config], log or lab.path(f"{name}.log"), core))
        machine.until(f"{name} listens", 10, lambda: self.process.check() or connects(self.address))

    def pids(self):
        return [self.process.pid]

    def stop(self):
        return self.process.stop(how=signal.SIGTERM)


def connects(address):
    host, port = address.rsplit(":", 1)
    with contextlib.suppress(OSError):
        socket.create_connection((host, int(port)), timeout=1).close()
        return True
    return False
