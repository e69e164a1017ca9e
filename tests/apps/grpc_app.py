"""A gRPC server without any generated code: messages are bytes.

Methods of `test.Echo`: Unary, Gather (client streaming), Repeat (server
streaming: how often, how many seconds apart, how large), Talk (both), Sleep, Fail, Ends (how many calls were cancelled so far).
"""

import os
import signal
import sys
import threading
import time
from concurrent import futures

import grpc

ended = {"cancelled": 0}


def note_cancel(context):
    done = threading.Event()

    def over():
        if not done.is_set():
            ended["cancelled"] += 1

    context.add_callback(over)
    return done


def unary(request, context):
    context.set_trailing_metadata((("x-length", str(len(request))),))
    return request


def gather(requests, context):
    return b"".join(requests)


def repeat(request, context):
    done = note_cancel(context)
    times, pause, *size = (float(word) for word in request.split())
    for number in range(int(times)):
        yield str(number).encode().ljust(int(*size))
        if pause:
            time.sleep(pause)
    done.set()


def talk(requests, context):
    for request in requests:
        yield request.upper()


def sleep(request, context):
    done = note_cancel(context)
    until = time.monotonic() + float(request)
    while time.monotonic() < until and context.is_active():
        time.sleep(0.01)
    if context.is_active():
        done.set()
    return b"slept"


def fail(request, context):
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "it is not the day for this: 100 % ünfit")


def ends(request, context):
    return str(ended["cancelled"]).encode()


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Gather": grpc.stream_unary_rpc_method_handler(gather),
    "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
    "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Ends": grpc.unary_unary_rpc_method_handler(ends),
}

LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]


def main():
    server = grpc.server(futures.ThreadPoolExecutor(64), options=LIMITS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", METHODS),))
    server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(5))
    server.wait_for_termination()
    sys.exit(0)


if __name__ == "__main__":
    main()
