"""What runs a network quickest on this very device, of all that answers rightly there: measured once, and kept with its key.

    engine = open_chosen(Asked("zoo:attridet-n", kept=Path("/var/lib/leukoscope/engine-choice.json")))      (use `with`)
    choice = choose(Asked("zoo:attridet-n"))   choice.chosen, choice.trials: what was tried, what each took, what was refused and why

Tried are the bundle itself and those beside it that were made from it and passed their gate; each on every runtime that is installed,
in every precision that the processor has, those in FP16 on a GPU alone. What passes: the golden picture is answered as stored; a bundle
in 8 bits passed its gate on that runtime; and what is computed in fewer bits than float32, a bundle in FP16 too, says of the golden
picture, turned and mirrored (eight pictures), what float32 says here, near ties apart.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from pydantic import ValidationError

from engines.bundle import Bundle, resolve
from engines.detections import Image
from engines.errors import BundleError, EnginesError, InferenceError, RuntimeUnavailableError
from engines.files import make_folder, write_result
from engines.provenance import Record
from engines.runtime import factory
from engines.runtime.engine import BundleEngine
from engines.runtime.margins import Answer, disagreement
from engines.runtime.precision import AUTO, FLOAT16, FLOAT32, HALF, PRECISIONS, check_word, processor, shown, tolerance_of
from engines.version import version

ROUNDS = 7
_FRAME_HW = (1080, 1920)
_GAIN = 0.95
"""Fewer bits than float32 are taken only where a frame takes less than this share of the time."""
_OF_A_GPU = ("tensorrt", "tensorrt_rtx")
_NEAR = 1.5
"""What took less than so many times the quickest's time is measured again."""

