"""Counting at once with what opens at once, while what the configuration asks for is measured, or built for this board's GPU.

    with Meanwhile(config, building) as meanwhile:
        meanwhile.open()               makes the engine of the line that is opened now
        meanwhile.better(at_rest)      asked between rounds; true: end this line and open another, which counts with the better engine

A line has one engine from its first frame to its last, so that a slide and its provenance have one: the better engine is not put under
a running line; the line is opened anew while no slide is open. What is tried in the background takes turns with the frames that are
looked at, so that neither disturbs the other's measured time. What fails is told once, and it goes on with what it has.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import NamedTuple

from typing_extensions import Self

from device.language import _
from device.service.engine import asked
from device.service.layers import chosen_layer
from device.settings.config import Config
from engines.bundle import Bundle, resolve
from engines.detections import Detections, Image
from engines.errors import DeviceLostError, EnginesError
from engines.runtime import choice
from engines.runtime.base import Engine, EngineInfo, Inference
from engines.runtime.engine import BundleEngine
from engines.runtime.factory import runtime_for
from engines.runtime.precision import AUTO, FLOAT32
from engines.runtime.worker import in_words

log = logging.getLogger(__name__)

_OF_A_GPU = ("tensorrt", "tensorrt_rtx")
_LOOK_S = 2.0
"""How often it is looked whether there is something new to try."""
_REST_S = 3.0
"""So long nobody did anything before the line is opened anew."""
_NICER = 10
"""What is tried in the background makes way for the count by so much."""
_END_S = 10.0

Building = Callable[[], tuple[bool, int | None]]
"""Whether a plan is being built for this board's GPU, and how much of it is done in per cent."""


class Way(NamedTuple):
    """One way to run the network: bundle, runtime and precision."""

    bundle: str
    runtime: str
    precision: str


