"""What a run leaves for people to look at, written after each epoch: results.csv, its curves as results.png, TensorBoard's events."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.files import write_result

Row = Mapping[str, float]
_DRAWING_SHARE = 0.05
"""Drawing may cost this share of the time: where epochs are short, not each of them is drawn."""


class Record:
    """Writes the history of a run into `folder`; `pictures` switches the curves and TensorBoard on.

    TensorBoard's events (folder `tensorboard`) are written where it is installed; nothing is said where it is not.
    """

    def __init__(self, folder: Path, pictures: bool) -> None:
        self.folder, self.pictures = folder, pictures
        self._drawn_at, self._drawing_s = float("-inf"), 0.0
        self._board: Any = None

    def write(self, history: Sequence[Row], last: bool) -> None:
        """Write everything anew after the epoch of the last row; `last`: no other will follow, so draw in any case."""
        names = list(dict.fromkeys(name for row in history for name in row))
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, names)
        table.writeheader()
        table.writerows({name: round(value, 6) for name, value in row.items()} for row in history)
        write_result(self.folder / "results.csv", text.getvalue().encode())
        if not self.pictures:
            return
        self._to_board(history)
        if last or time.monotonic() - self._drawn_at > self._drawing_s / _DRAWING_SHARE:
            began = time.monotonic()
            draw(history, self.folder / "results.png")
            self._drawn_at = time.monotonic()
            self._drawing_s = self._drawn_at - began

    def _to_board(self, history: Sequence[Row]) -> None:
        if self._board is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                self._board = False
            else:
                # What an interrupted epoch or an earlier try left behind from here on is hidden.
                self._board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=int(history[-1]["epoch"]))
        if self._board:
            for name, value in history[-1].items():
                if name != "epoch":
                    self._board.add_scalar(f"{panel_of(name)}/{name}", value, int(history[-1]["epoch"]))
            self._board.flush()

    def close(self) -> None:
        if self._board:
            self._board.close()
        self._board = None


def read(folder: Path) -> list[dict[str, float]]:
    """The rows of a folder's results.csv; none where there is no such file."""
    file = folder / "results.csv"
    if not file.is_file():
        return []
    with file.open(newline="") as rows:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(rows)]


_SCORES = {"_map50": "AP at IoU 0.5", "_map": "AP at IoU 0.5 to 0.95", "_attr_f1": "F1 of the attributes"}
COUNTS = ("pseudo_labels", "target_steps", "target_pictures")
"""Of an adaptation's epoch: boxes of the target taken for labels, batches in which the target taught, pictures that gave labels."""
_RUN = ("epoch", "fitness", "seconds", *COUNTS)
LOSSES, ATTRIBUTE_LOSS = "Losses", "Loss of the attributes"


def in_words(row: Row) -> str:
    """Losses and counts of a row."""
    columns = {name: value for name, value in row.items() if name in COUNTS or panel_of(name) in (LOSSES, ATTRIBUTE_LOSS)}
    return "  ".join(f"{n} {v:.0f}" if n in COUNTS else f"{n} {v:.4f}" for n, v in columns.items())


def panel_of(column: str) -> str:
    """Which panel a column of results.csv is drawn in: one for each score, two for losses; "run" is what nobody draws."""
    for ending, title in _SCORES.items():
        if column.endswith(ending):
            return title
    if column == "attr":  # ten times the others: in one panel with them it would flatten them
        return ATTRIBUTE_LOSS
    return "run" if column in _RUN else LOSSES


def draw(history: Sequence[Row], path: Path) -> None:
    """The run's curves over its epochs as a PNG, without a screen."""
    from engines.evaluation.plots import training_curves
    from engines.plot_style import png

    panels: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for column in dict.fromkeys(name for row in history for name in row):
        title = panel_of(column)
        rows = [row for row in history if math.isfinite(row.get(column, math.nan))]
        if title != "run" and rows:
            name = next((column.removesuffix(ending) for ending in _SCORES if column.endswith(ending)), column)
            panels.setdefault(title, {})[name] = ([row["epoch"] for row in rows], [row[column] for row in rows])
    write_result(path, png(training_curves(panels, f"{path.parent.name}, {len(history)} epochs")))