Report = Callable[[str, int, int], None]
"""Called with what is done now, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Asked:
    """The engine that is asked for; what is `AUTO` of it is chosen. kept: file of an earlier choice, taken where its key is the same,
    written where it is not; the others as `open_engine` has them."""

    bundle: str | Path
    runtime: str = AUTO
    precision: str = AUTO
    threads: int = 2
    ungated: bool = False
    plans: Path | None = None
    kept: Path | None = None


class ChoiceKey(Record):
    """Everything that the choice depends on; another value of any, and it is measured again.

    bundles: sha256 of the manifests, by folder. asked: bundle, runtime and precision as configured. software: versions. flags: sha256.
    """

    bundles: dict[str, str]
    asked: tuple[str, str, str]
    software: dict[str, str]
    processor: str
    flags: str
    cores: int
    threads: int
    ungated: bool
    plans: str


class Trial(Record):
    """One bundle on one runtime in one precision, tried here. fault: why it must not be taken, empty where it passed.

    told: the precision as provenance has it. frame_ms: median of a whole 1080p frame; None where it was not measured.
    """

    bundle: str
    runtime: str
    precision: str
    told: str
    fault: str = ""
    frame_ms: float | None = None

    @property
    def words(self) -> str:
        """In a few words: "openvino bf16"."""
        return f"{self.runtime} {self.told}"


class Choice(Record):
    """What was chosen, among what, by which key, and when (UTC)."""

    key: ChoiceKey
    chosen: Trial
    trials: tuple[Trial, ...]
    measured: str

    @property
    def words(self) -> str:
        """One line for doctor and log: the choice and all that was measured beside it."""
        times = ", ".join(f"{t.words} {t.frame_ms:.0f} ms" for t in self.trials if t.frame_ms is not None)
        refused = "; ".join(f"{t.words}: {t.fault}" for t in self.trials if t.fault)
        return f"{self.chosen.words} chosen by measuring ({times})" + (f"; not taken: {refused}" if refused else "")


def open_chosen(
    asked: Asked, score_threshold: float | None = None, layer: Path | None = None, report: Report = lambda *_: None
) -> BundleEngine:
    """An engine, not yet opened (use `with`): as `open_engine`, but what is "auto" is chosen by `choose`. Raises as that does."""
    if AUTO in (asked.runtime, asked.precision):
        chosen = choose(asked, report).chosen
        asked = replace(asked, bundle=chosen.bundle, runtime=chosen.runtime, precision=chosen.precision)
    return open_asked(asked, score_threshold, layer)


def open_asked(asked: Asked, score_threshold: float | None = None, layer: Path | None = None) -> BundleEngine:
    """`open_engine` for what is asked."""
    return factory.open_engine(
        asked.bundle,
        asked.runtime,
        asked.threads,
        score_threshold,
        ungated=asked.ungated,
        plans=asked.plans,
        precision=asked.precision,
        layer=layer,
    )


def choose(
    asked: Asked,
    report: Report = lambda *_: None,
    turn: AbstractContextManager[object] = nullcontext(),  # noqa: B008  (keeps nothing)
) -> Choice:
    """The quickest that passes here.

    Takes seconds where it is measured. turn: entered around each frame, so that another engine of this process does not run at the
    same time. Raises BundleError or RuntimeUnavailableError, in one line, where nothing passes.
    """
    key, possible = _possible(asked)
    if (before := _known(key, possible, asked.kept)) is not None:
        return before
    trials = _measured(possible, asked, report, turn)
    passed = [trial for trial in trials if trial.frame_ms is not None]
    if not passed:
        faults = dict.fromkeys(trial.fault for trial in trials)
        words = trials[0].fault if len(faults) == 1 else "; ".join(f"{trial.words}: {trial.fault}" for trial in trials)
        raise BundleError(words if len(faults) == 1 else f"{asked.bundle}: nothing that runs it passes on this device ({words}).")
    choice = Choice(
        key=key, chosen=_quickest(passed), trials=tuple(trials), measured=datetime.now(timezone.utc).isoformat("T", "seconds")
    )
    if asked.kept is not None:
        try:
            make_folder(asked.kept.parent)
            write_result(asked.kept, choice.model_dump_json(indent=1) + "\n")
        except EnginesError:
            report("the choice cannot be kept and is measured again at the next start", 1, 1)
    return choice


def known_choice(asked: Asked) -> Choice | None:
    """What `choose` answers without measuring: the choice that was kept with the same key, or the only one there is; else None."""
    return _known(*_possible(asked), asked.kept)


def _possible(asked: Asked) -> tuple[ChoiceKey, list[Trial]]:
    """What the choice depends on, and what there is to choose from. Opens the bundles, which reads all of their bytes."""
    check_word(asked.precision)
    bundles = _bundles(asked)
    return _key(asked, bundles), _trials(asked, bundles)


def _known(key: ChoiceKey, trials: list[Trial], kept: Path | None) -> Choice | None:
    if kept is not None and (before := read_choice(kept)) is not None and before.key == key:
        return before
    if len(trials) == 1:  # nothing to choose: opening it says what is wrong with it, if anything is
        return Choice(key=key, chosen=trials[0], trials=tuple(trials), measured="")
    return None


def _bundles(asked: Asked) -> list[Bundle]:
    """The bundle, and those beside it that may be taken in its place."""
    bundle = Bundle.open(resolve(asked.bundle))
    return [bundle, *(made_from(bundle) if (asked.runtime, asked.precision) == (AUTO, AUTO) else [])]


def read_choice(path: Path) -> Choice | None:
    """The choice that was kept, or None where there is none that can be read: it is measured again then."""
    try:
        return Choice.model_validate_json(path.read_bytes(), strict=False)
    except (OSError, ValidationError):
        return None


def made_from(bundle: Bundle) -> list[Bundle]:
    """Bundles in INT8 or FP16 beside this float one that were made from it and passed their gate; one that is damaged is none."""
    found = []
    for manifest in sorted(bundle.path.resolve().parent.glob("*/manifest.json")):
        if manifest.parent == bundle.path.resolve():
            continue
        try:
            other = Bundle.open(manifest.parent)
        except BundleError:
            continue
        record = other.manifest.quantization
        if record is not None and record.source == bundle.digest and other.manifest.gate_fault is None:
            found.append(other)
    return found


def _key(asked: Asked, bundles: list[Bundle]) -> ChoiceKey:
    model, flags = processor()
    software = {"leukoscope": version(), **{name: found for name, found in _versions().items() if found}}
    return ChoiceKey(
        bundles={str(bundle.path.resolve()): bundle.digest for bundle in bundles},
        asked=(str(asked.bundle), asked.runtime, asked.precision),
        software=software,
        processor=model,
        flags=hashlib.sha256(" ".join(sorted(flags.split())).encode()).hexdigest(),
        cores=os.cpu_count() or 1,
        threads=asked.threads,
        ungated=asked.ungated,
        plans=hashlib.sha256("\n".join(names).encode()).hexdigest() if (names := _names(asked.plans)) else "",
    )


def _names(plans: Path | None) -> list[str]:
    """What lies in a folder of plans; nothing where there is no such folder, as on a machine without a GPU."""
    return [] if plans is None else sorted(path.name for path in plans.glob("*"))


def _versions() -> dict[str, str]:
    """Installed runtimes of the processor, without importing them; empty for one that is not there."""
    from engines.runtime.onnx import version as onnx_version
    from engines.runtime.openvino.library import version as openvino_version

    found = {}
    for name, asked in (("onnx", onnx_version), ("openvino", openvino_version)):
        try:
            found[name] = asked()
        except RuntimeUnavailableError:
            found[name] = ""
    return found


def _trials(asked: Asked, bundles: list[Bundle]) -> list[Trial]:
    """What is to be tried: float32 first, so that it is kept where nothing is clearly quicker."""
    from engines.runtime.openvino.library import precisions

    runtime, precision = asked.runtime, asked.precision
    runtimes: dict[str, tuple[str, ...]] = {}
    if _names(asked.plans):
        runtimes |= dict.fromkeys(_OF_A_GPU, (FLOAT32,))
    installed = _versions()
    runtimes["onnx"] = (FLOAT32,)
    if installed["openvino"]:
        runtimes["openvino"] = precisions()
    wanted = {runtime: runtimes.get(runtime, (FLOAT32,))} if runtime != AUTO else runtimes
    if precision != AUTO:
        wanted = {name: (precision,) for name, has in wanted.items() if precision in has or runtime != AUTO}
        wanted = wanted or {"openvino": (precision,)}
    found = [
        Trial(bundle=str(bundle.path), runtime=name, precision=word, told=shown(bundle.manifest.precision, word))
        for bundle in bundles
        for name, words in wanted.items()
        # A processor has nothing of FP16 in the graphs; there the bundle that it was made from is tried, in every precision.
        if len(bundles) == 1 or bundle.manifest.precision != HALF or name in _OF_A_GPU
        for word in words
    ]
    return sorted(found, key=lambda trial: PRECISIONS.index(trial.precision))


def _measured(trials: list[Trial], asked: Asked, report: Report, turn: AbstractContextManager[object]) -> list[Trial]:
    """Each trial with its fault, or with the time that a frame takes.

    One engine is open at a time, since a small board has no memory for all. Those near the quickest are measured a second time in
    reverse order, and the better counts, so that a machine that was busy for a while does not decide.
    """
    known: dict[str, list[Answer]] = {}
    floats = next((trial.bundle for trial in trials if trial.told == "fp32"), "")

    def tried(trial: Trial, again: bool) -> Trial:
        try:
            engine = open_asked(replace(asked, bundle=trial.bundle, runtime=trial.runtime, precision=trial.precision))
            if fault := _gate_fault(engine.bundle, trial):
                return trial.model_copy(update={"fault": fault})
            with engine:
                fewer = trial.precision != FLOAT32 or trial.told == HALF
                if fewer and not again and (fault := _difference(engine, asked.threads, known, floats)):
                    return trial.model_copy(update={"fault": fault})
                spent_ms = _frame_ms(engine, turn)
        except (BundleError, RuntimeUnavailableError, InferenceError) as error:
            return trial.model_copy(update={"fault": str(error)})
        return trial.model_copy(update={"frame_ms": round(min(spent_ms, trial.frame_ms or spent_ms), 2)})

    done = list(trials)
    for number, trial in enumerate(trials):
        report(f"trying {trial.words}", number, 2 * len(trials))
        done[number] = tried(trial, again=False)
    quickest_ms = min((trial.frame_ms for trial in done if trial.frame_ms is not None), default=0.0)
    passed = [number for number, trial in enumerate(done) if (trial.frame_ms or np.inf) < _NEAR * quickest_ms]
    for nth, number in enumerate(reversed(passed) if len(passed) > 1 else ()):
        report(f"measuring {done[number].words} again", len(trials) + nth, len(trials) + len(passed))
        done[number] = tried(done[number], again=True)
    return done


def _frame_ms(engine: BundleEngine, turn: AbstractContextManager[object]) -> float:
    """Median milliseconds of a whole frame."""
    frame, spent = _frame(engine.bundle), list[float]()
    engine.infer(frame)
    for _ in range(ROUNDS):
        with turn:
            started = perf_counter()
            engine.infer(frame)
            spent.append(1e3 * (perf_counter() - started))
    return median(spent)


def _quickest(passed: list[Trial]) -> Trial:
    best = passed[0]
    for trial in passed[1:]:
        share = _GAIN if trial.told != best.told and best.told == "fp32" else 1.0
        if (trial.frame_ms or 0) < share * (best.frame_ms or 0):
            best = trial
    return best


def _gate_fault(bundle: Bundle, trial: Trial) -> str:
    """Why the gate's verdict does not hold for this runtime, empty where it does; a float bundle was proved when it was exported.

    One in FP16 was judged with FP16's roundings on a processor. How a GPU adds besides is asked of it here, by `_difference`.
    """
    gate = bundle.manifest.gate
    if bundle.manifest.precision == "fp32" or gate is None or (bundle.manifest.precision == HALF and trial.runtime in _OF_A_GPU):
        return ""
    name = {"onnx": "onnxruntime"}.get(trial.runtime, trial.runtime)
    if gate.covers(name, bundle.manifest.precision):
        return ""
    return f"its gate was passed on {gate.runtime.partition(' ')[0].lower()}, not on {name}"


def _difference(engine: BundleEngine, threads: int, known: dict[str, list[Answer]], floats: str) -> str:
    """How fewer bits answer otherwise than float32 here, empty where they do not. known: float32's answers, by folder.

    Float32 is that of the same files; for a bundle in FP16 of `floats`, the float bundle that it was made from, if that is tried too.
    """
    golden, stored = engine.bundle.golden(), engine.bundle.manifest.precision
    if golden is None:
        return "the bundle has no golden picture to compare on"
    computed = FLOAT16 if stored == HALF else engine.precision
    pictures, allowed = _turned(golden[0]), tolerance_of(engine.bundle.manifest, computed)
    folder = floats if stored == HALF and floats else str(engine.bundle.path)
    if folder not in known:
        name = "onnx" if stored in ("fp32", HALF) else "openvino"
        with factory.open_engine(folder, name, threads, ungated=True) as reference:
            known[folder] = [Answer.of(reference, picture) for picture in pictures]
    for picture, expected in zip(pictures, known[folder], strict=True):
        if fault := disagreement(engine, picture, expected, allowed.corner_px, allowed.probability):
            return f"it answers otherwise than float32: {fault}"
    return ""


def _turned(picture: Image) -> list[Image]:
    """A picture in its eight positions."""
    return [np.ascontiguousarray(np.rot90(side, turns)) for side in (picture, picture[:, ::-1]) for turns in range(4)]


def _frame(bundle: Bundle) -> Image:
    """A 1080p frame, laid with golden pictures; grey for a bundle without one."""
    golden = bundle.golden()
    if golden is None:
        return np.full((*_FRAME_HW, 3), 200, np.uint8)
    picture = golden[0]
    times = [-(-wanted // has) for wanted, has in zip(_FRAME_HW, picture.shape, strict=False)]
    return np.ascontiguousarray(np.tile(picture, (*times, 1))[: _FRAME_HW[0], : _FRAME_HW[1]])
