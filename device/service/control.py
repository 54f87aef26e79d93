"""The daemon's control socket: commands from `leukoscope slide …` and `leukoscope status` come in here, answers go back.

What a command does to the slide is the pipeline's matter. One line of JSON each way over a Unix socket in the state folder.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import socketserver
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError  # the built-in one from Python 3.11 on
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from typing_extensions import Self

from device.errors import LeukoscopeError
from device.slide.commands import Command, Wish

log = logging.getLogger(__name__)

_ANSWER_S = 2.0
_READ_S = 2.0
_LONGEST_LINE = 1 << 16
_MOST_AT_ONCE = 16
_MOST_UNSAID = 64  # connections that have not said anything yet; the oldest of more is closed, so that they keep nobody out
_TELL_EVERY_S = 60.0
_POLL_S = 0.1  # how soon closing is noticed
_LONGEST_ADDRESS = 107  # bytes that the kernel keeps for a socket's path, less the closing zero
_STATUS = "status"
_SAID = ("specimen", "operator", "reason")


class ControlError(LeukoscopeError):
    """The daemon cannot be asked, or refuses; the message says why. `leukoscope run` starts it, `leukoscope status` asks how it is."""


class CommandRequest:
    """A command of a person at the command line, waiting for the pipeline's answer. Made by the server only."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self._answer: Future[tuple[bool, str]] = Future()

    def answer(self, text: str, ok: bool = True) -> None:
        """Say in one line what came of it; `ok` False where it was refused ("no slide is open"). Only the first answer counts."""
        with suppress(InvalidStateError):
            self._answer.set_result((ok, text))

    def take(self) -> bool:
        """For the server: True if the pipeline may act on it, False where the person has already been told that nothing happened."""
        return self._answer.set_running_or_notify_cancel()

    def wait(self, seconds: float) -> tuple[bool, str]:
        """For the server: the answer. What nobody took within `seconds` is withdrawn; what was taken gets as long again."""
        with suppress(FutureTimeoutError):
            return self._answer.result(seconds)
        if self._answer.cancel():
            return False, f"{self.wish.command.value}: the daemon is busy and did not get to it, nothing was changed; ask again"
        with suppress(FutureTimeoutError):
            return self._answer.result(seconds)
        return False, f"{self.wish.command.value}: passed on, but no answer came; look at the screen before you ask again"


class _Server(socketserver.ThreadingUnixStreamServer):
    """Accepts connections, each in a thread of its own; closing it waits for those threads."""

    request_queue_size = 2 * _MOST_UNSAID

    def __init__(self, address: str, reply: Callable[[bytes], dict[str, Any]]) -> None:
        self._reply = reply
        self._told_s = float("-inf")
        self._unsaid: dict[int, socket.socket] = {}  # by descriptor, oldest first
        self._unsaid_lock = threading.Lock()
        super().__init__(address, socketserver.BaseRequestHandler)

    def server_bind(self) -> None:
        os.fchmod(self.fileno(), 0o660)  # so that it is never wider open than that, not even between bind and chmod
        super().server_bind()

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError as error:
            log.warning("control socket: a connection was not accepted (%s)", error)
            time.sleep(1.0)  # out of descriptors: it would be tried again at once
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._unsaid_lock:
            self._unsaid[request.fileno()] = request
            if len(self._unsaid) > _MOST_UNSAID:
                with suppress(OSError):
                    self._unsaid.pop(next(iter(self._unsaid))).shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def _said(self, request: socket.socket) -> None:
        with self._unsaid_lock:
            if self._unsaid.get(request.fileno()) is request:
                del self._unsaid[request.fileno()]

    def shutdown_request(self, request: Any) -> None:
        self._said(request)
        super().shutdown_request(request)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """A line in, a line out. A peer that sends nothing, or goes away, costs a thread for two seconds."""
        request.settimeout(_READ_S)
        try:
            line = _read_line(request)
            self._said(request)
            reply = self._reply(line)
            request.sendall(json.dumps(reply, default=str).encode() + b"\n")
        except (OSError, ValueError) as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        """At most once a minute: who sends nonsense sends it often."""
        now_s = time.monotonic()
        if now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            log.info("control socket: a request was not understood or its sender went away (%s)", error)


