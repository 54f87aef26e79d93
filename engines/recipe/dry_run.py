"""What a recipe would do, step by step: what each takes, how many pictures, about how long, and how much of the disk."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from engines.recipe.checks import Checks, Looked
from engines.recipe.pace import Pace, measured_pace

_MIB = 1 << 20


def dry_run(
    looked: Sequence[Looked], checks: Checks, wanted: Collection[str], done: Collection[str], processes: int, device: str, threads: int
) -> Iterator[str]:
    """Lines for a person. The minutes come from one training step of each network, made now on this machine."""
    pace = measured_pace([one.request for one in looked if one.request is not None], device, threads)
    minutes_in_all, bytes_in_all, known = 0.0, 0, True
    for number, one in enumerate(looked, 1):
        step = one.step
        asked = step.name in wanted or step.planned.do == "page"
        state = "done before" if step.name in done else "" if asked else "not asked for"
        takes = ", ".join(one.inputs)
        what = f"attridet {step.command}" if step.planned.run else f"{step.planned.do}, by the recipe itself"
        yield f"{number:2}. {step.name}: {what}{f' ({state})' if state else ''}"
        if takes:
            yield f"    takes: {takes}"
        pictures = ", ".join(f"{name} {count}" for name, count in one.pictures.items())
        if pictures:
            yield f"    pictures: {pictures}"
        minutes, size = cost(one, pace, processes)
        told = []
        if minutes is not None:
            told.append(f"about {minutes:.1f} min" if minutes >= 0.05 else "some seconds")
        if size:
            told.append(f"{size / _MIB:.0f} MiB")
        if told:
            yield f"    {', '.join(told)}"
        if not state:
            known &= minutes is not None
            minutes_in_all += minutes or 0
            bytes_in_all += size
    for folder, sides in checks.sides.items():
        told = [f"{side} {held.pictures} pictures, {held.cells} cells, {held.blasts} blasts" for side, held in sides.items()]
        yield f"{folder.name}: {'; '.join(told)}"
    if checks.division is not None:
        for side, patients in checks.division.patients.items():
            yield f"{side}: patients {', '.join(patients) or 'not named'}"
        for patient, count in checks.division.shared.items():
            yield f"left out: {count} pictures of patient {patient}, who is in a kept split of another subset"
    yield f"in all about {minutes_in_all:.0f} min{'' if known else ' and what is not told above'}, {bytes_in_all / _MIB:.0f} MiB"
    yield pace.words
    if (free := _free(checks)) < bytes_in_all:
        yield f"Mind: only {free / _MIB:.0f} MiB are free there"
    yield "Nothing was done. Every path, split, subset, option and measure of the plan was looked up."


def _free(checks: Checks) -> int:
    place = checks.places.out
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def cost(one: Looked, pace: Pace, processes: int = 1) -> tuple[float | None, int]:
    """Minutes, None where nothing tells, and bytes on the disk of one step."""
    asked: Any = one.request
    count, command = sum(one.pictures.values()), one.step.command
    if asked is None:
        return 0.0, 200_000
    if command.startswith("data "):
        return None, 0  # not measured; pictures are linked where the disk is the same
    if command in ("train", "adapt"):
        network = pace.network(asked)
        if network is None:
            return None, 0
        epochs = sum(int(n) for n in asked.phases.split(",")) if getattr(asked, "phases", None) else asked.epochs
        judged = 0 if command == "adapt" or not asked.judge else sum(one.judged.values())
        # An adaptation looks at the target, and learns from a mixture of both besides the source.
        looks = count if command == "adapt" else judged
        return epochs * (count * network.train_s + looks * network.look_s) / 60 / processes, 2 * network.checkpoint_bytes
    look_s, network = pace.look_s(asked), pace.network(None)
    if look_s is None or network is None:
        return None, 0
    size = network.bundle_bytes if command in ("export", "working-point", "quantize") else 0
    return _looks(command, asked, count) * look_s / 60, size


def _looks(command: str, asked: Any, pictures: int) -> int:
    """How many pictures a network looks at; of `quantize` at least, since blocks are tried until the gate passes."""
    if command == "export":
        return 60 + (pictures if asked.data else 0)  # 20 by torch, twice by the graphs; those on which the working point is chosen
    if command == "quantize":
        return 2 * int(asked.count) + 3 * pictures
    if command == "bench":
        return 5 * int(asked.count) * int(asked.rounds)
    return {"evaluate": pictures, "working-point": pictures, "gate": 2 * pictures}.get(command, 0)
