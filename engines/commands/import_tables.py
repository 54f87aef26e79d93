"""What `attridet import-weights` prints: an account of every entry of somebody else's weights."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from engines.commands.terminal import table_of
from engines.taxonomy import Taxonomy

if TYPE_CHECKING:
    from engines.network.foreign import Entry, Outcome, Transfer

_LICENCE = "The weights stay under their own licence ({own}): look at it before you pass them on."
_MOST_NOTES = 3
_OUTCOMES: tuple[Outcome, ...] = ("taken", "part", "start")


def table(transfer: Transfer, name: str) -> Table:
    """One row for each layer of ours."""
    made = table_of(escape(f"{name}: {transfer.layout}, size {transfer.size}"), "layer", _OUTCOMES)
    made.add_column("what was not taken, and why")
    for label, entries in _rows(transfer):
        counts = [sum(e.outcome == outcome for e in entries) for outcome in _OUTCOMES]
        notes = list(dict.fromkeys(_note(e) for e in entries if e.outcome != "taken"))
        shown = [*notes[:_MOST_NOTES], f"and {len(notes) - _MOST_NOTES} more"] if len(notes) > _MOST_NOTES else notes
        made.add_row(label, *(str(c) if c else "" for c in counts), escape("; ".join(shown)))
    made.add_section()
    made.add_row("all", *(str(transfer.count(outcome)) for outcome in _OUTCOMES), "")
    return made


def _rows(transfer: Transfer) -> Iterator[tuple[str, list[Entry]]]:
    """Entries by layer; layers of the backbone and of its head that were taken whole come as one row."""

    def layer(entry: Entry) -> str:
        first, second = entry.key.split(".")[:2]
        return f"{first}.{second}" if first == "model" else first

    layers = [(label, list(group)) for label, group in groupby(transfer.entries, layer)]
    for whole, run in groupby(layers, lambda one: one[0].startswith("model.") and all(e.outcome == "taken" for e in one[1])):
        if not whole:
            yield from run
            continue
        labels, entries = zip(*run, strict=True)
        name = labels[0] if len(labels) == 1 else f"{labels[0]} to {labels[-1].rpartition('.')[2]}"
        yield name, [e for of_layer in entries for e in of_layer]


def _note(entry: Entry) -> str:
    if entry.note.startswith(("box and", "rows of")):
        return entry.note
    layer = ".".join(entry.key.split(".")[2:]) if entry.key.startswith("model.") else entry.key.partition(".")[2]
    return entry.note if entry.note.startswith("no ") else f"{layer} {entry.note}"


def remarks(transfer: Transfer, taxonomy: Taxonomy) -> Iterator[str]:
    """What the table does not say, in rich's markup. taxonomy: the one that was asked for, with all attributes."""
    where = f"its {transfer.where!r}" if transfer.where else "the file itself"
    if transfer.anchors_px:
        yield from _of_yolo(transfer, taxonomy, where)
    else:
        yield f"Read: {escape(where)}. Every type of ours starts at random."
        yield "The backbone's normalisations, its first convolution and layer1 are frozen; the rest learns."
    if transfer.left_out:
        shown = ", ".join(item.key for item in transfer.left_out[:_MOST_NOTES])
        more = f" and {len(transfer.left_out) - _MOST_NOTES} more (--json lists them)" if len(transfer.left_out) > _MOST_NOTES else ""
        yield f"Theirs without a place in ours: {escape(shown)}{more}."
    for warning in transfer.warnings:
        yield f"[bold yellow]Note:[/] {escape(warning)}"
    if transfer.classes_at_start or transfer.attributes_at_start:
        yield "What starts at random tells nothing until it has been trained: attridet train --initial."
    yield licence_of(transfer)


def licence_of(transfer: Transfer) -> str:
    """Whose the weights are, for people and for the file."""
    return _LICENCE.format(
        own="YOLOv5's is AGPL-3.0" if transfer.anchors_px else "torchvision is BSD-3-Clause, its weights know ImageNet or COCO"
    )


def _of_yolo(transfer: Transfer, taxonomy: Taxonomy, where: str) -> Iterator[str]:
    classes = "another kind of detection layer" if transfer.classes is None else f"{transfer.classes} classes"
    yield f"Read: {escape(where)}, {classes}."
    if transfer.classes_taken and transfer.classes_at_start:
        yield f"Classes taken: {', '.join(transfer.classes_taken)}. At random: {', '.join(transfer.classes_at_start)}."
    else:
        yield f"Classes: {'all of ours taken' if transfer.classes_taken else 'every one of ours starts at random'}."
    names = {a.key: a.name for a in taxonomy.attributes}
    taken, start = ([names.pop(key) for key in keys] for keys in (transfer.attributes_taken, transfer.attributes_at_start))
    absent = f" Not covered, so the network has no {', '.join(names.values())}." if names else ""
    yield f"Attributes taken: {', '.join(taken) or 'none'}. Not covered, at random: {', '.join(start) or 'none'}.{absent}"
    levels = (" ".join(f"{w:g}x{h:g}" for w, h in level) for level in transfer.anchors_px)
    whose = "its own" if transfer.anchors_taken else "COCO's"
    yield f"Anchors, px ({whose}): {' | '.join(levels)}."