class ControlServer:
    """Listens at `path` while it is open (`with`). `requests` is called by the pipeline's thread.

    status: gives what `leukoscope status` shows, JSON types and paths and times; called from other threads, so it reads a snapshot.
    Raises ControlError on opening when another daemon uses the same state folder, or the folder cannot be written.
    """

    def __init__(self, path: Path, status: Callable[[], Mapping[str, Any]], answer_s: float = _ANSWER_S) -> None:
        self._path = path
        self._status = status
        self._answer_s = answer_s
        self._waiting: deque[CommandRequest] = deque()
        self._open_connections = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self._closer = ExitStack()

    def requests(self) -> list[CommandRequest]:
        """What was asked since the last call, oldest first. Each must be answered."""
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        return [request for request in waiting if request.take()]

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._lock(opening)
                self._remove_left_behind()
                with _address(self._path) as address:
                    server = opening.enter_context(_Server(address, self._reply))
                opening.callback(self._path.unlink, missing_ok=True)
                self._path.chmod(0o660)  # the user's mask may have taken the group's right
            except OSError as error:
                raise cannot_open(self._path, error) from error
            opening.callback(self._refuse_waiting)
            thread = threading.Thread(target=server.serve_forever, args=(_POLL_S,), name="control", daemon=True)
            thread.start()
            opening.callback(thread.join)
            opening.callback(server.shutdown)
            self._closer = opening.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._closer.close()

    def _refuse_waiting(self) -> None:
        for request in self.requests():
            request.answer("the daemon is stopping; nothing was changed", ok=False)

    def _lock(self, opening: ExitStack) -> None:
        """Hold the state folder: two daemons on one record would count into each other. The kernel lets go when the process ends."""
        lock = opening.enter_context(self._path.with_suffix(".lock").open("a+"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ControlError(
                f"{self._path.parent}: another leukoscope is running with this state folder; "
                "stop it first (systemctl stop leukoscope), or set another device.state_dir"
            ) from None

    def _remove_left_behind(self) -> None:
        """The socket of a daemon that was killed: the lock is ours, so nobody listens there."""
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self._path.lstat().st_mode):
                raise ControlError(f"{self._path}: in the way of the control socket, but none itself; move it elsewhere")
            self._path.unlink()

    def _reply(self, line: bytes) -> dict[str, Any]:
        if not self._open_connections.acquire(blocking=False):
            return {"ok": False, "text": "too many requests at once; ask again"}
        try:
            given = json.loads(line)
            asked: dict[str, Any] = given if isinstance(given, dict) else {}
            name = asked.get("command")
            if name == _STATUS:
                return {"ok": True, "status": dict(self._status())}
            try:
                said = {key: str(asked[key]) for key in _SAID if asked.get(key)}
                request = CommandRequest(Wish(Command(name), sure=asked.get("sure") is True, **said))
            except ValueError:
                known = ", ".join([*(command.value for command in Command), _STATUS])
                return {"ok": False, "text": f"unknown command {name!r}; known: {known}"}
            self._waiting.append(request)
            ok, text = request.wait(self._answer_s)
            return {"ok": ok, "text": text}
        except (UnicodeDecodeError, json.JSONDecodeError):
            return {"ok": False, "text": 'one line of JSON is expected, such as {"command": "status"}'}
        except Exception as error:  # the status is other parts' code: its fault must not end the conversation without a word
            log.exception("control socket: a request failed")
            return {"ok": False, "text": f"the daemon could not answer ({type(error).__name__}: {error}); see its log"}
        finally:
            self._open_connections.release()


def cannot_open(path: Path, error: OSError) -> ControlError:
    """What is said where the state folder takes no control socket."""
    return ControlError(f"{path}: cannot be opened ({error.strerror or error}); check the state folder's owner")


def send(path: Path, wish: Wish, timeout_s: float = 3 * _ANSWER_S) -> str:
    """Ask the daemon that listens at `path`; gives its answer, one line.

    Raises ControlError where none runs, this user may not ask, no answer comes, or it refuses (its reason is the message).
    """
    said: dict[str, str | bool] = {key: words for key in _SAID if (words := getattr(wish, key))}
    if wish.sure:
        said["sure"] = True
    return str(_ask(path, wish.command.value, timeout_s, said).get("text", ""))


def ask_status(path: Path, timeout_s: float = 3 * _ANSWER_S) -> dict[str, Any]:
    """What the daemon that listens at `path` says of itself. Raises ControlError as `send`."""
    status = _ask(path, _STATUS, timeout_s).get("status")
    if not isinstance(status, dict):
        raise ControlError(f"{path}: gave no status; is it a leukoscope of another version?")
    return status


def _ask(path: Path, command: str, timeout_s: float, said: Mapping[str, str | bool] = MappingProxyType({})) -> dict[str, Any]:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, _address(path) as address:
            connection.settimeout(timeout_s)
            _connect(connection, address, timeout_s)
            connection.sendall(json.dumps({"command": command, **said}).encode() + b"\n")
            reply = json.loads(_read_line(connection))
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        hint = "start it with `leukoscope run` or `systemctl start leukoscope`; if it runs, name its file with --config"
        raise ControlError(f"no leukoscope is running at {path}; {hint}") from None
    except PermissionError:
        raise ControlError(f"{path}: this user may not ask the daemon; join the group that owns the socket, or use sudo") from None
    except TimeoutError:
        raise ControlError(f"{path}: the daemon does not answer; see `systemctl status leukoscope` and its log") from None
    except (OSError, ValueError) as error:
        raise ControlError(f"{path}: the daemon's answer cannot be read ({error}); see its log") from error
    if not isinstance(reply, dict) or not reply.get("ok"):
        raise ControlError(str(reply.get("text", "refused without a reason") if isinstance(reply, dict) else reply))
    return reply


def _connect(connection: socket.socket, address: str, timeout_s: float) -> None:
    """Wait while the daemon's queue of connections is full, which the kernel tells at once instead of waiting."""
    until = time.monotonic() + timeout_s
    while True:
        try:
            return connection.connect(address)
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError from None
            time.sleep(0.02)


def _read_line(connection: socket.socket) -> bytes:
    """Bytes up to the line's end. Raises ValueError where the peer closes before it or sends more than any request has."""
    received = b""
    until = time.monotonic() + (connection.gettimeout() or _READ_S)
    while not received.endswith(b"\n"):
        part = connection.recv(4096)
        received += part
        if not part:
            raise ValueError("closed before the line's end")
        if len(received) > _LONGEST_LINE:
            raise ValueError("longer than any request")
        if time.monotonic() > until:
            raise TimeoutError("sent too slowly")
    return received


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """The socket's address, by way of its folder's open descriptor where the path is longer than the kernel takes."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
