"""How often cells are counted twice, or missed, when a hand moves the stage: the tables of docs/counting.md.

    nice python -m docs.experiments.count_by_hand --cache DIR

Rendered film, a perfect engine, hand-like paths (`device.camera.hand`) of 12 planned fields: each style with 20 seeds at 100x and 5 at
40x; then without any moving frame, with the lamp turned down from the middle on, and with dust on the sensor. One thread; an hour of a
core, of which the rendering, kept in DIR, is most. Nothing that is measured on rendered film is evidence of clinical performance.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
from rich.console import Console

from device.camera.hand import STYLES
from engines.detections import Image
from tests.support.hand_count import Tally, count, dimmed, dusted
from tests.support.hand_reading import HandReading

Change = Callable[[int, Image], Image]
FIELDS = 12
PAGE = Path("docs/counting.md")
BEGIN, END = "<!-- measured: written by docs/experiments/count_by_hand.py -->\n", "<!-- end of what was measured -->\n"
COLUMNS = "hand, objective, runs, frames, fields, seen, counted, doubles, missed, wrong places, charts, lost rests, worst place (% W)"
HEAD = f"| {COLUMNS.replace(', ', ' | ')} |\n"
RULE = "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for rendered frames (some GB)")
    parser.add_argument("--seeds", type=int, default=20, help="at 100x; a quarter of them at 40x")
    parser.add_argument("--out", type=Path, default=PAGE, help="page whose table is written anew")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    console = Console(soft_wrap=True)
    hands: list[str] = []
    for objective, seeds in ((100, given.seeds), (40, max(1, given.seeds // 4))):
        total: Tally | None = None
        for style in STYLES:
            tally = _runs(style, objective, range(1, seeds + 1), given.cache)
            total = tally if total is None else total + tally
            hands.append(_row(style, objective, seeds, tally))
            console.print(hands[-1], end="")
        assert total is not None
        hands.append(_row("**all**", objective, seeds * len(STYLES), total))
        console.print(hands[-1], end="")
    hard: list[str] = []
    few = range(1, max(1, given.seeds // 4) + 1)
    for name, change, skip in (
        ("no moving frames", None, True),
        ("lamp at 0.6 with gamma 1.3 from frame 120", dimmed(120), False),
        ("25 dust spots", dusted(), False),
        ("both", _both, False),
    ):
        for style in ("ordinary", "returns", "overlap"):
            tally = _runs(style, 100, few, given.cache, change, skip)
            hard.append(_row(f"{style}, {name}", 100, len(few), tally, tally.joinable if skip else None))
            console.print(hard[-1], end="")
    text = given.out.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    tables = f"{HEAD}{RULE}{''.join(hands)}\nThe same, made harder:\n\n{HEAD}{RULE}{''.join(hard)}"
    given.out.write_text(f"{before}{BEGIN}{tables}{END}{after}", encoding="utf-8")


def _both(number: int, image: Image) -> Image:
    return dusted()(number, dimmed(120)(number, image))


def _runs(style: str, objective: int, seeds: range, cache: Path, change: Change | None = None, skip_ways: bool = False) -> Tally:
    tallies = [count(HandReading(style, seed, objective, FIELDS, cache), change, skip_ways)[0] for seed in seeds]
    total = tallies[0]
    for tally in tallies[1:]:
        total = total + tally
    return total


def _row(name: str, objective: int, runs: int, tally: Tally, joinable: int | None = None) -> str:
    unique = max(1, tally.counted - tally.doubles)
    doubles = f"{tally.doubles} ({100 * tally.doubles / unique:.2f} %)" + (
        "" if joinable is None else f", {joinable} on joinable ground"
    )
    missed = f"{tally.missed} ({100 * tally.missed / max(1, tally.seen):.2f} %)"
    worst = f"{100 * tally.worst_px / 640:.1f}"
    cells = (tally.frames, tally.fields, tally.seen, tally.counted, doubles, missed, tally.wrong, tally.charts, tally.lost_rests, worst)
    return f"| {name} | {objective}x | {runs} | {' | '.join(map(str, cells))} |\n"


if __name__ == "__main__":
    main()
