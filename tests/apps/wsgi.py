"""A WSGI app, for gunicorn; VERSION beside it names the version."""

import os
import pathlib

VERSION = (pathlib.Path(__file__).resolve().parent / "VERSION").read_text().strip()


def app(environ, start_response):
    body = f"hello from version {VERSION}, process {os.getpid()}\n".encode()
    start_response(
        "200 OK",
        [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("X-Version", VERSION),
        ],
    )
    return [body]
