"""The runtime leaves nothing behind in the home of the person who runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_opening_an_engine_writes_nothing_into_the_home_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    kept = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")}
    script = "from engines.runtime.factory import open_engine\nwith open_engine('zoo:attridet-n') as engine: print(engine.info.label)"
    done = subprocess.run(
        [sys.executable, "-c", script], env={**kept, "HOME": str(home)}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "attridet-n" in done.stdout
    assert [str(p.relative_to(home)) for p in home.rglob("*")] == []
