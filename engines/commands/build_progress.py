"""How far a build is, in a file that the screen of a box's start reads. Its shape is that of the box's other steps (docs/box.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from engines.build import Phases
from engines.bundle import Bundle
from engines.errors import EnginesError
from engines.files import write_step
from engines.runtime.tensorrt.plan import graphs_of

STEP = "engine"


class ProgressFile:
    """Writes the file atomically; `path` None: nothing. A file that cannot be written never stops a build."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._graphs: list[tuple[str, str]] = []
        self._percent: int | None = None

    def begin(self, bundles: Sequence[Bundle]) -> None:
        """A build of these begins, in this order."""
        self._graphs = [(bundle.digest, graph.name) for bundle in bundles for graph in graphs_of(bundle).values()]
        self._put("running", "looking for the engine of this GPU", None)

    def phases(self, bundle: Bundle, graph: str, bars: Phases) -> Phases:
        """Hears the progress of one graph of a bundle, and passes it on."""
        asked = (bundle.digest, graph)
        place = self._graphs.index(asked) if asked in self._graphs else 0
        return _Heard(self, bars, place, max(len(self._graphs), 1))

    def at(self, share: float) -> None:
        """So much of the build is done, 0 to 1; written when it is another per cent."""
        percent = min(99, int(100 * share))
        if percent != self._percent:
            self._percent = percent
            self._put("running", "building the engine for this GPU", percent)

    def done(self, words: str) -> str:
        """It ended well; gives the words back."""
        self._put("done", words, 100)
        return words

    @contextmanager
    def ending(self) -> Iterator[None]:
        """What ends the build otherwise is told and goes on its way."""
        try:
            yield
        except EnginesError as error:
            self._put("failed", str(error), None)
            raise
        except KeyboardInterrupt:
            self._put("failed", "the build of the engine was stopped; it begins anew at the next start", None)
            raise

    def _put(self, state: str, words: str, percent: int | None) -> None:
        if self._path is not None:
            with suppress(OSError):
                write_step(self._path, STEP, state, words, percent)


@dataclass
class _Heard:
    """One graph of several: TensorRT's outermost phase counts, those inside it do not. place: which, from 0."""

    file: ProgressFile
    bars: Phases
    place: int
    graphs: int
    outermost: str = ""
    steps: int = 1

    def start(self, name: str, parent: str | None, steps: int) -> None:
        if not self.outermost:
            self.outermost, self.steps = name, max(steps, 1)
            self.file.at(self.place / self.graphs)
        self.bars.start(name, parent, steps)

    def step(self, name: str, done: int) -> None:
        if name == self.outermost:
            self.file.at((self.place + min(done / self.steps, 1)) / self.graphs)
        self.bars.step(name, done)

    def finish(self, name: str) -> None:
        self.bars.finish(name)
