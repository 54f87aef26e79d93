"""A broker on this machine's loopback, for demonstration and tests: mosquitto where it is installed, else amqtt in this process.

Never the appliance's own broker: nobody has to log in, and nothing is kept when it stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Literal

from typing_extensions import Self

from device.errors import BrokerError

log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
_START_S = 10.0
_STOP_S = 5.0
_PORTS_TRIED = 5


def local_broker() -> LocalBroker:
    """Mosquitto if it is installed, else amqtt. Entering it raises BrokerError if it does not come up."""
    program = find_mosquitto()
    return MosquittoBroker(program) if program else EmbeddedBroker()


def find_mosquitto() -> str | None:
    """Path of the mosquitto program; Debian keeps it in /usr/sbin, which is not on everybody's PATH."""
    return shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"]))


def free_port() -> int:
    """A TCP port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def end_child(child: subprocess.Popen[bytes], within_s: float) -> None:
    """End it in order, or by force where it takes longer; it may have ended by itself."""
    child.terminate()
    try:
        child.wait(within_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class LocalBroker:
    """A broker that lives as long as the `with` block. `port` None: a free one, another where somebody takes it first.

    name: what runs, for people. protocol: the newest version it speaks, for `broker.protocol`. Entering raises BrokerError.
    """

    name: str
    protocol: Literal["5", "3.1.1"]
    host = _LOOPBACK

    def __init__(self, port: int | None = None) -> None:
        self.port = port or 0
        self._fixed = port is not None

    def __enter__(self) -> Self:
        for attempt in range(_PORTS_TRIED):
            if not self._fixed:
                self.port = free_port()
            try:
                self._start()
                break
            except BaseException as error:
                self._end()
                if not isinstance(error, BrokerError) or self._fixed or attempt == _PORTS_TRIED - 1:
                    raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._end()

    def _start(self) -> None:
        """Begin to listen at `port`. Raises BrokerError."""
        raise NotImplementedError

    def _end(self) -> None:
        """Stop, also after a start that failed half-way."""
        raise NotImplementedError


class EmbeddedBroker(LocalBroker):
    """amqtt in a thread of this process. Speaks MQTT 3.1.1 only."""

    name = "amqtt in this process (MQTT 3.1.1)"
    protocol: Literal["5", "3.1.1"] = "3.1.1"

    def __init__(self, port: int | None = None, *, allow_anonymous: bool = True) -> None:
        super().__init__(port)
        self._allow_anonymous = allow_anonymous
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def _start(self) -> None:
        try:
            import amqtt.broker  # noqa: F401  # found missing here, not in the thread
        except ImportError as error:
            raise BrokerError("the embedded broker needs amqtt: pip install 'leukoscope[demo]', or install mosquitto") from error
        # amqtt reports every connection and each client that leaves; here that is noise beside the summary.
        for noisy in ("amqtt", "transitions", "passlib"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)
        started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), name="embedded-broker", daemon=True)
        self._thread.start()
        try:
            started.result(_START_S)
        except Exception as error:
            why = str(error) or "no answer"
            raise BrokerError(f"the embedded broker did not start on {self.host}:{self.port}: {why}") from error

    def _end(self) -> None:
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join(_STOP_S)
            if self._thread.is_alive():
                log.warning("the embedded broker did not stop in %.0f s; it ends with the process", _STOP_S)
        self._thread = self._loop = self._stop = None

    async def _serve(self, started: Future[None]) -> None:
        from amqtt.broker import Broker

        class ClosingBroker(Broker):  # type: ignore[misc]  # amqtt is imported without types
            """Closes every connection that it took: amqtt leaves those open whose client went away without a word."""

            async def stream_connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str) -> None:
                try:
                    await super().stream_connected(reader, writer, listener_name)
                finally:
                    writer.close()

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        options = {
            "listeners": {"default": {"type": "tcp", "bind": f"{self.host}:{self.port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": self._allow_anonymous}},
        }
        try:
            broker = ClosingBroker(options)
            await broker.start()
            started.set_result(None)
            await self._stop.wait()
            await broker.shutdown()
        except Exception as error:
            if started.done():
                log.error("the embedded broker ended: %s", error)
            else:
                started.set_exception(error)


class MosquittoBroker(LocalBroker):
    """mosquitto as a child process with a configuration of its own.

    lines: further lines of its configuration (see mosquitto.conf); without any, everybody may log in and nothing is kept.
    """

    name = "mosquitto (MQTT 5 and 3.1.1)"
    protocol: Literal["5", "3.1.1"] = "5"

    def __init__(self, program: str | None = None, port: int | None = None, lines: tuple[str, ...] = ("allow_anonymous true",)) -> None:
        super().__init__(port)
        self._program, self._lines = program, lines
        self._child: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, nothing saved, no farewell to anybody."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def _start(self) -> None:
        program = self._program or find_mosquitto()
        if program is None:
            raise BrokerError("mosquitto is not installed: apt install mosquitto, or pip install 'leukoscope[demo]' for amqtt")
        self._folder = tempfile.TemporaryDirectory(prefix="leukoscope-broker-")
        folder = Path(self._folder.name)
        configuration, said = folder / "mosquitto.conf", folder / "log"
        head = (f"listener {self.port} {self.host}", "log_dest stderr", "log_type error", "log_type warning")
        configuration.write_text("\n".join((*head, *self._lines)) + "\n")
        with said.open("wb") as stderr:
            # A session of its own: Ctrl-C ends us, and the broker must outlive our farewell message.
            self._child = subprocess.Popen([program, "-c", str(configuration)], stderr=stderr, stdout=stderr, start_new_session=True)
        deadline_s = time.monotonic() + _START_S
        while self._child.poll() is None and time.monotonic() < deadline_s:
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=1.0):
                return
            time.sleep(0.02)
        why = said.read_text(errors="replace").strip().replace("\n", "; ") or f"exit code {self._child.poll()}"
        raise BrokerError(f"mosquitto did not start on {self.host}:{self.port}: {why}")

    def _end(self) -> None:
        if self._child is not None:
            end_child(self._child, _STOP_S)
            self._child = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
