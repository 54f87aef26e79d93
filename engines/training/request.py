"""What a training is asked for, and how a run keeps its settings beside its checkpoints, so that a resumed run needs none of them."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_origin

from engines.errors import DataError
from engines.families import DEFAULT, FAMILIES
from engines.files import make_folder, write_result
from engines.options import PIXEL_ASPECT, TAXONOMY, Option, Request, option_name, options_of

LEARN, NETWORK, COURSE, JUDGING, MACHINE = "What it learns from", "Network and loss", "Course", "Judging", "Machine"
CHECKPOINT = "last.pt"
_TIMES = re.compile(r"\d+(\.\d+)?|\.\d+")
_BUNDLES = "a bundle with weights (its folder, or zoo:attridet-n)"
SIZES = ("n", "s", "m", "l", "x")
BOTTLENECKS = ("joint", "sequential", "independent")
HYPERS = ("low", "med", "high", "film", "finetune", "adapt")


@dataclass(frozen=True)
class Phase:
    """One phase of `of`; number counts from 1. initial: the weights it starts from, None for random ones."""

    number: int
    of: int
    epochs: int
    folder: Path
    initial: Path | None

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    @property
    def begun(self) -> bool:
        """Whether at least one of its epochs is done."""
        return self.checkpoint.exists()


@dataclass(frozen=True, kw_only=True)
class RunRequest(Request):
    """A run with a folder of its own, which keeps its settings in FILE. MAY_CHANGE: what may be given anew when it is resumed."""

    FILE: ClassVar[str]
    MAY_CHANGE: ClassVar[frozenset[str]]
    out: Path
    resume: bool = False
    device: str = "cpu"

    def keep(self) -> None:
        """Write the settings into the run's folder; paths in full, so that it can be resumed from anywhere."""
        plain: dict[str, Any] = {}
        for field, _, kind in options_of(type(self)):
            if field.name not in ("out", "resume"):
                plain[field.name] = _full(field.name, getattr(self, field.name), kind)
        make_folder(self.out)
        write_result(self.out / self.FILE, (json.dumps(plain, indent=2) + "\n").encode())

    def check_folder(self, begun: bool) -> None:
        """DataError unless a run that has `begun` is resumed, and a new one is not."""
        if self.resume and not begun and not (self.out / self.FILE).exists():
            raise DataError(f"{self.out}: nothing to resume; leave out --resume")
        if begun and not self.resume:
            raise DataError(f"{self.out}: holds a run already; go on with --resume, or name another --out")

    def check_device(self) -> None:
        """DataError unless it is cpu or cuda."""
        if self.device != "cpu" and self.device.partition(":")[0] != "cuda":
            raise DataError(f"--device {self.device}: there are cpu and cuda")


