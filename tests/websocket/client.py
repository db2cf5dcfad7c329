"""The `websockets` package against the server: client.py PORT SERVER_PID. One line for each story."""

import asyncio
import os
import select
import socket
import sys
import time
import traceback

import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

PORT, PID = int(sys.argv[1]), int(sys.argv[2])
LIMIT = 20  # seconds that anything may take


def connect(path, **options):
    return websockets.connect(f"ws://127.0.0.1:{PORT}{path}", max_size=None, compression="deflate", **options)


async def hear(talk):
    return await asyncio.wait_for(talk.recv(), LIMIT)


async def closed(talk):
    """Code and reason with which the server closes, whatever comes before."""
    try:
        while True:
            await hear(talk)
    except ConnectionClosed as end:
        return (end.rcvd.code, end.rcvd.reason) if end.rcvd else None


async def lines():
    async with connect("/scripts/ws-lines") as talk:
        await talk.send("grün 木 🙂")
        assert await hear(talk) == "grün 木 🙂!"
        await talk.send("a\nb")
        assert [await hear(talk), await hear(talk)] == ["a!", "b!"]
        await talk.send(b"octets")
        assert await hear(talk) == "octets!"
        await talk.send("bad")
        assert await hear(talk) == "a\ufffdb"
        assert talk.response.headers.get("Sec-WebSocket-Extensions") is None


async def ends():
    for order, end in (("exit 0", (1000, "")), ("exit 3", (1011, "exit status 3")), ("die", (1011, "signal 9"))):
        async with connect("/scripts/ws-lines") as talk:
            await talk.send(order)
            assert await closed(talk) == end, order
    async with connect("/scripts/ws-lines") as talk:
        await talk.send("half")
        assert await hear(talk) == "no end"
        assert await closed(talk) == (1000, "")


async def sizes():
    async with connect("/length") as talk:
        for size in (0, 1, 125, 126, 65535, 65536, 1 << 20, 16 << 20):
            for message in ("x" * size, os.urandom(size)):
                await talk.send(message)
                assert await hear(talk) == message, size
    async with connect("/small") as talk:
        await talk.send("x" * 1000)
        assert await hear(talk) == "x" * 1000
        await talk.send("x" * 1001)
        assert (await closed(talk))[0] == 1009


async def framings():
    async with connect("/json") as talk:
        for message in ("a\nb", b"\0\xff\n"):
            await talk.send(message)
            assert await hear(talk) == message
        await talk.send("close")
        assert await closed(talk) == (4321, "as you wish")
    async with connect("/binary") as talk:
        octets = os.urandom(300_000)
        await talk.send(octets)
        heard = b""
        while len(heard) < len(octets):
            heard += await hear(talk)
        assert heard == octets


async def handshake():
    async with connect("/small", subprotocols=["a", "b"]) as talk:
        assert talk.subprotocol == "b"
    for path, status in (("/scripts/ws-none", 404), ("/nothing", 404)):
        try:
            async with connect(path):
                assert False, path
        except InvalidStatus as refusal:
            assert refusal.response.status_code == status
    try:
        async with connect("/small", origin="http://evil.example"):
            assert False, "another origin"
    except InvalidStatus as refusal:
        assert refusal.response.status_code == 403


async def pings():
    async with connect("/small") as talk:
        await asyncio.wait_for(await talk.ping(), LIMIT)
        await asyncio.sleep(1.5)  # several of the server's own, which the package answers
        await talk.send("still here")
        assert await hear(talk) == "still here"


def children():
    """The programs that the server runs."""
    found, look = [], [PID]
    for pid in look:
        try:
            with open(f"/proc/{pid}/task/{pid}/children") as file:
                look += map(int, file.read().split())
        except OSError:
            pass
    for pid in look:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if b"cat" in file.read().split(b"\0")[0]:
                    found.append(pid)
        except OSError:
            pass
    return found


