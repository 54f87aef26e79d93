"""Certificates that no client takes, each with the advice that mends it: made for no host, for clients only, too weak."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from device.mqtt.client import open_link
from device.mqtt.faults import BrokerRefusedError
from device.settings.broker import BrokerSection

pytestmark = [pytest.mark.integration, pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")]

NAMED = "subjectAltName=IP:127.0.0.1\n"
CASES = {
    "no name": ("", "rsa:2048", "sha256", "have it made with subjectAltName for '127.0.0.1'"),
    "clients only": (f"{NAMED}extendedKeyUsage=clientAuth\n", "rsa:2048", "sha256", "extendedKeyUsage serverAuth"),
    "a short key": (NAMED, "rsa:1024", "sha256", "RSA of 2048 bits or more"),
    "an old digest": (NAMED, "rsa:2048", "sha1", "with SHA-256"),
}


def made(folder: Path, extensions: str, key: str, digest: str) -> None:
    """An authority and a certificate, `server.crt`, by openssl."""
    (folder / "ext").write_text(extensions or "basicConstraints=CA:FALSE\n")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 30 -subj /CN=authority",
        f"req -newkey {key} -nodes -keyout server.key -out server.csr -subj /CN=127.0.0.1",
        f"x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 20 -{digest} -extfile ext",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


@contextmanager
def server(folder: Path) -> Iterator[int]:
    """Says nothing but its certificate; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as shown:
                shown.recv(100)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()


@pytest.mark.parametrize("what", CASES)
def test_what_is_wrong_with_the_certificate_is_told_and_not_its_authority(what: str, tmp_path: Path) -> None:
    extensions, key, digest, advice = CASES[what]
    made(tmp_path, extensions, key, digest)
    with server(tmp_path) as port:
        section = BrokerSection(host="127.0.0.1", port=port, tls=True, ca_file=tmp_path / "ca.crt")
        with pytest.raises(BrokerRefusedError) as caught:
            open_link(section, "leukoscope-test")
    assert advice in str(caught.value) and "ca_file" not in str(caught.value)