@dataclass(frozen=True, kw_only=True)
class TrainRequest(RunRequest):
    """The options of `train`; `attridet train --help` shows them. data: folders in the published layout, each DIR or DIR:N."""

    FILE: ClassVar[str] = "train.json"
    MAY_CHANGE: ClassVar[frozenset[str]] = frozenset(
        {"out", "resume", "initial", "patience", "judge", "judge_imgsz", "watch", "pictures", "device", "threads", "workers"}
    )

    out: Annotated[Path, Option("Folder of the run: last.pt, best.pt, results.csv, results.png, train.json.", metavar="DIR")]
    resume: Annotated[bool, Option("Go on with the run in --out where it stopped, with the settings that it has.")] = False
    data: Annotated[
        tuple[str, ...],
        Option(
            "Folder in the published layout; DIR:N shows its pictures N times an epoch, DIR:0.25 another quarter of them each epoch; "
            "repeat for several. Required.",
            LEARN,
            "DIR",
        ),
    ] = ()
    taxonomy: Annotated[Path | None, TAXONOMY] = None
    pixel_aspect: Annotated[tuple[str, ...], PIXEL_ASPECT] = ()
    imgsz: Annotated[int, Option("Side of a training picture, rounded up to a multiple of 32.", LEARN, "PX", low=64)] = 320
    hyper: Annotated[
        str,
        Option(
            "Hyper-parameters: low, med, high (as published: SGD), film (AdamW, for short runs on a CPU from random weights) or "
            "finetune (from trained weights: small steps, short warm-up).",
            LEARN,
            "SET",
            choices=HYPERS,
        ),
    ] = "film"
    balance_patients: Annotated[
        bool | None,
        Option(
            "n pictures of one patient in a folder count as sqrt(n) together; without it as the set has it (finetune: yes).",
            LEARN,
            off="--no-balance-patients",
        ),
    ] = None
    stain_shake: Annotated[
        float | None,
        Option(
            "How strongly pictures and, by itself, each labelled cell are brought to other stains, so that colour cannot tell types; "
            "no set does so by itself. .25 is strong, for long runs.",
            LEARN,
            "X",
            low=0,
            high=1,
        ),
    ] = None
    pseudo: Annotated[
        bool,
        Option(
            "Where only a part of a picture was labelled (labelled_region), let the averaged network label the rest from a quarter of "
            "the run on; without it the rest is ignored.",
            LEARN,
        ),
    ] = False
    seed: Annotated[int, Option("Of weights, pictures and noise.", LEARN, "N", low=0)] = 0
    family: Annotated[
        str, Option("Of detectors: " + ", ".join(FAMILIES) + " (docs/families.md).", NETWORK, "NAME", choices=tuple(FAMILIES))
    ] = DEFAULT
    size: Annotated[
        str | None,
        Option(
            "n, s, m, l or x; other families: r18 or r50, cbm: binary or all (with Cell Size); the first without it.",
            NETWORK,
            "NAME",
        ),
    ] = None
    initial: Annotated[
        Path | None,
        Option("Weights to start from: .pt, .safetensors, zoo:NAME or a bundle that has weights; random without it.", NETWORK, "FILE"),
    ] = None
    bottleneck: Annotated[
        str,
        Option(
            "How cbm learns types: joint, sequential (from the attributes told, without teaching them) or independent (from those "
            "labelled).",
            NETWORK,
            "NAME",
            choices=BOTTLENECKS,
        ),
    ] = "joint"
    autoanchor: Annotated[
        bool,
        Option(
            "--no-autoanchor: keep the anchors even if fewer than 98 % of the cells are within reach of one.",
            NETWORK,
            off="--no-autoanchor",
        ),
    ] = True
    attribute_weight: Annotated[
        float | None,
        Option(
            "lambda of L = L_det + lambda x L_attr, in place of the set's (film .2, the published ones 1); 0 trains YOLOv5 alone.",
            NETWORK,
            "X",
            low=0,
        ),
    ] = None
    class_weights: Annotated[
        bool | None,
        Option(
            "Weigh cells in the class loss by 1 / sqrt(cells of their type), artefacts least; without it as the set has it (finetune: "
            "yes).",
            NETWORK,
            off="--no-class-weights",
        ),
    ] = None
    detach: Annotated[bool, Option("Keep the attribute loss from reaching the backbone.", NETWORK)] = False
    epochs: Annotated[int, Option("Times through all pictures; more than before lengthen a finished run.", COURSE, "N", low=1)] = 30
    phases: Annotated[
        str | None,
        Option(
            "Instead of --epochs: E1 of them, then E2 from the last weights with fresh optimiser and schedule. The first phase is kept "
            "in phase-1 of --out. Published: 100,200.",
            COURSE,
            "E1,E2",
        ),
    ] = None
    learning_rate: Annotated[float | None, Option("In place of the set's (film 2e-3, finetune 3e-4).", COURSE, "X", low=1e-9)] = None
    backbone_rate: Annotated[
        float | None,
        Option(
            "Learning rate of the backbone as a share of the others'; without it 1, or as published .1 for dino with --initial.",
            COURSE,
            "X",
            low=0,
            high=1,
        ),
    ] = None
    clip_norm: Annotated[
        float | None,
        Option("Longest gradient of a step; without it 10, or as published 1 for sparse_rcnn and .1 for dino.", COURSE, "X", low=1e-6),
    ] = None
    batch: Annotated[int, Option("Pictures in a step, over all processes together.", COURSE, "N", low=1)] = 16
    cosine: Annotated[
        bool | None, Option("Decay of the learning rate; without it cosine for film and finetune, else linear.", COURSE, off="--linear")
    ] = None
    patience: Annotated[int, Option("Stop after so many epochs without a better fitness on val; 0: never.", COURSE, "N", low=0)] = 100
    judge: Annotated[bool, Option("Score val of each folder after each epoch; done unless told not to.", JUDGING, off="--no-judge")] = (
        True
    )
    val: Annotated[
        float,
        Option(
            "Share of train that judges, by patient, where a folder has no split val (as published); kept in val.json of --out.",
            JUDGING,
            "SHARE",
            low=0.01,
            high=0.5,
        ),
    ] = 0.15
    judge_split: Annotated[str, Option("The split that judges; test is what a paper's figures are measured on.", JUDGING, "NAME")] = (
        "val"
    )
    judge_imgsz: Annotated[
        int | None,
        Option(
            "Longer side at which val is judged; without it --imgsz, or twice that for sets that cut windows (film, finetune).",
            JUDGING,
            "PX",
            low=64,
        ),
    ] = None
    watch: Annotated[
        tuple[str, ...],
        Option(
            "Folder whose val is scored before and after a training from weights, to see what it forgets; not learnt from. Repeat.",
            JUDGING,
            "DIR",
        ),
    ] = ()
    pictures: Annotated[
        bool,
        Option(
            "Draw curves while it trains and a page of each val at its end; TensorBoard's events if it is installed; done unless told "
            "not to.",
            JUDGING,
            off="--no-pictures",
        ),
    ] = True
    device: Annotated[str, Option("cpu or cuda.", MACHINE, "NAME")] = "cpu"
    amp: Annotated[
        bool, Option("--no-amp: convolutions in 32 bits, not bfloat16 (CPU) or scaled float16 (GPU).", MACHINE, off="--no-amp")
    ] = True
    threads: Annotated[int, Option("Processor threads of the network.", MACHINE, "N", low=1)] = 2
    workers: Annotated[int | None, Option("Processes that prepare pictures; without it 1, on a GPU up to 8.", MACHINE, "N", low=0)] = (
        None
    )

    def planned(self, asked: Collection[str]) -> Sequence[Phase]:
        """The phases to train: from the latest that has begun, which may be complete, to the last; all of them if none has begun.

        Each begins with the last weights of the one before, head included; optimiser and schedule are new. `out` holds the last phase,
        those before it lie in `out`/phase-1 ... asked: options that were given. Raises DataError for what needs no picture to be seen
        as wrong.
        """
        if not self.data:
            raise DataError("--data: name a folder to learn from" + (f"; {self.out} holds no run to resume" if self.resume else ""))
        from engines.bundle import weights_of  # loads numpy, which --help does not need

        self.check_device()
        if {"epochs", "phases"} <= set(asked):
            raise DataError("--epochs and --phases: give one of them; --phases E1,E2 names the epochs of both phases")
        planned = phases_of(self.epochs, self.phases, self.out, self.initial)
        begun = any(phase.begun for phase in planned) or any(self.out.glob(f"phase-*/{CHECKPOINT}"))
        if self.initial is not None and not begun and not weights_of(self.initial).is_file():
            raise DataError(f"--initial {self.initial}: no such file; it takes a .pt or .safetensors of a training run, or {_BUNDLES}")
        if self.watch and self.initial is None:
            raise DataError("--watch: a run from random weights has nothing to forget; name --initial, or leave it out")
        self.check_folder(begun)
        return planned[max((n for n, phase in enumerate(planned) if phase.begun), default=0) :]


