"""docs/api.md is one program that runs, and its table names what there is; importing the packages loads nothing heavy."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/api.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([\w.]+)` \| (.+?) \| (.+?) \| (.+) \|$", PAGE, re.M)


def test_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    assert len(blocks) >= 6
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    try:
        exec(compile("\n".join(blocks), "docs/api.md", "exec"), {"__name__": "api"})
    finally:
        torch.set_num_threads(threads)
    said = capsys.readouterr().out
    assert re.search(r"^\d+ cells, 0 faults$", said, re.M)
    assert re.search(r"^epoch 1/1  box [\d.]+", said, re.M) and "written: run: last.pt, best.pt" in said
    assert "the target" in said or (tmp_path / "adapted/last.pt").is_file()
    assert said.rstrip().splitlines()[-2:] == [
        "--imgsz 8: must be at least 64",
        "run: holds a run already; go on with --resume, or name another --out",
    ]


@pytest.mark.parametrize(("package", "names"), [(row[0], " ".join(row[1:])) for row in ROWS], ids=[row[0] for row in ROWS])
def test_what_the_table_names_is_there(package: str, names: str) -> None:
    module = import_module(package)
    for name in re.findall(r"`(\w+)`", names):
        assert getattr(module, name) is not None
    assert set(getattr(module, "__all__", ())) >= set(re.findall(r"`(\w+)`", names)) or package == "engines.runtime.factory"


def test_importing_the_packages_loads_nothing_heavy() -> None:
    packages = [row[0] for row in ROWS if row[0] not in ("engines.film", "engines.runtime.factory")]
    heavy = ("torch", "cv2", "numpy", "onnx")
    code = f"import sys\nfor name in {packages}: __import__(name)\nprint([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    import engines.training

    with pytest.raises(AttributeError, match=r"'engines\.training' has no attribute 'evaluate'"):
        engines.training.evaluate  # noqa: B018
