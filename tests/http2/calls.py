"""Calls of gRPC through hitless at ADDRESS, to the app of tests/apps/grpc_app.py.

    calls.py ADDRESS each           each kind of call once
    calls.py ADDRESS refused        what hitless says by itself: it takes bodies of up to 1,000 bytes
    calls.py ADDRESS load SECONDS   all four kinds, over and over: prints how many there were and how many failed
"""

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


def refused(address):
    calls = Calls(address)
    assert calls.unary(b"x" * 900, timeout=20)
    error = fails(lambda: calls.unary(b"x" * 5000, timeout=20), CODE.RESOURCE_EXHAUSTED)
    assert "too large" in error.details(), error.details()
    error = fails(lambda: calls.sleep(b"30", timeout=20), CODE.DEADLINE_EXCEEDED)
    assert "did not answer in time" in error.details(), error.details()
    print("hitless says it in the words of gRPC")


def load(address, seconds):
    until = time.monotonic() + seconds
    done = {"unary": 0, "gather": 0, "repeat": 0, "talk": 0}
    failed = []

    def run(name, call):
        while time.monotonic() < until:
            try:
                call()
                done[name] += 1
            except Exception as error:  # noqa: BLE001
                code = error.code() if isinstance(error, grpc.RpcError) else ""
                details = error.details() if isinstance(error, grpc.RpcError) else repr(error)
                failed.append(f"{name}: {code} {details}")
            time.sleep(0.005)

    def same(found, wanted):
        if found != wanted:
            raise AssertionError(f"{found!r}, not {wanted!r}")

    threads = []
    for _ in range(2):
        calls = Calls(address)
        words = [b"a", b"b", b"c"]
        kinds = {
            "unary": lambda calls=calls: same(calls.unary(b"hello", timeout=20), b"hello"),
            "gather": lambda calls=calls: same(calls.gather(iter(words), timeout=20), b"abc"),
            "repeat": lambda calls=calls: same(len(list(calls.repeat(b"5 0.02", timeout=20))), 5),
            "talk": lambda calls=calls: same(list(calls.talk(iter(words), timeout=20)), [b"A", b"B", b"C"]),
        }
        threads += [threading.Thread(target=run, args=pair) for pair in kinds.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{sum(done.values())} calls, {len(failed)} failed: {done}", *failed[:20], sep="\n")
    sys.exit(bool(failed) or not all(done.values()))


if __name__ == "__main__":
    what = {"each": each, "refused": refused, "load": load}[sys.argv[2]]
    what(sys.argv[1], *map(float, sys.argv[3:]))