def phases_of(epochs: int, phases: str | None, out: Path, initial: Path | None) -> list[Phase]:
    """All phases of a run: each begins with the last weights of the one before; `out` holds the last. DataError for other words."""
    parts = [str(epochs)] if phases is None else phases.split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise DataError(f"--phases {phases}: name the epochs of each phase, as in --phases 100,200")
    planned: list[Phase] = []
    for number, count in enumerate(map(int, parts), 1):
        folder = out if number == len(parts) else out / f"phase-{number}"
        planned.append(Phase(number, len(parts), count, folder, planned[-1].checkpoint if planned else initial))
    return planned


def workers_on(device: str, asked: int | None) -> int:
    """Processes that prepare pictures: as asked for, else 1, on a GPU up to 8."""
    if asked is not None:
        return asked
    return 1 if device == "cpu" else min(8, max(1, (os.cpu_count() or 1) - 1))


_Run = TypeVar("_Run", bound=RunRequest)


def command_of(request: RunRequest, name: str) -> str:
    """The command line that asks for this, as it would be typed: options that were given, in order."""
    words = ["attridet", name]
    for field, option, _ in options_of(type(request)):
        value = getattr(request, field.name)
        if field.name not in request.given or value is None:
            continue
        if isinstance(value, bool):
            words += [option_name(field.name, option)] if value else [option.off] if option.off else []
        else:
            for one in value if isinstance(value, tuple) else (value,):
                words += [option_name(field.name, option), f"{one:g}" if isinstance(one, float) else str(one)]
    return shlex.join(words)


