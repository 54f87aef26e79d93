"""The supervisor's pages behind nginx and Caddy with TLS, by the very configurations that docs/supervisor.md gives."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from device.demo.broker import BrokerError, MosquittoBroker, free_port
from device.supervisor import queries
from device.supervisor.database import open_database, reading

pytestmark = [pytest.mark.integration, pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl for a certificate")]
ROOT = Path(__file__).parents[2]
HOST, PREFIX = "lab.example", "/leukoscope"
PASSWORD, PATIENCE_S = "correct horse battery", 60.0
CLIENT = "127.0.0.7"
"""Where the browser asks from: another address than the proxy's, which is what the audit log must not tell."""


def block_of(after: str) -> str:
    """The first block of code of the page behind these words."""
    page = (ROOT / "docs/supervisor.md").read_text(encoding="utf-8")
    found = re.search(r"```[a-z]*\n(.*?)```", page[page.index(after) :], re.DOTALL)
    assert found
    return found[1]


def nginx(room: Path, pages: int, public: int) -> list[str]:
    location = block_of("nginx, inside").replace("127.0.0.1:8080", f"127.0.0.1:{pages}")
    server = f"listen 127.0.0.1:{public} ssl; server_name {HOST}; ssl_certificate {room}/cert.pem; ssl_certificate_key {room}/key.pem;"
    paths = "".join(f"{name}_temp_path {room}/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (room / "nginx.conf").write_text(
        f"daemon off; pid {room}/nginx.pid; error_log stderr; user root;\nevents {{}}\n"
        f"http {{ access_log off; {paths}\nserver {{ {server}\n{location}\n}} }}\n"
    )
    return ["nginx", "-e", "stderr", "-c", str(room / "nginx.conf")]


def caddy(room: Path, pages: int, public: int) -> list[str]:
    site = block_of("Caddy:").replace("127.0.0.1:8080", f"127.0.0.1:{pages}")
    site = site.replace(f"{HOST} {{", f"https://{HOST}:{public} {{\n    bind 127.0.0.1\n    tls {room}/cert.pem {room}/key.pem", 1)
    (room / "Caddyfile").write_text(
        f"{{\n    admin off\n    auto_https disable_redirects\n    storage file_system {room}/caddy\n}}\n{site}"
    )
    return ["caddy", "run", "--config", str(room / "Caddyfile"), "--adapter", "caddyfile"]


@dataclass
class Visitor:
    """As much of a browser as a log-in needs, through the proxy, which it reaches by name and whose certificate it checks."""

    port: int
    trusts: ssl.SSLContext
    cookies: dict[str, str] = field(default_factory=dict)
    set: list[str] = field(default_factory=list)
    lines: list[http.client.HTTPConnection] = field(default_factory=list)

    def close(self) -> None:
        for line in self.lines:
            line.close()

    def ask(self, path: str, form: dict[str, str] | None = None) -> http.client.HTTPResponse:
        raw = socket.create_connection(("127.0.0.1", self.port), 30, source_address=(CLIENT, 0))
        line = http.client.HTTPConnection(HOST, self.port)
        self.lines.append(line)
        line.sock = self.trusts.wrap_socket(raw, server_hostname=HOST)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        line.request("GET" if form is None else "POST", path, None if form is None else urllib.parse.urlencode(form), headers)
        answer = line.getresponse()
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            self.set.append(cookie)
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def page(self, path: str) -> str:
        answer = self.ask(path)
        assert answer.status == 200, (path, answer.status)
        return answer.read().decode()


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    """A certificate of the laboratory's own in tmp_path, and trust in it."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = [
        "-subj",
        f"/CN={HOST}",
        "-addext",
        f"subjectAltName=DNS:{HOST}",
        "-keyout",
        tmp_path / "key.pem",
        "-out",
        tmp_path / "cert.pem",
    ]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))


def publish(topic: str, payload: str, port: int) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.publish(topic, payload, 1, retain=True).wait_for_publish(PATIENCE_S)
    client.disconnect()
    client.loop_stop()


@contextmanager
def running(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A program that listens on a port of this machine."""
    child = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + PATIENCE_S
        while True:
            assert child.poll() is None and time.monotonic() < end, child.stderr and child.stderr.read()
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield child
    finally:
        child.terminate()
        child.communicate(timeout=30)


@pytest.mark.parametrize("proxy", [nginx, caddy], ids=["nginx", "caddy"])
def test_log_in_arrivals_and_the_visitors_own_address(proxy, certificate: ssl.SSLContext, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    if shutil.which(proxy.__name__) is None:
        pytest.skip(f"{proxy.__name__} is not installed")
    url, pages, public = f"sqlite:///{tmp_path}/supervisor.sqlite", free_port(), free_port()
    program = [sys.executable, "-m", "device", "supervise"]
    added = subprocess.run(
        [*program, "user", "add", "anna", "--role", "admin", "--database", url], input=f"{PASSWORD}\n", text=True, check=False
    )
    assert added.returncode == 0
    try:
        broker = MosquittoBroker()
        broker.__enter__()
    except BrokerError as error:
        pytest.skip(str(error))
    served = [*program, "--database", url, "--port", str(pages), "--broker-port", str(broker.port)]
    try:
        with ExitStack() as cleaner:
            cleaner.enter_context(running([*served, "--behind-proxy", f"https://{HOST}{PREFIX}"], pages))
            cleaner.enter_context(running(proxy(tmp_path, pages, public), public))
            visitor = cleaner.enter_context(closing(Visitor(public, certificate)))
            csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', visitor.page(f"{PREFIX}/login"))
            assert csrf
            form = {"csrf": csrf[1], "name": "anna", "password": PASSWORD, "next": "/"}
            assert visitor.ask(f"{PREFIX}/login", {**form, "csrf": "0" * 64}).status in (400, 403)
            entered = visitor.ask(f"{PREFIX}/login", form)
            assert entered.status == 303 and entered.headers["Location"] in (f"{PREFIX}/", f"https://{HOST}{PREFIX}/")
            assert visitor.set and all("Secure" in one and "HttpOnly" in one and f"Path={PREFIX}/" in one for one in visitor.set)
            home = visitor.page(f"{PREFIX}/")
            assert f'href="{PREFIX}/' in home and not re.search(r'(?:href|src|action)="/(?!leukoscope)', home)
            style = re.search(rf'href="({PREFIX}/static/[^"]+\.css[^"]*)"', home)
            assert style and visitor.ask(style[1]).status == 200

            stream = visitor.ask(f"{PREFIX}/events")
            assert stream.status == 200 and stream.headers["Content-Type"].startswith("text/event-stream")
            began_s = time.monotonic()
            assert stream.readline().startswith(b"retry:")
            status = json.loads((ROOT / "tests/messages/1.4/786afcc-status-counting.json").read_text())
            publish("leukoscope/frozen/status", json.dumps(status), broker.port)
            while not (line := stream.readline()).startswith(b"event:"):
                assert line and time.monotonic() - began_s < 30
            assert b"frozen" in stream.readline()
            assert time.monotonic() - began_s < 20, "a proxy that buffers gives it when a minute's worth is full"
    finally:
        broker.__exit__(None, None, None)
    engine = open_database(url)
    with reading(engine) as session:
        rows, _, _ = queries.audit(session)
    engine.dispose()
    assert CLIENT in {row.address for row in rows if row.who == "anna"}
    assert {row.address for row in rows if row.address} == {CLIENT}
