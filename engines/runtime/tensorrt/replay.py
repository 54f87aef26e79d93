"""Work that is the same for each frame: put on the stream call by call at first, captured as a CUDA graph, replayed from then on."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Hashable

from engines.errors import InferenceError
from engines.runtime.tensorrt.driver import Driver, DriverError

log = logging.getLogger(__name__)


class Replay:
    """One half of an inference. errors: what else than InferenceError and DriverError a capture that fails may raise.

    The first run of a key goes call by call, which sets up what a capture may not; the second captures; all later ones launch the
    graph. A capture holds the addresses and sizes of its moment, so another key (another size of frame) starts over.
    """

    def __init__(self, driver: Driver, stream: int, errors: type[Exception]) -> None:
        self._driver = driver
        self._stream = stream
        self._errors = errors
        self._key: Hashable = None
        self._graph: ctypes.c_void_p | None = None
        self._ran = False
        self._captures = True

    def run(self, key: Hashable, enqueue: Callable[[], None]) -> None:
        """Puts the work on the stream. Raises what `enqueue` raises, and DriverError."""
        if key != self._key:
            self.forget()
            self._key = key
        if self._graph is None and self._ran and self._captures:
            self._capture(enqueue)
        if self._graph is not None:
            self._driver.launch(self._graph, self._stream)
        else:
            enqueue()
            self._ran = True

    def forget(self) -> None:
        """Frees the graph; the next run goes call by call."""
        if self._graph is not None:
            self._driver.destroy(self._graph)
        self._graph, self._key, self._ran = None, None, False

    def _capture(self, enqueue: Callable[[], None]) -> None:
        try:
            self._graph = self._driver.capture(self._stream, enqueue)
        except (DriverError, InferenceError, self._errors) as error:
            # The same calls in the same order without a graph: the same numbers, a little later.
            log.warning("no CUDA graph could be captured (%s); every frame goes call by call", error)
            self._captures = False
