"""The plug is pulled again and again while a slide is counted: the box comes back, counts on, and nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from device.demo.broker import MosquittoBroker
from tests.support.vm_box import CONFIG, NO_SCREEN, Heard, provisioned, record_of

CUTS = int(os.environ.get("LEUKOSCOPE_CUTS", "20"))
SEED = 16


def test_cuts_during_a_slide(image: Path, broker: MosquittoBroker, tmp_path: Path, result: Callable[..., None]) -> None:
    draw, slides, cuts, seconds = random.Random(SEED), set[str](), 0, list[float]()
    heard = Heard(broker.port)
    known = 0
    with provisioned(image, tmp_path / "box", broker.port, CONFIG.replace("kind: screen", "kind: none"), NO_SCREEN) as box:
        for cut in range(CUTS + 1):
            box.start()
            began = time.monotonic()
            box.wait_for("slot A, try [123]", 300)  # never the other slot: cuts alone roll nothing back
            box.wait_shell(900)
            box.patience(["leukoscope.service"])
            box.until("test -S /var/lib/leukoscope/control.sock", 900, pause=3)
            box.until(f'test $(/opt/leukoscope/current/bin/python -c "{_COUNT}") -gt {known}', 1500, pause=12)
            seconds.append(time.monotonic() - began)
            found = record_of(box)
            assert found["sound"] == "ok"
            (slide,) = found["slides"]  # the one that was begun at the first start
            slides.add(slide[0])
            assert slide[2] == slide[3], f"fields are missing: {slide}"
            assert slide[2] > known, "a field that was recorded before the cut is gone"
            known = slide[2]
            result(cuts=cuts, fields=known, boot_to_next_field_s=[round(each) for each in seconds], seed=SEED)
            if cut == CUTS:
                break
            time.sleep(draw.uniform(0, 15))
            box.kill()
            cuts += 1
        assert len(slides) == 1
        assert box.ask("leukoscope verify --config /etc/leukoscope/device.yaml", 600).code == 0
        box.until("leukoscope slide finish --anyway", 900, pause=5)
        summary = json.loads(heard.wait("leukoscope/box-in-qemu/summary", 600))
        final = record_of(box)
    assert summary["slide_id"] in slides
    assert len([topic for topic, _ in heard.messages if topic.endswith("/summary")]) == 1
    result(
        cuts=cuts, fields=final["slides"][0][2], lost=0, doubled=0, boot_to_next_field_s=[round(each) for each in seconds], seed=SEED
    )
    heard.close()


_COUNT = (
    "import sqlite3; print(sqlite3.connect('file:/var/lib/leukoscope/record.sqlite?mode=ro', uri=True, timeout=60)"
    ".execute('SELECT count(*) FROM fields').fetchone()[0])"
)
