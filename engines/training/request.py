"""What a training was asked for: its settings, kept beside the checkpoints so that a resumed run needs none of them again."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from engines.errors import DataError
from engines.files import make_folder, write_whole

FILE = "train.json"
MAY_CHANGE = frozenset({"out", "resume", "initial", "patience", "judge", "judge_imgsz", "pictures", "device", "threads", "workers"})
"""Settings that a resumed run may be given anew; all others decide what the next step is."""


@dataclass(frozen=True)
class Request:
    """The words of `attridet train`, one field each; what they mean stands there."""

    data: tuple[str, ...]
    out: Path
    size: str = "n"
    imgsz: int = 320
    epochs: int = 30
    batch: int = 16
    hyper: str = "film"
    seed: int = 0
    initial: Path | None = None
    resume: bool = False
    device: str = "cpu"
    threads: int = 2
    judge: bool = True
    attribute_weight: float | None = None
    detach: bool = False
    autoanchor: bool = True
    phases: str | None = None
    cosine: bool | None = None
    patience: int = 100
    judge_imgsz: int | None = None
    pictures: bool = True
    amp: bool = True
    workers: int | None = None

    def epochs_by_phase(self) -> list[int]:
        """Epochs of each phase; DataError if --phases is no list of such."""
        if self.phases is None:
            return [self.epochs]
        parts = self.phases.split(",")
        if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
            raise DataError(f"--phases {self.phases}: name the epochs of each phase, as in --phases 100,200")
        return [int(part) for part in parts]


def parse_folder(text: str) -> tuple[Path, int]:
    """A folder and how often its pictures count, from "DIR" or "DIR:N"."""
    folder, colon, times = text.rpartition(":")
    if colon and times.isdigit() and int(times) > 0:
        return Path(folder), int(times)
    return Path(text), 1


def keep(request: Request) -> None:
    """Write the request into its folder; folders of pictures by their full path, so that it can be resumed from anywhere."""
    plain: dict[str, Any] = asdict(request)
    for name in ("out", "resume"):
        del plain[name]
    plain["data"] = [_absolute(text) for text in request.data]
    plain["initial"] = str(request.initial.absolute()) if request.initial else None
    make_folder(request.out)
    write_whole(request.out / FILE, (json.dumps(plain, indent=2) + "\n").encode())


def recalled(request: Request, asked: Collection[str]) -> Request:
    """The request that the run in `out` was begun with, but for what may change and was `asked` for anew; itself if none is kept there.

    Raises DataError naming the option that would make it another run, and the file if it cannot be read.
    """
    file = request.out / FILE
    if not file.exists():
        return request
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
        known = {f.name for f in fields(Request)}
        if not isinstance(plain, dict) or not plain.keys() <= known:
            raise ValueError("other settings than this version has")
        initial = Path(plain["initial"]) if plain["initial"] else None
        begun = replace(request, **{**plain, "data": tuple(plain["data"]), "initial": initial})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); put it aside and give every option again") from error
    changes = {}
    for name in asked:
        given, was = getattr(request, name), getattr(begun, name)
        if name == "data":
            given = tuple(_absolute(text) for text in given)
        if name in MAY_CHANGE:
            changes[name] = given
        elif given != was:
            option = "--" + name.replace("_", "-")
            raise DataError(f"{option}: {request.out} was begun with {was}, not {given}. Leave it out, or train in another --out")
    return replace(begun, **changes)


def _absolute(text: str) -> str:
    folder, times = parse_folder(text)
    return f"{folder.absolute()}:{times}"
