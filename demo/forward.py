"""Lets a browser of this machine reach the lab's server, which has a network of its own.

forward.py outside SOCKET   listens on a port of loopback, says which one, and passes each connection on to SOCKET
forward.py inside SOCKET PORT   listens at SOCKET, in the lab, and passes on to PORT there

A socket in the file system is reached from both sides; nothing else of the lab is.
"""

import asyncio
import os
import socket
import sys

# Kept, so that the address in the README is true; another one where somebody listens there already.
PORT = 8480
CHUNK = 65536


async def copy(reader, writer):
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(listener, connect):
    """Joins every connection of the listener with one that connect() opens."""

    async def join(reader, writer):
        try:
            far_reader, far_writer = await connect()
        except OSError:
            # The server is stopped, as the demo lets one do: the browser sees a connection that ends.
            writer.close()
            return
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    start = asyncio.start_unix_server if listener.family == socket.AF_UNIX else asyncio.start_server
    server = await start(join, sock=listener)
    await server.serve_forever()


def outside(path):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", PORT))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    asyncio.run(serve(listener, lambda: asyncio.open_unix_connection(path)))


def inside(path, port):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    # The other side runs as whoever started the demo; the directory is theirs alone.
    os.chmod(path, 0o666)
    asyncio.run(serve(listener, lambda: asyncio.open_connection("127.0.0.1", port)))


if __name__ == "__main__":
    if sys.argv[1] == "outside":
        outside(sys.argv[2])
    else:
        inside(sys.argv[2], int(sys.argv[3]))
