"""A client made with aiohttp: GETs, uploads and streams side by side for three seconds; says how many failed and how."""

import asyncio
import sys
import time
import zlib

import aiohttp

BODY = bytes(range(256)) * 800


async def get(session, url):
    async with session.get(url + "/") as answer:
        text = await answer.text()
        assert answer.status == 200 and text.startswith("hello from version"), (answer.status, text)


async def upload(session, url):
    async def pieces():
        for start in range(0, len(BODY), 10_000):
            yield BODY[start : start + 10_000]

    async with session.put(url + "/upload", data=pieces()) as answer:
        said = await answer.json(content_type=None)
        assert answer.status == 200, (answer.status, said)
        assert said["length"] == len(BODY) and said["crc32"] == f"{zlib.crc32(BODY):08x}", said


async def stream(session, url):
    async with session.get(url + "/stream?chunks=20&ms=10") as answer:
        lines = (await answer.text()).splitlines()
        assert [int(line.split()[0]) for line in lines] == list(range(20)), lines


async def lane(what, session, url, end, failures):
    count = 0
    while time.monotonic() < end:
        count += 1
        try:
            await what(session, url)
        except Exception as error:  # Whatever it is, it is what a user would have seen.
            failures.append(f"{what.__name__}: {error!r}")
    return count


async def main(url):
    failures = []
    end = time.monotonic() + 3
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        work = [get] * 4 + [upload] * 2 + [stream] * 2
        counts = await asyncio.gather(*(lane(one, session, url, end, failures) for one in work))
    print(f"{sum(counts)} exchanges, {len(failures)} failed")
    for failure in failures[:20]:
        print(failure)
    return 1 if failures else 0


sys.exit(asyncio.run(main(sys.argv[1])))
