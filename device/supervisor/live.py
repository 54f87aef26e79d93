"""What open pages are told at once: server-sent events with a bounded, coalescing list for each browser, and a heartbeat.

An event says only which slide or device has news; the page then asks for itself again, as its reader may see it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from device.supervisor.database import reading
from device.supervisor.tables import DeviceState, Note, SecondSignature, Summary
from device.supervisor.taking import Taken

log = logging.getLogger(__name__)

News = tuple[str, str, str]
"""Event ("slide", "device"), device, slide; empty words mean: something, look at all."""

MOST_STREAMS: Final = 300
MOST_OF_ONE: Final = 20
_MOST_WAITING: Final = 50
_HEARTBEAT_S: Final = 15.0
_TOGETHER_S: Final = 0.5
_LOOK_S: Final = 3.0
_LONGEST_S: Final = 600.0
"""A stream ends after so long; the browser comes back by itself, and its log-in is looked at anew."""


class _Client:
    def __init__(self, user: str) -> None:
        self.user = user
        self.waiting: dict[News, None] = {}
        self.called = asyncio.Event()

    def tell(self, news: News) -> None:
        if news not in self.waiting and len(self.waiting) >= _MOST_WAITING:  # slower than the news: one word for all of them
            self.waiting = dict.fromkeys((("slide", "", ""), ("device", "", "")))
        self.waiting[news] = None
        self.called.set()


class Hub:
    """The open streams of this process. `tell` and `took` from any thread; all else in the loop that runs `watch`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clients: set[_Client] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def took(self, taken: Sequence[Taken]) -> None:
        """What the receiver stored."""
        for one in taken:
            if one.new and one.device_id:
                self.tell(("slide" if one.slide_id else "device", one.device_id, one.slide_id))

    def tell(self, news: News) -> None:
        loop = self._loop
        if loop is not None and self._clients:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._spread, news)

    def _spread(self, news: News) -> None:
        for client in self._clients:
            client.tell(news)

    async def watch(self) -> None:
        """Runs as long as the server: looks now and then for what other processes stored."""
        self._loop = asyncio.get_running_loop()
        last: tuple[int, ...] | None = None
        while not self._closed:
            await asyncio.sleep(_LOOK_S)
            if not self._clients:
                last = None
                continue
            try:
                now = await asyncio.to_thread(self._numbers)
            except SQLAlchemyError:
                continue  # the receiver and every page tell of it
            if last is not None and now != last:
                self._spread(("slide" if now[:3] != last[:3] else "device", "", ""))
            last = now

    def _numbers(self) -> tuple[int, ...]:
        with reading(self._engine) as session:
            tables = (Summary, Note, SecondSignature, DeviceState)
            return tuple(session.scalar(select(func.max(table.id))) or 0 for table in tables)

    def close(self) -> None:
        """End every stream, so that the server can stop."""
        self._closed = True
        for client in self._clients:
            client.called.set()

    def has_room(self, user: str) -> bool:
        return len(self._clients) < MOST_STREAMS and sum(client.user == user for client in self._clients) < MOST_OF_ONE

    async def stream(self, user: str, still_in: Callable[[], bool]) -> AsyncIterator[str]:
        """The lines of one browser's stream. still_in: asked now and then, in a thread, whether the log-in still stands."""
        client = _Client(user)
        self._clients.add(client)
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + _LONGEST_S
        try:
            yield "retry: 3000\n\n"
            while not self._closed and loop.time() < ends_s:
                try:
                    await asyncio.wait_for(client.called.wait(), _HEARTBEAT_S)
                except asyncio.TimeoutError:
                    if not await asyncio.to_thread(still_in):
                        return
                    yield ": well\n\n"
                    continue
                if self._closed:
                    return
                await asyncio.sleep(_TOGETHER_S)
                client.called.clear()
                waiting, client.waiting = client.waiting, {}
                for event, device, slide in waiting:
                    yield f"event: {event}\ndata: {json.dumps({'device': device, 'slide': slide})}\n\n"
        finally:
            self._clients.discard(client)
