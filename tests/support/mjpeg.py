"""Motion JPEG over HTTP on loopback, as a camera on a network sends it."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Stream(BaseHTTPRequestHandler):
    server: MjpegServer

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        frame = self.server.frames()
        try:
            while not self.server.cut:
                jpeg = frame()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
                self.wfile.write(head + jpeg + b"\r\n")
                self.server.shown += 1
                time.sleep(self.server.pause_s)
        except OSError:
            pass  # the reader went away

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


class MjpegServer(ThreadingHTTPServer):
    """To be served by a thread of the caller's. frames: for each reader what gives its next JPEG. cut: True ends what is being sent.

    shown: how many were sent.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, frames: Callable[[], Callable[[], bytes]], pause_s: float) -> None:
        self.frames, self.pause_s = frames, pause_s
        self.cut, self.shown = False, 0
        super().__init__(("127.0.0.1", port), _Stream)
