"""Instructions and system calls of one process in user space, counted by valgrind; and whose instructions they are."""

import collections
import os
import re

from . import machine

# Which part of a crate's path names it.
CRATE = re.compile(r"/([a-z0-9_-]+?)-\d+\.\d+\.\d+[^/]*/(?:src|c_src)/")
LIBRARY = re.compile(r"/rustc/[0-9a-f]+/library/([a-z]+)/|/library/(core|alloc|std)/")
OWN = re.compile(r"(?:^|/)src/(.+\.rs)$")


def prefix(folder):
    """Stands before the program that is to be counted. Its children are not."""
    return [
        machine.need("valgrind"),
        "--tool=callgrind",
        "--trace-children=no",
        "--trace-syscalls=yes",
        "--log-file=" + os.path.join(folder, "valgrind.%p"),
        "--callgrind-out-file=" + os.path.join(folder, "callgrind.%p"),
    ]


def environment(lab, binary):
    """What a hitless needs to find itself below valgrind."""
    shim = lab.path("exec.so")
    if not os.path.exists(shim):
        lab.compile("exec.rs", shim, "--crate-type", "cdylib")
    return {"LD_PRELOAD": shim, "LAB_BINARY": binary}


def read(folder, pid):
    """What process `pid` did from its start to its end."""
    seen = Counted()
    seen.read_profile(os.path.join(folder, f"callgrind.{pid}"))
    seen.calls, seen.clock = system_calls(os.path.join(folder, f"valgrind.{pid}"), pid)
    return seen


class Counted:
    def __init__(self):
        self.total = 0
        self.calls = 0
        self.clock = 0
        self.files = collections.Counter()

    def read_profile(self, path):
        """Self cost by source file. The line after `calls=` is the callee's, and is counted there."""
        names = {}
        current = None
        skip = False
        with open(path, errors="replace") as file:
            for line in file:
                if line.startswith(("fl=", "fi=", "fe=")):
                    current = resolve(line[3:].strip(), names)
                elif line.startswith(("calls=", "jcnd=", "jump=")):
                    skip = line.startswith("calls=")
                elif line[:1].isdigit() or line[:1] in "+-*":
                    if skip:
                        skip = False
                    else:
                        self.files[current] += int(line.split()[1])
                elif line.startswith(("cfi=", "cfl=")):
                    resolve(line[4:].strip(), names)
        self.total = sum(self.files.values())

    def minus(self, other):
        less = Counted()
        less.total = self.total - other.total
        less.calls = self.calls - other.calls
        less.clock = self.clock - other.clock
        less.files = collections.Counter(self.files)
        less.files.subtract(other.files)
        return less

    def by_owner(self):
        """By crate; hitless's own by file."""
        crates, own = collections.Counter(), collections.Counter()
        for path, count in self.files.items():
            crate = owner(path or "")
            crates[crate] += count
            if crate == "hitless":
                own[OWN.search(path).group(1)] += count
        return crates, own


def resolve(text, names):
    """Names are written out once and called by their number afterwards."""
    number, _, name = text.partition(" ")
    if not number.startswith("("):
        return text
    if name:
        names[number] = name
    return names.get(number, "")


def owner(path):
    if found := CRATE.search(path):
        # mimalloc is C, below the crate that builds it.
        return "mimalloc" if "mimalloc" in found.group(1) else found.group(1)
    if found := LIBRARY.search(path):
        return found.group(1) or found.group(2)
    if "c_src/mimalloc" in path:
        return "mimalloc"
    if OWN.search(path):
        return "hitless"
    return "libc and unknown"


def system_calls(path, pid):
    """How many, and how many readings of the clock: those are none outside of valgrind, which hides the kernel's page for
    them. A call is told where it begins, and some once more where they end, without a name."""
    begins = re.compile(rf"^SYSCALL\[{pid},\d+\]\(\s*\d+\) (\w+) ?\(")
    calls, clock = 0, 0
    with open(path, errors="replace") as file:
        for line in file:
            if found := begins.match(line):
                if found.group(1) == "sys_clock_gettime":
                    clock += 1
                else:
                    calls += 1
    return calls, clock
