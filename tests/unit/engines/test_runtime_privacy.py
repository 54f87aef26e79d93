"""A runtime leaves nothing behind in the home of the person who runs it, and calls nobody."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

OPEN = """
import sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen"):
        print("CALLED", event, arguments, file=sys.__stdout__, flush=True)

sys.addaudithook(watch)
from engines.runtime.factory import open_engine
with open_engine("zoo:attridet-n", sys.argv[1]) as engine:
    print(engine.info.label, engine.info.runtime)
"""


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_opening_an_engine_calls_nobody_and_writes_nothing_into_the_home_folder(runtime: str, tmp_path: Path) -> None:
    if runtime == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("needs the extra openvino")
    home = tmp_path / "home"
    home.mkdir()
    # In CI OpenVINO's package for telemetry keeps quiet by itself, and the test would show nothing.
    kept = {
        k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "CI", "TF_BUILD", "JENKINS_URL")
    }
    done = subprocess.run(
        [sys.executable, "-c", OPEN, runtime], env={**kept, "HOME": str(home)}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "attridet-n" in done.stdout and runtime in done.stdout
    assert "CALLED" not in done.stdout
    assert [str(p.relative_to(home)) for p in home.rglob("*")] == []
