"""The end of the process where a thread is left behind in a library that is written in C++."""

from __future__ import annotations

import subprocess
import sys

import pytest

LEFT_BEHIND = """
import sys, threading, time
import cv2, numpy as np
from device.service.signals import leave

begun = threading.Event()
def work():
    picture = np.zeros((3000, 3000, 3), np.uint8)
    while True:
        begun.set()
        cv2.GaussianBlur(picture, (31, 31), 9)

threading.Thread(target=work, name="{name}", daemon=True).start()
begun.wait()
print("all is written")
leave({code})
"""


def ended(name: str, code: int) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-c", LEFT_BEHIND.format(name=name, code=code)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["capture", "engine"])
@pytest.mark.parametrize("code", [0, 1])
def test_a_thread_that_a_library_does_not_give_back_changes_no_exit_code(name: str, code: int) -> None:
    assert ended(name, code) == (code, "all is written\n", "")


def test_without_such_a_thread_the_interpreter_ends_as_always() -> None:
    code = "import atexit; from device.service.signals import leave; atexit.register(print, 'taken down'); leave(2)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "taken down\n")
