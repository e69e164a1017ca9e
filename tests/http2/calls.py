"""Calls of gRPC through hitless at ADDRESS, to the app of tests/apps/grpc_app.py.

    calls.py ADDRESS each           each kind of call once
    calls.py ADDRESS sleep SECONDS  one that is answered after so long
    calls.py ADDRESS refused        what hitless says by itself: it takes bodies of up to 1,000 bytes
    calls.py ADDRESS load SECONDS   all four kinds, over and over: prints how many there were and how many failed
    calls.py ADDRESS long PAUSE     the same up to SIGTERM, with PAUSE seconds between two calls of a kind; beside them two
                                    streams more every second, one of the server and one of both sides, which last
    calls.py ADDRESS closed COUNT   so many streams of either kind, which hitless ends: prints "opened" and then, for each as
                                    it ends, when that was
"""

import itertools
import signal
import sys
import threading
import time

import grpc

LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
CODE = grpc.StatusCode


class Calls:
    def __init__(self, address):
        self.channel = grpc.insecure_channel(address, options=LIMITS)
        name = "/test.Echo/"
        self.unary = self.channel.unary_unary(name + "Unary")
        self.gather = self.channel.stream_unary(name + "Gather")
        self.repeat = self.channel.unary_stream(name + "Repeat")
        self.talk = self.channel.stream_stream(name + "Talk")
        self.sleep = self.channel.unary_unary(name + "Sleep")
        self.fail = self.channel.unary_unary(name + "Fail")
        self.ends = self.channel.unary_unary(name + "Ends")


def fails(call, code):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, f"{error.code()} {error.details()}, not {code}"
        return error
    raise AssertionError(f"no failure, but {code} was expected")


def comes_to(calls, number):
    until = time.monotonic() + 10
    while int(calls.ends(b"")) < number:
        assert time.monotonic() < until, f"{calls.ends(b'')} calls cancelled, not {number}"
        time.sleep(0.05)


def each(address):
    calls = Calls(address)
    answer, call = calls.unary.with_call(b"hello", timeout=20)
    assert answer == b"hello"
    assert dict(call.trailing_metadata())["x-length"] == "5", call.trailing_metadata()
    large = b"x" * 20_000_000
    assert calls.unary(large, timeout=60) == large
    assert calls.gather((b"%d," % number for number in range(1000)), timeout=20).count(b",") == 1000
    assert [int(part) for part in calls.repeat(b"1000 0", timeout=20)] == list(range(1000))

    # Each word is only said once the one before has come back.
    said = threading.Semaphore(1)

    def words():
        for number in range(100):
            assert said.acquire(timeout=10)
            yield b"word %d" % number

    for number, word in enumerate(calls.talk(words(), timeout=20)):
        assert word == b"WORD %d" % number
        said.release()
    assert number == 99

    error = fails(lambda: calls.fail(b"", timeout=20), CODE.FAILED_PRECONDITION)
    assert error.details() == "it is not the day for this: 100 % ünfit", error.details()
    assert dict(error.trailing_metadata())["x-why"] == "because"
    fails(lambda: calls.channel.unary_unary("/test.Echo/Nothing")(b"", timeout=20), CODE.UNIMPLEMENTED)

    fails(lambda: calls.sleep(b"30", timeout=0.5), CODE.DEADLINE_EXCEEDED)
    comes_to(calls, 1)
    stream = calls.repeat(b"1000 0.05")
    assert next(stream) == b"0"
    stream.cancel()
    comes_to(calls, 2)
    sleeping = calls.sleep.future(b"30")
    time.sleep(0.3)
    sleeping.cancel()
    comes_to(calls, 3)
    print("each kind of call works")


def sleep(address, seconds):
    calls = Calls(address)
    same(calls.sleep(b"%d" % seconds, timeout=seconds + 20), b"slept")


def refused(address):
    calls = Calls(address)
    assert calls.unary(b"x" * 900, timeout=20)
    error = fails(lambda: calls.unary(b"x" * 5000, timeout=20), CODE.RESOURCE_EXHAUSTED)
    assert "too large" in error.details(), error.details()
    error = fails(lambda: calls.sleep(b"30", timeout=20), CODE.DEADLINE_EXCEEDED)
    assert "did not answer in time" in error.details(), error.details()
    print("hitless says it in the words of gRPC")


