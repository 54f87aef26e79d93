"""Work in a second thread: done when the block ends, its error raised there; in the same thread where there is no other."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import cv2
import pytest

from engines.second_thread import in_second_thread


def test_both_are_done_when_the_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getNumThreads", lambda: 2)
    here, there, met = threading.get_ident(), list[int](), threading.Barrier(2, timeout=10)

    def work() -> None:
        met.wait()  # passes only while the block runs
        there.append(threading.get_ident())

    for _ in range(3):
        with in_second_thread(work):
            met.wait()
    assert len(there) == 3
    assert here not in there
    assert len(set(there)) == 1  # never a thread for each


def test_with_one_thread_the_work_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getNumThreads", lambda: 1)
    done = list[str]()
    with in_second_thread(lambda: done.append(f"work in {threading.get_ident()}")):
        done.append("block")
    assert done == [f"work in {threading.get_ident()}", "block"]


def test_where_the_second_thread_is_busy_the_work_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getNumThreads", lambda: 2)
    done = list[str]()
    with in_second_thread(lambda: None), in_second_thread(lambda: done.append(f"work in {threading.get_ident()}")):
        done.append("block")
    assert done == [f"work in {threading.get_ident()}", "block"]


def test_a_forked_process_has_a_second_thread_of_its_own(tmp_path: Path) -> None:
    """In a process of its own: pytest's has threads, with which it should not fork."""
    lines = (
        "import os, cv2",
        "from engines.second_thread import in_second_thread",
        "cv2.getNumThreads = lambda: 2",
        "with in_second_thread(lambda: None): pass",
        "child = os.fork()",
        "with in_second_thread(lambda: None): pass",
        "if child == 0: os._exit(0)",
        "assert os.waitpid(child, 0)[1] == 0",
    )
    script = tmp_path / "forks.py"
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    subprocess.run([sys.executable, str(script)], check=True, timeout=60)


@pytest.mark.parametrize("threads", [1, 2])
def test_errors_are_raised(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getNumThreads", lambda: threads)

    def fail() -> None:
        raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"), in_second_thread(fail):
        pass
    with pytest.raises(KeyError, match="of the block"), in_second_thread(lambda: None):
        raise KeyError("of the block")
