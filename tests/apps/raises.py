"""A Tornado app whose handlers raise, with an error page of its own; VERSION beside it names the version."""

import asyncio
import os
import pathlib

import tornado.web

VERSION = (pathlib.Path(__file__).resolve().parent / "VERSION").read_text().strip()


class Handler(tornado.web.RequestHandler):
    def set_default_headers(self):
        self.set_header("X-Version", VERSION)

    def write_error(self, status_code, **kwargs):
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("X-Error-Page", "ours")
        kind = kwargs["exc_info"][0].__name__
        self.finish(f"<h1>Étienne is sorry: {status_code} ({kind}), version {VERSION}</h1>\n")


class Hello(Handler):
    def get(self):
        self.write(f"hello from version {VERSION}, all is well\n")


class Raises(Handler):
    def get(self):
        raise ValueError("a bug of this handler")

    post = get


class Refuses(Handler):
    def get(self, status):
        raise tornado.web.HTTPError(int(status))


async def main():
    routes = [("/", Hello), ("/raises", Raises), ("/refuses/([0-9]+)", Refuses)]
    tornado.web.Application(routes).listen(int(os.environ["PORT"]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