class Load:
    """Calls of all four kinds, each in a thread of its own, until `over` is set."""

    def __init__(self, address, pause, size):
        self.over = threading.Event()
        self.pause = pause
        self.done = {"unary": 0, "gather": 0, "repeat": 0, "talk": 0}
        self.failed = []
        self.threads = []
        for _ in range(2):
            calls = Calls(address)
            words, large = [b"a", b"b", b"c"], b"x" * size
            self.start(self.again, "unary", lambda calls=calls: same(calls.unary(large, timeout=20), large))
            self.start(self.again, "gather", lambda calls=calls: same(calls.gather(slowly(words, pause), timeout=20), b"abc"))
            self.start(self.again, "repeat", lambda calls=calls: same(len(list(calls.repeat(b"5 0.02", timeout=20))), 5))
            self.start(self.again, "talk", lambda calls=calls: same(list(calls.talk(iter(words), timeout=20)), [b"A", b"B", b"C"]))

    def start(self, run, name, call):
        thread = threading.Thread(target=run, args=(name, call))
        self.threads.append(thread)
        thread.start()

    def again(self, name, call):
        while not self.over.wait(self.pause):
            self.once(name, call)

    def once(self, name, call):
        try:
            call()
            self.done[name] += 1
        except Exception as error:  # noqa: BLE001
            code = error.code() if isinstance(error, grpc.RpcError) else ""
            details = error.details() if isinstance(error, grpc.RpcError) else repr(error)
            self.failed.append(f"{name}: {code} {details}")

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        print(f"{sum(self.done.values())} calls, {len(self.failed)} failed: {self.done}", *self.failed[:20], sep="\n")
        sys.exit(bool(self.failed) or not all(self.done.values()))


def slowly(words, pause):
    for word in words:
        yield word
        time.sleep(pause * 5)


def same(found, wanted):
    if found != wanted:
        raise AssertionError(f"{found!r:.50}, not {wanted!r:.50}")


def load(address, seconds):
    load = Load(address, 0.005, 5)
    time.sleep(seconds)
    load.end()


def long(address, pause):
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    load = Load(address, pause, 100_000)
    load.done |= {"held repeat": 0, "held talk": 0}
    calls = Calls(address)

    def repeat():
        stream = calls.repeat(b"1000000 0.1")
        for number in itertools.count():
            same(int(next(stream)), number)
            if load.over.is_set():
                break
        stream.cancel()

    def talk():
        def words():
            for number in itertools.count():
                yield b"word %d" % number
                if load.over.wait(0.1):
                    break

        said = list(calls.talk(words()))
        same(said, [b"WORD %d" % number for number in range(len(said))])

    print("calling", flush=True)
    while not told.wait(1):
        load.start(load.once, "held repeat", repeat)
        load.start(load.once, "held talk", talk)
    load.end()


def closed(address, count):
    calls, opened, ends = Calls(address), threading.Barrier(2 * int(count) + 1), []

    def until_closed(stream, wanted):
        opening = True
        try:
            for number in itertools.count():
                same(next(stream).strip(), wanted(number))
                if opening:
                    opened.wait()
                    opening = False
        except grpc.RpcError as error:
            assert error.code() == CODE.UNAVAILABLE, f"{error.code()} {error.details()}"
            assert error.details() == "The copy of the application that answered is leaving.", error.details()
            ends.append(time.time())
            print(ends[-1], flush=True)

    def words(over):
        for number in itertools.count():
            yield (b"word %d" % number).ljust(20_000)
            if over.wait(0.05):
                return

    def talk():
        over = threading.Event()
        until_closed(calls.talk(words(over)), lambda number: b"WORD %d" % number)
        over.set()

    def repeat():
        until_closed(calls.repeat(b"1000000 0.05 20000"), lambda number: b"%d" % number)

    threads = [threading.Thread(target=run) for run in (repeat, talk) for _ in range(int(count))]
    for thread in threads:
        thread.start()
    opened.wait(timeout=20)
    print("opened", flush=True)
    for thread in threads:
        thread.join()
    sys.exit(len(ends) != len(threads))


if __name__ == "__main__":
    what = {"each": each, "sleep": sleep, "refused": refused, "load": load, "long": long, "closed": closed}[sys.argv[2]]
    what(sys.argv[1], *map(float, sys.argv[3:]))
