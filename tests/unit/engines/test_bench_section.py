"""Sections of a page of benchmarks: each is replaced alone, and what cannot be a page or a section is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.bench.machine import Machine, peak_mib
from engines.bench.section import put_section, section_head
from engines.errors import DataError


def test_only_its_own_section_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("# Mine\n\nBefore.\n\n<!-- bench int8: begin -->\nkeep\n<!-- bench int8: end -->\n\nAfter.\n", encoding="utf-8")
    put_section(page, "whole-path", "## One\n")
    put_section(page, "pi5", "## Of the board")
    kept = page.read_text(encoding="utf-8")
    put_section(page, "whole-path", "## Two\n\nrows")
    now = page.read_text(encoding="utf-8")
    assert now == kept.replace("## One", "## Two\n\nrows")
    assert now.startswith(
        "# Mine\n\nBefore.\n\n<!-- bench int8: begin -->\nkeep\n<!-- bench int8: end -->\n\nAfter.\n\n<!-- bench whole-path: begin -->"
    )
    assert now.endswith("<!-- bench pi5: begin -->\n\n## Of the board\n\n<!-- bench pi5: end -->\n")
    assert [path.name for path in tmp_path.iterdir()] == ["benchmarks.md"]


def test_a_new_page_gets_its_head(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "benchmarks.md"
    put_section(page, "whole-path", None)
    assert not page.exists()
    put_section(page, "whole-path", "## One")
    assert page.read_text(encoding="utf-8").startswith("# Benchmarks\n\nMeasured, never estimated.")


def test_what_cannot_be_a_page_or_section_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a section is named in small letters"):
        put_section(tmp_path / "b.md", "a --> b", "x")
    with pytest.raises(DataError, match="cannot be read"):
        put_section(tmp_path, "a", "x")
    (tmp_path / "b.md").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        put_section(tmp_path / "b.md", "a", "x")


def test_the_machine_and_its_memory_are_known() -> None:
    here = Machine.this()
    assert here.processor and here.cores >= 1
    assert peak_mib() > 10


def test_a_busy_machine_is_said_and_a_power_mode_is() -> None:
    quiet = Machine("Quick Processor 7", 2, 23.6, "Linux x86_64", "3.11.7", "5.0.0", "")
    assert section_head("Title", "command", quiet, 0.3)[-1] == (
        "- Machine: Quick Processor 7, 2 cores, 24 GiB, Linux x86_64; load average 0.3 before the run."
    )
    board = Machine("Board", 1, None, "Linux aarch64", "3.10.1", "5.0.0", "MAXN")
    told = section_head("Title", "command", board, 0.9)[-1]
    assert told.startswith(
        "- Machine: Board, 1 core, Linux aarch64, power mode MAXN; load average 0.9 before the run: **the machine was busy"
    )
