"""What the kernel knows of processes: CPU time, system calls, memory, cores. Ends only what was started here."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

FILES_MAX = 65536


def need(tool, package=None):
    """The path of a tool; says how to get it where it is missing."""
    found = shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not found:
        sys.exit(f"this needs {tool}: install it (Debian: apt-get install {package or tool})")
    return found


def raise_files_max():
    """Ten thousand connections are twenty thousand descriptors."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limits in ((FILES_MAX, max(FILES_MAX, hard)), (hard, hard)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            return


def connections_max():
    """How many clients a proxy can have: each is two descriptors, and a few are its own."""
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200) // 2


def cores():
    """The core of the proxy, and that of load and app."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        sys.exit("this needs two cores: one for the proxy, one for load and app")
    return mine[0], mine[1]


class Process:
    """A program on its core. Its output goes to a file."""

    def __init__(self, arguments, log, core=None, env=None, stdin=subprocess.DEVNULL):
        self.log = log
        affinity = core if isinstance(core, (set, list, tuple)) else {core}
        self.child = subprocess.Popen(
            arguments,
            stdin=stdin,
            stdout=open(log, "ab"),
            stderr=subprocess.STDOUT,
            env=None if env is None else {**os.environ, **env},
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, affinity),
        )
        self.pid = self.child.pid

    def check(self):
        if self.child.poll() is not None:
            raise RuntimeError(f"{self.child.args[0]} ended with {self.child.returncode}:\n{self.words()}")

    def words(self):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-20:])

    def stop(self, within=20, how=signal.SIGTERM):
        if self.child.poll() is None:
            self.child.send_signal(how)
            try:
                self.child.wait(within)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return self.child.returncode


def until(what, seconds, look):
    """Waits until look() gives something, or fails."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not within {seconds} s")
        time.sleep(0.01)


def children(pid):
    with contextlib.suppress(OSError):
        found = []
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(word) for word in file.read().split()]
        return found
    return []


def cpu_seconds(pids):
    """User and system time of these processes with all their threads, to the nanosecond where the kernel tells."""
    total = 0.0
    for pid in pids:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                    total += int(file.read().split()[0]) / 1e9
        except OSError:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def memory_kib(pids):
    """What these processes hold of their own: anonymous pages in memory."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1])
    return total


def settled_memory_kib(pids, within=8):
    """The same once it has not moved for a second and a half."""
    end = time.monotonic() + within
    seen, since = memory_kib(pids), time.monotonic()
    while time.monotonic() < end and time.monotonic() - since < 1.5:
        time.sleep(0.1)
        now = memory_kib(pids)
        if now != seen:
            seen, since = now, time.monotonic()
    return seen


class Cpu:
    """Meters the CPU time that processes take, and at the end what memory they hold."""

    def __init__(self, pids):
        self.pids, self.spent, self.memory_kib = pids, None, None

    def begin(self):
        self.before = cpu_seconds(self.pids)

    def end(self):
        self.spent = cpu_seconds(self.pids) - self.before
        self.memory_kib = memory_kib(self.pids)


class SystemCalls:
    """Counts the system calls of processes; None where the machine does not let them be counted."""

    EVENT = "raw_syscalls:sys_enter"

    def __init__(self, pids):
        self.pids, self.count, self.child = pids, None, None

    def begin(self):
        if not shutil.which("perf"):
            return
        said, tell = os.pipe()
        heard, answer = os.pipe()
        self.tell, self.heard = os.fdopen(tell, "w"), os.fdopen(heard)
        joined = ",".join(str(pid) for pid in self.pids)
        command = ["perf", "stat", "-x,", "-e", self.EVENT, "-p", joined, "--delay=-1", "--control", f"fd:{said},{answer}"]
        self.child = subprocess.Popen(
            command, pass_fds=(said, answer), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        os.close(said)
        os.close(answer)
        self.order("enable")

    def order(self, word):
        """Returns when it has been done. perf that may not count has ended, and says nothing."""
        with contextlib.suppress(OSError):
            self.tell.write(f"{word}\n")
            self.tell.flush()
            self.heard.readline()

    def end(self):
        if not self.child:
            return
        self.order("disable")
        self.child.send_signal(signal.SIGINT)
        _, said = self.child.communicate(timeout=20)
        for line in said.splitlines():
            count = line.split(",")[0]
            if self.EVENT in line and count.isdigit():
                self.count = int(count)
        self.tell.close()
        self.heard.close()


def describe():
    """What the figures were made on."""
    model = "unknown"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": os.uname().release,
        "load_average_before": os.getloadavg()[0],
        "at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
    }