class Meanwhile:
    """What the next line counts with, and whether something better has become ready since. One for the whole run of a daemon."""

    def __init__(self, config: Config, building: Building, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._config, self._building, self._now_s = config, building, monotonic_s
        section = config.engine
        self._for_gpu = section.runtime in _OF_A_GPU
        self._asked = Way(section.bundle, section.runtime, section.precision) if self._for_gpu else None  # known without measuring
        self._counts: Way | None = None
        self._turn = threading.Lock()
        self.interim = False
        self._ready, self._fault = False, ""
        self._tried: object = None  # what the last attempt saw, so that only something new is tried again
        self._trial: threading.Thread | None = None
        self._stopping = False
        self._looked_s = self._rests_since_s = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        if self._trial is not None:
            self._trial.join(_END_S)  # a runtime that is still loading while the process ends may crash it

    # ---- opening

    @contextmanager
    def open(self) -> Iterator[Engine]:
        """What the configuration asks for where that is known and opens; else what needs neither measuring nor a plan. Opened again for
        the same line (it was given up), it is the same engine.

        Raises BundleError, RuntimeUnavailableError where the processor cannot count either.
        """
        with ExitStack() as opened:
            way = self._counts or self._asked or self._known()
            engine = None if way is None else self._entered(way, opened)
            interim = way is None or engine is None
            if way is None or engine is None:
                way, engine = self._at_once(opened, a_plan=way is None)
            if self._counts is None:
                self.interim, self._counts = interim, way
                if not interim:
                    self._tried = self._seen()
            yield InTurn(engine, self._turn)

    def _at_once(self, opened: ExitStack, a_plan: bool) -> tuple[Way, BundleEngine]:
        """What counts without measuring. a_plan: by a plan for the GPU where one fits; measuring may find something quicker yet."""
        bundle = Bundle.open(resolve(self._config.engine.bundle))
        if a_plan and self._config.engine.runtime == AUTO and self._seen():
            for runtime in _OF_A_GPU:
                with suppress(EnginesError), ExitStack() as trial:
                    way = Way(str(bundle.path), runtime, FLOAT32)
                    engine = trial.enter_context(self._engine(way))
                    opened.push(trial.pop_all())
                    return way, engine
        way = Way(str(bundle.path), runtime_for(bundle, AUTO), FLOAT32)
        return way, opened.enter_context(self._engine(way))

    def _entered(self, way: Way, opened: ExitStack) -> BundleEngine | None:
        """That engine, open; None where it is one of a GPU that cannot be had now."""
        try:
            return opened.enter_context(self._engine(way))
        except DeviceLostError:
            raise
        except EnginesError as error:
            if self._counts is not None or way.runtime not in _OF_A_GPU:
                raise
            self._fault = _words(error)
            log.warning("%s Until then the processor counts.", self._fault)
            return None

    def new_line(self) -> None:
        """The next line may count with another engine than the last."""
        self._counts, self._ready = None, False

    def _known(self) -> Way | None:
        """What was measured here before, if nothing that it depends on has changed."""
        found = choice.known_choice(asked(self._config))
        return None if found is None else Way(found.chosen.bundle, found.chosen.runtime, found.chosen.precision)

    def _engine(self, way: Way) -> BundleEngine:
        wanted = replace(asked(self._config), **way._asdict())
        return choice.open_asked(wanted, self._config.engine.score_threshold, chosen_layer(self._config))

    # ---- something better

    def better(self, at_rest: bool) -> bool:
        """Whether the line should be opened anew now. at_rest: no slide is open, and nobody is in the middle of anything."""
        now_s = self._now_s()
        if not at_rest:
            self._rests_since_s = now_s
        if self._ready:
            return now_s - self._rests_since_s >= _REST_S
        if now_s - self._looked_s >= _LOOK_S and not (self._trial is not None and self._trial.is_alive()):
            self._looked_s = now_s
            seen = self._seen()
            may = bool(seen) if self._for_gpu else self.interim or self._config.engine.runtime == AUTO
            if may and seen != self._tried and not self._building()[0]:
                self._tried = seen
                self._trial = threading.Thread(target=self._try, name="better-engine", daemon=True)
                self._trial.start()
        return False

    def _seen(self) -> tuple[object, ...]:
        """The plans that lie there, by name, time and size."""
        found: list[tuple[str, int, int]] = []
        for path in self._config.engine.plans.glob("*"):
            with suppress(OSError):
                found.append((path.name, path.stat().st_mtime_ns, path.stat().st_size))
        return tuple(sorted(found))

    def _try(self) -> None:
        """In a thread of its own: measure, or open the plan, which asks the golden picture; then the line may be opened anew."""
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICER)
        try:
            if self._for_gpu and self._asked is not None:
                with self._engine(self._asked):
                    way = self._asked
            else:
                way = self._measured()
        except _EndsError:
            return
        except Exception as error:  # whatever a driver raises: the count goes on
            if _words(error) != self._fault:
                log.error("nothing better than the engine that counts can be used: %s", _words(error))
            self._fault = _words(error)
            return
        self._fault, self._asked = "", way
        if way == self._counts:
            self.interim = False
            return
        log.info("%s on %s is ready; the next slide is counted with it", way.bundle, way.runtime)
        self._ready = True

    def _measured(self) -> Way:

        def report(task: str, done: int, total: int) -> None:
            if self._stopping:
                raise _EndsError
            log.info("choosing what runs the engine quickest here: %s (%d of %d)", task, done + 1, total)

        chosen = choice.choose(asked(self._config), report, self._turn).chosen
        return Way(chosen.bundle, chosen.runtime, chosen.precision)

    # ---- in words

    def note(self) -> tuple[str, str]:
        """Level and words for the engine's lamp, in the language in use; empty while what was asked for counts."""
        if self._ready:
            return "busy", _("another engine from the next slide on")
        if not self.interim:
            return "", ""
        building, percent = self._building()
        if building:
            share = "" if percent is None else f" {percent} %"
            return "busy", _("counts on the CPU; GPU engine is built{share}").format(share=share)
        if self._trial is not None and self._trial.is_alive():
            return "busy", _("looks for the quickest engine")
        if self._for_gpu or self._fault:
            return "warn", _("counts on the CPU, the GPU has no engine")
        return "", ""


def _words(error: Exception) -> str:
    """The house's own errors are sentences; others need their type."""
    return str(error) if isinstance(error, EnginesError) else in_words(error)


class _EndsError(Exception):
    """The daemon ends: the measuring too."""


class InTurn:
    """The Protocol `Engine` around an open one, a frame at a time, in turn with what is measured beside it."""

    def __init__(self, engine: BundleEngine, turn: AbstractContextManager[object]) -> None:
        self._engine, self._turn = engine, turn

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    def infer(self, image: Image) -> Inference:
        with self._turn:
            return self._engine.infer(image)

    def name_cells(self, image: Image, found: Detections, um_per_px: float | None = None) -> Detections:
        with self._turn:
            return self._engine.name_cells(image, found, um_per_px)

    def golden_fault(self) -> str | None:
        """As `Checkable`."""
        with self._turn:
            return self._engine.golden_fault()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Whoever opened the engine closes it."""
