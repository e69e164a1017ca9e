"""An ASGI app, for uvicorn; VERSION beside it names the version. `/events` streams events, `/ws` sends back what comes."""

import asyncio
import os
import pathlib

VERSION = (pathlib.Path(__file__).resolve().parent / "VERSION").read_text().strip()


async def lifespan(receive, send):
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def echo(receive, send):
    await receive()
    await send({"type": "websocket.accept", "headers": [(b"x-version", VERSION.encode())]})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": f"{VERSION} {message['text']}"})


async def events(receive, send):
    headers = [(b"content-type", b"text/event-stream"), (b"x-version", VERSION.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    gone = asyncio.ensure_future(until_gone(receive))
    index = 0
    while not gone.done():
        body = f"id: {index}\ndata: {VERSION}\n\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await asyncio.sleep(0.02)
        index += 1


async def until_gone(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    if scope["type"] == "websocket":
        return await echo(receive, send)
    if scope["path"] == "/events":
        return await events(receive, send)
    body = f"hello from version {VERSION}, process {os.getpid()}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"x-version", VERSION.encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