def parse_folder(text: str) -> tuple[Path, float]:
    """A folder and how often an epoch shows its pictures, from "DIR", "DIR:N" or a share of them, "DIR:0.25"."""
    folder, colon, times = text.rpartition(":")
    if colon and _TIMES.fullmatch(times) and float(times) > 0:
        return Path(folder), float(times)
    return Path(text), 1.0


def recalled(request: _Run) -> _Run:
    """The request that the run in `out` was begun with, with what may change and was given anew; itself unless a run is resumed.

    A finished run of one phase may be given more epochs. Raises DataError naming the option that would make it another run, and the
    file if it cannot be read.
    """
    file = request.out / request.FILE
    if not request.resume or not file.exists():
        return request
    kinds = {field.name: (option, kind) for field, option, kind in options_of(type(request))}
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(plain, dict) or not plain.keys() <= kinds.keys():
            raise ValueError("other settings than this version has")
        begun = replace(request, **{name: _typed(value, kinds[name][1]) for name, value in plain.items()})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); put it aside and give every option again") from error
    changes = {}
    for name in request.given:
        option, kind = kinds[name]
        given, was = getattr(request, name), getattr(begun, name)
        if name in request.MAY_CHANGE or (name == "epochs" and given > was and _done(begun)):
            changes[name] = given
        elif _full(name, given, kind) != _full(name, was, kind):
            raise DataError(
                f"{option_name(name, option)}: {request.out} was begun with {was}, not {given}. Leave it out, or train in another --out"
            )
    return replace(begun, **changes)


def _done(request: RunRequest) -> bool:
    """Whether a run of one phase has made all its epochs, so that it may be lengthened."""
    from engines.training.record import read

    asked = vars(request)
    rows = read(request.out) if asked.get("phases") is None else []
    return bool(rows) and rows[-1]["epoch"] >= asked["epochs"]


def _full(name: str, value: Any, kind: Any) -> Any:
    """A setting as JSON keeps it; folders and files by their full path."""
    if isinstance(value, Path):
        return str(value) if str(value).startswith("zoo:") else str(value.absolute())
    if isinstance(value, tuple) and name == "pixel_aspect":
        return [f"{Path(folder).absolute()}={x}" if of else x for folder, of, x in (text.rpartition("=") for text in value)]
    if isinstance(value, tuple) and name == "watch":
        return [str(Path(folder).absolute()) for folder in value]
    if isinstance(value, tuple) and name in ("data", "source", "target"):
        return [f"{folder.absolute()}:{times:g}" for folder, times in map(parse_folder, value)]
    return list(value) if get_origin(kind) is tuple else value


def _typed(value: Any, kind: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return Path(value) if isinstance(value, str) and "Path" in str(kind) else value
