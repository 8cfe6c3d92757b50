"""TCP proxies that hold every byte back for a while in each direction: a slow link, where the kernel has no netem.

delay.py MILLISECONDS-EACH-WAY PORT=ADDRESS:PORT ...      prints "ready" when all of them listen
"""

import asyncio
import sys
from collections import deque


async def carry(reader, writer, delay):
    """Passes bytes on in order, each `delay` after it came."""
    loop = asyncio.get_running_loop()
    held = deque()
    more = asyncio.Event()

    async def let_go():
        while True:
            while not held:
                more.clear()
                await more.wait()
            due, data = held.popleft()
            await asyncio.sleep(max(0, due - loop.time()))
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()

    sender = asyncio.create_task(let_go())
    data = b"first"
    while data:
        data = await reader.read(65536)
        held.append((loop.time() + delay, data))
        more.set()
    await sender


async def main():
    delay = float(sys.argv[1]) / 1000

    def serve(address, port):
        async def connected(reader, writer):
            far_reader, far_writer = await asyncio.open_connection(address, int(port))
            try:
                await asyncio.gather(carry(reader, far_writer, delay), carry(far_reader, writer, delay))
            except ConnectionError:
                pass
            finally:
                writer.close()
                far_writer.close()

        return connected

    for word in sys.argv[2:]:
        port, target = word.split("=")
        await asyncio.start_server(serve(*target.rsplit(":", 1)), "127.0.0.1", int(port))
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
