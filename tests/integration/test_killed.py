"""A power cut at any moment: nothing counted is lost, nothing is counted twice, and the slide goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.killed_line import killed

pytestmark = pytest.mark.integration


def test_a_line_that_is_killed_again_and_again_reads_its_slide_to_the_end(tmp_path: Path) -> None:
    """The short form of `python -m tests.support.killed_line --kills 100` (docs/architecture.md has its figures)."""
    result = killed(10, tmp_path)
    assert (result.kills, result.lost, result.doubled) == (10, 0, 0), result.words
    assert result.same_differential and result.cells > 20 and result.resumed >= 5, result.words
    assert (result.slides, result.summaries) == (1, 1), result.words
