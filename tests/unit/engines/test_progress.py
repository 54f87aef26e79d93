"""Progress without a terminal: a plain line now and then, neither silence nor a line for every step."""

from __future__ import annotations

import pytest

from engines.commands.terminal import Terminal
from engines.progress import ProgressLines


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines_of(seconds_a_step: float, steps: int, total: int | None) -> list[str]:
    clock = Clock()
    lines, said = ProgressLines(clock=clock), []
    for step in range(1, steps + 1):
        clock.now += seconds_a_step
        said.append(lines.due("reading", step, total))
    return [line for line in said if line is not None]


def test_a_line_at_each_tenth_of_minutes_of_work() -> None:
    said = lines_of(1.0, 100, 100)
    assert len(said) == 10 and said[0] == "reading: 10 of 100 (10 %), about 90 s left".replace("90 s", "2 min")
    assert said[-1] == "reading: 100 of 100 (100 %)"


def test_a_line_every_half_minute_of_hours_of_work() -> None:
    said = lines_of(10.0, 30, 1000)
    assert said == [f"reading: {n} of 1,000 ({n // 10} %), about {(1000 - n) / 360:.1f} h left" for n in range(3, 31, 3)]


def test_work_of_a_few_seconds_says_nothing_and_work_without_end_counts() -> None:
    assert lines_of(0.01, 100, 100) == []
    assert lines_of(16.0, 4, None) == ["reading: 2", "reading: 4"]


def test_without_a_terminal_lines_go_to_stderr_without_colour(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Terminal(ProgressLines(clock=clock)) as terminal:
        for task in ("reading", "scoring"):
            for step in range(1, 5):
                clock.now += 20.0
                terminal.progress(task, step, 4)
        terminal.message("done")
    printed = capsys.readouterr()
    assert printed.out == "done\n"
    each = ("2 of 4 (50 %), about 20 s left", "3 of 4 (75 %), about 13 s left", "4 of 4 (100 %)")
    assert printed.err.splitlines() == [f"{task}: {words}" for task in ("reading", "scoring") for words in each]
    assert "\x1b" not in printed.err
