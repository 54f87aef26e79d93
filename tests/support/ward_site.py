"""The supervisor's pages as people meet them: a real mosquitto, `supervise` on a free port, a filled database, Debian's Chromium."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import paho.mqtt.publish
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from device.demo.broker import MosquittoBroker, find_mosquitto, free_port
from device.settings.broker import BrokerSection
from device.supervisor import accounts
from device.supervisor.database import writing
from device.supervisor.receiver import Reception
from device.supervisor.supervise import Site, supervise
from tests.support.ward import new_database, ward

PASSWORD = "several words are good"  # of every account here
PEOPLE = {"amina": "reviewer", "root": "admin", "vera": "viewer"}
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Ward:
    """Where the pages and the broker are."""

    port: int
    broker_port: int
    database: Path
    prefix: str = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    def publish(self, kind: str, document: dict[str, Any]) -> None:
        """One message of a device, through the broker."""
        topic = f"leukoscope/{document['device_id']}/{kind}"
        paho.mqtt.publish.single(topic, json.dumps(document), qos=1, hostname="127.0.0.1", port=self.broker_port)


@contextmanager
def running(folder: Path, prefix: str = "") -> Iterator[Ward]:
    """The whole of it, as long as the block; skips where mosquitto is not installed. prefix: what a proxy puts before every path."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    now, database, stop = datetime.now(timezone.utc), folder / "ward.sqlite", threading.Event()
    engine = new_database(database)
    ward(engine, slides=120, now=now)
    with writing(engine) as session:
        for name, role in PEOPLE.items():
            accounts.add_user(session, name, role, PASSWORD, now)
    engine.dispose()
    user = ("user root",) if os.geteuid() == 0 else ()
    with MosquittoBroker(lines=(*user, "allow_anonymous true")) as broker:
        reception = Reception(BrokerSection(host=broker.host, port=broker.port), "supervisor")
        port = free_port()
        site = Site(port=port, behind_proxy=f"http://127.0.0.1:{port}{prefix}", insecure=True) if prefix else Site(port=port)
        thread = threading.Thread(target=supervise, args=(f"sqlite:///{database}", reception, site, stop))
        thread.start()
        try:
            _wait_for(port, thread)
            yield Ward(port, broker.port, database, prefix)
        finally:
            stop.set()
            thread.join(PATIENCE_S)
        assert not thread.is_alive()


def _wait_for(port: int, thread: threading.Thread) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_s and thread.is_alive():
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the pages did not start")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; skips where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium is not installed (apt install chromium)")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=list(QUIET))
        try:
            yield browser
        finally:
            browser.close()


class Complaints(list[str]):
    """What a browser says against a page: errors, refusals of the policy, warnings."""

    def hears(self, page: Page) -> None:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.append(str(error)))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "status of 404" not in message.text:
            self.append(f"{message.type}: {message.text}")


def log_in(context: BrowserContext, at: Ward, name: str) -> Page:
    """A page of this user's, at the overview."""
    page = context.new_page()
    page.goto(f"{at.address}/login")
    page.locator("[name=name]").fill(name)
    page.locator("[name=password]").fill(PASSWORD)
    page.locator("main button.main").click()
    page.wait_for_url(f"{at.address}/")
    return page
