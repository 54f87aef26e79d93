"""A TCP link between a client and a server that can be made as bad as a real one: long, slow, cut, deaf, frozen."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from typing import Final

from typing_extensions import Self

_CHUNK: Final = 512
_BUFFER: Final = 4096  # small, so that the sender feels a slow link


class BadLink:
    """`with BadLink(port) as link:` connects `link.port` with `port`, both on loopback. All may be changed while it runs.

    delay_s: each way, so the round trip takes twice that; bytes_per_s: upstream, 0 for no limit. answers: False swallows all that comes
    from the server. frozen: nothing passes either way, and nobody is told. cut_after: each new connection ends after so many bytes
    upstream, in the middle of a packet; None: never. accepts: False hangs up on whoever connects.
    connections: how many were made; upstream: bytes that were passed on so far.
    """

    def __init__(self, port: int, *, delay_s: float = 0.0, bytes_per_s: float = 0.0, cut_after: int | None = None) -> None:
        self.delay_s, self.bytes_per_s, self.cut_after = delay_s, bytes_per_s, cut_after
        self.answers = self.accepts = True
        self.frozen = False
        self.connections = self.upstream = 0
        self._target = port
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._server.bind(("127.0.0.1", 0))
        self._server.listen()
        self.port: int = self._server.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True, name="bad-link").start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.hang_up()

    def hang_up(self) -> None:
        """End all connections, whatever is under way on them."""
        for pair in self._pairs:
            _end(*pair)
        self._pairs.clear()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            try:
                far = socket.create_connection(("127.0.0.1", self._target)) if self.accepts else None
            except OSError:  # nobody there now
                far = None
            if far is None:
                near.close()
                continue
            far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            self._pairs.append((near, far))
            for source, sink, up in ((near, far, True), (far, near, False)):
                line: queue.Queue[tuple[float, bytes]] = queue.Queue(maxsize=8 if up else 256)
                threading.Thread(target=self._read, args=(source, line), daemon=True, name="bad-link").start()
                threading.Thread(target=self._pass_on, args=(source, sink, line, up), daemon=True, name="bad-link").start()

    def _read(self, source: socket.socket, line: queue.Queue[tuple[float, bytes]]) -> None:
        data = b"?"
        while data:
            try:
                data = source.recv(_CHUNK)
            except OSError:
                data = b""
            line.put((time.monotonic(), data))

    def _pass_on(self, source: socket.socket, sink: socket.socket, line: queue.Queue[tuple[float, bytes]], up: bool) -> None:
        passed = 0
        while True:
            at_s, data = line.get()
            if not data:
                break
            self._wait_until(at_s + self.delay_s)
            if up and self.bytes_per_s:
                self._wait_until(time.monotonic() + len(data) / self.bytes_per_s)
            while self.frozen:
                time.sleep(0.02)
            if not up and not self.answers:
                continue
            if up and self.cut_after is not None:
                data = data[: max(0, self.cut_after - passed)]
            try:
                sink.sendall(data)
            except OSError:
                break
            if up:
                passed += len(data)
                self.upstream += len(data)
                if self.cut_after is not None and passed >= self.cut_after:
                    break
        _end(source, sink)

    @staticmethod
    def _wait_until(due_s: float) -> None:
        while (left_s := due_s - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.5))


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
