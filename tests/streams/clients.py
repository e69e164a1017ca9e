"""Clients that people write: WebSockets of `websockets` and of `aiohttp`, and event streams of `aiohttp`.

    clients.py URL COUNT ROUNDS

Opens COUNT of each kind. Each WebSocket echoes ROUNDS messages and closes, or goes on until it is closed with ROUNDS 0;
each event stream reads as many events. Prints a line of JSON for each when it has ended. Whatever is not in order is a
fault; reconnecting is left to the test, for a browser would hide what is lost.
"""

import asyncio
import json
import sys

import aiohttp
import websockets

URL, COUNT, ROUNDS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
# Longer than a frame that fits into one read.
PADDING = "x" * 50_000


def told(client, rounds, **how):
    print(json.dumps({"client": client, "rounds": rounds, **how}), flush=True)


def expect(sent, echoed):
    if not isinstance(echoed, str) or not echoed.endswith(" " + sent):
        raise RuntimeError(f"{sent[:20]!r} came back as {str(echoed)[:40]!r}")


async def with_websockets():
    rounds = 0
    async with websockets.connect(URL.replace("http", "ws", 1) + "/ws", max_size=None) as socket:
        try:
            while ROUNDS == 0 or rounds < ROUNDS:
                message = f"{rounds} {PADDING}"
                await socket.send(message)
                expect(message, await socket.recv())
                rounds += 1
                await asyncio.sleep(0.02)
            await socket.close()
        except websockets.ConnectionClosed:
            pass
    told("websockets", rounds, code=socket.close_code)


async def with_aiohttp(session):
    rounds = 0
    async with session.ws_connect(URL + "/ws", max_msg_size=0) as socket:
        while ROUNDS == 0 or rounds < ROUNDS:
            message = f"{rounds} {PADDING}"
            try:
                await socket.send_str(message)
            except ConnectionError:
                # The reason waits to be read.
                pass
            answer = await socket.receive()
            if answer.type is not aiohttp.WSMsgType.TEXT:
                break
            expect(message, answer.data)
            rounds += 1
            await asyncio.sleep(0.02)
        await socket.close()
    told("aiohttp", rounds, code=socket.close_code)


async def events(session):
    rounds, rest = 0, b""
    async with session.get(URL + "/events?ms=20", timeout=aiohttp.ClientTimeout(total=None)) as answer:
        async for data in answer.content.iter_any():
            *whole, rest = (rest + data).split(b"\n\n")
            for event in whole:
                if not event.startswith(f"id: {rounds}\n".encode()):
                    raise RuntimeError(f"event {rounds} is {event!r}")
                rounds += 1
            if ROUNDS and rounds >= ROUNDS:
                break
    # Without a last chunk aiohttp raises.
    told("events", rounds, rest=rest.decode())


async def main():
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        async with asyncio.TaskGroup() as clients:
            for _ in range(COUNT):
                clients.create_task(with_websockets())
                clients.create_task(with_aiohttp(session))
                clients.create_task(events(session))


asyncio.run(main())
