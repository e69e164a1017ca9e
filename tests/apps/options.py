"""A Tornado app with tornado.options: from the command line, and from a file that names the version."""

import asyncio
import os

import tornado.options
import tornado.web

tornado.options.define("port", type=int, help="listen on this port")
tornado.options.define("debug", type=bool, default=False, help="debug mode, with autoreload")
tornado.options.define("version", type=int, default=0, help="what it says of itself")
tornado.options.define(
    "config",
    help="a file with further options",
    callback=lambda path: tornado.options.parse_config_file(path, final=False),
)


class Hello(tornado.web.RequestHandler):
    def get(self):
        options = tornado.options.options
        self.set_header("X-Version", str(options.version))
        self.set_header("X-Generation", os.environ["HITLESS_GENERATION"])
        self.write(f"hello from version {options.version}, debug is {options.debug}\n")


async def main():
    tornado.options.parse_command_line()
    options = tornado.options.options
    tornado.web.Application([("/", Hello)], debug=options.debug).listen(options.port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