async def until_no_children():
    end = time.time() + LIMIT
    while children():
        assert time.time() < end, "the process outlives its client"
        await asyncio.sleep(0.05)


async def leaving():
    await until_no_children()
    async with connect("/small") as talk:
        await talk.send("x")
        await hear(talk)
        assert len(children()) == 1
    async with connect("/small") as talk:
        await talk.send("x")
        await hear(talk)
        talk.transport.abort()
    await until_no_children()


async def hubs():
    async with connect("/scripts/hub-room/a?q=1") as ada, connect("/scripts/hub-room/a") as bob:
        you, number, query, pid = (await hear(ada)).split()
        assert (you, number, query) == ("you", "1", "q=1")
        assert (await hear(bob)).split() == ["you", "2", pid], "one process for both"
        async with connect("/scripts/hub-room/b") as other:
            assert (await hear(other)).split()[-1] != pid, "another room, another process"
        await ada.send("hello")
        assert await hear(bob) == "hello"
        await ada.send(b"\0\xff")
        assert await hear(ada) == b"\0\xff", "and not the hello"
        await ada.send("go")
        assert await closed(ada) == (4000, "gone")
        assert await hear(bob) == "left 1 4000"
        await bob.send("die")
        assert await closed(bob) == (1011, "exit status 3")
    async with connect("/scripts/hub-room/a") as again:
        _, number, fresh = (await hear(again)).split()
        assert number == "1" and fresh != pid, "a hub that died is started again"


HANDSHAKE = (
    "GET {} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def crowd_of_bare_sockets():
    """A thousand clients that do next to nothing, so that it is the server's time which is measured."""
    sockets, poll = {}, select.epoll()
    for _ in range(1000):
        one = socket.create_connection(("127.0.0.1", PORT), LIMIT)
        one.sendall(HANDSHAKE.format("/scripts/hub-room/crowd").encode())
        heard = b""
        while b"\r\n\r\n" not in heard or b"you " not in heard:
            heard += one.recv(4096)
        sockets[one.fileno()] = one
        poll.register(one, select.EPOLLIN)
    speaker = next(iter(sockets.values()))
    took = []
    for _ in range(5):
        start, left = time.perf_counter(), len(sockets) - 1
        speaker.sendall(b"\x81\x83\0\0\0\0all")
        while left:
            for number, _ in poll.poll(LIMIT):
                assert sockets[number].recv(64) == b"\x81\x03all"
                left -= 1
        took.append((time.perf_counter() - start) * 1000)
    for one in sockets.values():
        one.close()
    return sorted(took)


async def crowd():
    took = await asyncio.to_thread(crowd_of_bare_sockets)
    print(f"      1,000 clients have one message after {took[2]:.0f} ms (best {took[0]:.0f}, worst {took[-1]:.0f})")
    assert took[0] < 50


async def slow():
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)  # shakes hands and never reads again
    writer.write(HANDSHAKE.format("/scripts/hub-room/slow").encode())
    assert b"101" in await reader.readline()
    writer.transport.pause_reading()
    async with connect("/scripts/hub-room/slow") as ada:
        await hear(ada)
        start = time.time()
        await ada.send("flood")
        count, gone = 0, False
        while True:
            heard = await hear(ada)
            gone |= heard.startswith("left 1 1013")
            count += heard.startswith("x")
            if heard == "flooded":
                break
        assert count == 4000, count
        while not gone:
            gone = (await hear(ada)).startswith("left 1 1013")
    print(f"      16 MB beside a client that does not read: {time.time() - start:.1f} s")
    writer.close()


async def main():
    failed = 0
    for story in (lines, ends, sizes, framings, handshake, pings, leaving, hubs, slow, crowd):
        try:
            await asyncio.wait_for(story(), 120)
            print(f"ok    {story.__name__}")
        except Exception:
            failed += 1
            print(f"FAIL  {story.__name__}\n{traceback.format_exc()}")
    print(f"client: {failed} failed")
    sys.exit(failed > 0)


asyncio.run(main())
