"""A recipe that is killed with SIGKILL after the first line of each step goes on where it was, and makes the same engine folder."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines.bundle import Bundle
from engines.runtime.factory import open_engine
from tests.support.miniature import Miniature

PLAN: dict[str, Any] = {
    "title": "In the smallest",
    "subsets": {"source": "H_100X_C2", "target": "L_100X_C2"},
    "steps": [
        {
            "name": "split",
            "run": "data split {download} --out {out}/data --subset {source.name} --subset {target.name} --leave-out-shared",
        },
        {
            "name": "train",
            "run": "train --data {source} --imgsz 64 --epochs 2 --batch 8 --no-judge --no-pictures --workers 0 --threads 1 --out {out}",
        },
        {"name": "card", "do": "card", "of": {"name": "smallest", "licence": "none", "data_licence": "none", "runs": ["train"]}},
        {
            "name": "export",
            "run": "export {train}/last.pt {out}/engine --images {target}/Images/val --card {card}/card.yaml --input 64",
        },
        {"name": "page", "do": "page"},
    ],
    "page": {
        "tables": [
            {"title": "Table", "columns": {"mAP50": "detection.yolov5.map50"}, "rows": [{"name": "CBM", "paper": {"mAP50": 27.6}}]}
        ]
    },
}
STEPS = [step["name"] for step in PLAN["steps"]]


def command(plan: Path, download: Path, out: Path) -> list[str]:
    words = ["recipe", str(plan), "--data", str(download), "--out", str(out), "--threads", "1"]
    return [sys.executable, "-m", "engines", *words]


def begun(process: subprocess.Popen[str], step: str) -> list[str]:
    """Lines up to the first of a step; all that there are where it does not begin."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if re.match(rf"\[\d+/\d+\] {step}: (attridet|card|page)", line):
            break
    return lines


@pytest.mark.integration
@pytest.mark.timeout(900)  # half a minute of processor time, which a busy machine stretches
def test_killed_at_every_step_it_does_none_twice_and_makes_the_same_engine(tmp_path: Path, miniature: Miniature) -> None:
    plan = tmp_path / "smallest.yaml"
    plan.write_text(yaml.safe_dump(PLAN, sort_keys=False), encoding="utf-8")
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    whole = subprocess.run(
        command(plan, miniature.root, tmp_path / "whole"), capture_output=True, text=True, env=environment, timeout=280, check=False
    )
    assert whole.returncode == 0, whole.stdout + whole.stderr

    killed = tmp_path / "killed"
    ended: dict[str, str] = {}
    for step in STEPS:  # what is killed at its first line is done by the next start, which is killed at the next step
        with subprocess.Popen(command(plan, miniature.root, killed), stdout=subprocess.PIPE, text=True, env=environment) as process:
            lines = begun(process, step)
            process.send_signal(signal.SIGKILL)
        assert re.search(rf"\] {step}: ", lines[-1]), lines
        records = {file.stem: file.read_text() for file in (killed / "steps").glob("*.json")}
        assert records.items() >= ended.items(), "a step that was done is not done again"
        assert step not in records
        ended = records
    last = subprocess.run(
        command(plan, miniature.root, killed), capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert last.returncode == 0, last.stdout + last.stderr
    assert last.stdout.count("done before") == len(STEPS) - 1

    one, other = (Bundle.open(folder / "export/engine") for folder in (tmp_path / "whole", killed))
    assert one.digest == other.digest
    assert f"digest {one.digest}" in whole.stdout and f"digest {one.digest}" in last.stdout
    training = one.manifest.training
    assert [(seen.name, seen.images) for seen in training.data] == [
        ("H_100X_C2", len(list((tmp_path / "whole/split/data/H_100X_C2/Images/train").iterdir())))
    ]
    assert training.data[0].note.startswith("labelled source; split train, patients ")
    assert training.command == "attridet recipe smallest.yaml --data DOWNLOAD --out RUN" and training.epochs == 2
    assert one.manifest.pixel_aspect == 1.0
    with open_engine(str(killed / "export/engine"), "onnx", 1) as engine:
        assert engine.info.name == "smallest"

    page = (tmp_path / "whole/page/index.html").read_text(encoding="utf-8")
    assert "<h1>In the smallest</h1>" in page and ">27.6<" in page
    table = json.loads((tmp_path / "whole/page/tables.json").read_text())["tables"][0]
    assert table["rows"] == [{"name": "CBM", "scored": "", "ours": [[]], "paper": [27.6]}], "what was not run is empty"
