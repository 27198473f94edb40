"""A line to a host with a round-trip time of its own, that counts what goes over it.

It stands in for a network far away where the kernel has no netem. TCP ends here: what Nagle's algorithm costs with a
real round-trip time is understated, bytes and round trips are exact.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Line:
    """A port of 127.0.0.1 that leads to a host.

    Attributes:
        port: to connect to.
        connections: that were made.
        sent: bytes to the host.
        received: bytes from the host.
        round_trips: how often the client went on after an answer, on all connections; TCP's own included. An answer
            that nobody waits for, such as that to a close, is none.
    """

    host: str
    target: int
    delay: float = 0.0
    port: int = 0
    connections: int = 0
    sent: int = 0
    received: int = 0
    round_trips: int = 0
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set, repr=False)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        self.connections += 1
        await asyncio.sleep(self.delay)  # a real one is there after a round trip
        try:
            far = await asyncio.open_connection(self.host, self.target)
        except OSError:
            writer.close()
            return
        for end in (writer, far[1]):
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        told = _Told()
        # Not in this task: asyncio complains of one of these that is ended.
        ways = (self._carry(reader, far[1], told, to_host=True), self._carry(far[0], writer, told, to_host=False))
        for way in ways:
            task = asyncio.ensure_future(way)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self.round_trips += 1

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, told: "_Told", to_host: bool
    ) -> None:
        """One direction: everything arrives half a round-trip time later, in order."""
        queue: asyncio.Queue[tuple[float, bytes, int]] = asyncio.Queue()
        deliver = asyncio.ensure_future(self._deliver(queue, writer, told, to_host))
        clock = asyncio.get_running_loop().time
        try:
            while data := await reader.read(1 << 18):
                if to_host:
                    self.sent += len(data)
                    self.round_trips += told.client - told.answered
                    told.answered = told.client
                else:
                    self.received += len(data)
                queue.put_nowait((clock() + self.delay / 2, data, told.client if to_host else told.host))
        except OSError:
            pass
        queue.put_nowait((clock() + self.delay / 2, b"", 0))
        await deliver

    async def _deliver(
        self,
        queue: "asyncio.Queue[tuple[float, bytes, int]]",
        writer: asyncio.StreamWriter,
        told: "_Told",
        to_host: bool,
    ) -> None:
        clock = asyncio.get_running_loop().time
        try:
            while True:
                when, data, depth = await queue.get()
                if (left := when - clock()) > 0:
                    await asyncio.sleep(left)
                if not data:
                    break
                if to_host:
                    told.host = max(told.host, depth)
                else:
                    # What the client says from now on may answer this.
                    told.client = max(told.client, depth + 1)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


@dataclass
class _Told:
    """How many round trips lie behind what each end says next, and behind what the client said last."""

    client: int = 0
    host: int = 0
    answered: int = 0


@contextmanager
def lines(targets: Sequence[tuple[str, int]], round_trip: float = 0.0) -> Iterator[list[Line]]:
    """A line to each (address, port), for the block; then both ends of what they still carry are closed.

    Args:
        targets: of the hosts' sshds.
        round_trip: in s.
    """
    made = [Line(host, port, round_trip) for host, port in targets]
    ready: Future[asyncio.AbstractEventLoop] = Future()
    over = asyncio.Event()

    async def serve() -> None:
        servers = [await asyncio.start_server(line.accept, "127.0.0.1", 0) for line in made]
        for line, server in zip(made, servers, strict=True):
            line.port = server.sockets[0].getsockname()[1]
        ready.set_result(asyncio.get_running_loop())
        await over.wait()
        for server in servers:
            server.close()

    # `run` ends the tasks that are left before it closes the loop.
    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    loop = ready.result(10)
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
