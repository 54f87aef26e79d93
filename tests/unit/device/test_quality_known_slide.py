"""The known slide of the day: judged when it is finished, said on the screen and by `leukoscope qc`; and drift of the light."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from calibration.profile import load_profile
from device.camera.quality import Exposure
from device.cli import call
from device.clock import SystemClock
from device.guidance.drift import FRAMES, Drift
from device.settings.config import Config, DeviceSection, QualitySection, ReplayCamera
from device.slide.model import Cell, Field, Slide, SlideState
from device.slide.tally import tally
from device.store import Store
from device.store.checks import Check
from device.store.events import SlideRecord
from device.store.journal import Journal
from device.store.quality import judge, passed_on, reference_of
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.provenance import provenance

ENGINE = EngineInfo("stand-in", "0", "0" * 64, "none", "exact", (640, 640), LEUKEMIA_ATTRI, 0.25)
UNKNOWN = np.full(LEUKEMIA_ATTRI.n_logits, np.nan, np.float32)
NOW = datetime.now(timezone.utc)
LIMITS = QualitySection(specimen="QC-1")


def slide(cells: dict[str, int], fields: int = 20, specimen: str = "QC-1", slide_id: str = "20261130-080000-aaaaaa") -> Slide:
    """A finished slide with so many identified cells of each type, spread over its fields."""
    classes = [LEUKEMIA_ATTRI.classes.index(name) for name, count in cells.items() for _ in range(count)]
    made = []
    for index in range(fields):
        held = tuple(Cell(class_index, 0.9, True, (0.0, 0.0, 9.0, 9.0), UNKNOWN) for class_index in classes[index::fields])
        made.append(Field(index + 1, NOW, f"{index}.png", (640, 360), 1.0, held))
    return Slide(slide_id, NOW, state=SlideState.REVIEW, fields=tuple(made), finished_at=NOW, specimen=specimen)


def verdict(now: Slide, before: Slide) -> tuple[str, ...]:
    reference = reference_of(before, tally(before, LEUKEMIA_ATTRI))
    return judge(now, tally(now, LEUKEMIA_ATTRI), reference, LIMITS).faults


USUAL = {"Neutrophil": 140, "Lymphocyte": 60, "Monocyte": 20}


def test_the_same_film_passes() -> None:
    assert verdict(slide(USUAL), slide(USUAL)) == ()
    assert verdict(slide({"Neutrophil": 132, "Lymphocyte": 66, "Monocyte": 22}), slide(USUAL)) == ()


@pytest.mark.parametrize(
    ("cells", "fields", "words"),
    [
        ({"Neutrophil": 120, "Lymphocyte": 50}, 15, "170 nucleated cells"),
        (USUAL, 40, "5.5 cells a field where the reference has 11.0"),
        ({"Neutrophil": 100, "Lymphocyte": 60, "Monocyte": 20, "Myeloblast": 40}, 20, "Myeloblast 18% where the reference has 0%"),
        ({"Neutrophil": 70, "Lymphocyte": 130, "Monocyte": 20}, 20, "Lymphocyte 59% where the reference has 27%"),
    ],
)
def test_what_is_outside_its_limit_is_named(cells: dict[str, int], fields: int, words: str) -> None:
    assert any(words in fault for fault in verdict(slide(cells, fields), slide(USUAL)))


def test_without_a_reference_nothing_passes() -> None:
    now = slide(USUAL)
    made = judge(now, tally(now, LEUKEMIA_ATTRI), None, LIMITS)
    assert not made.passed
    assert "qc reference" in made.faults[0]


def test_a_check_of_yesterday_is_not_one_of_today() -> None:
    check = Check(NOW - timedelta(days=1), "a", True, {"check": "slide of the day"})
    assert not passed_on((check,), NOW.date())
    assert passed_on((check,), (NOW - timedelta(days=1)).date())


def config_of(folder: Path) -> Path:
    path = folder / "device.yaml"
    path.write_text(f"camera: {{kind: replay, source: {folder}}}\ndevice: {{state_dir: {folder}}}\nquality: {{specimen: QC-1}}\n")
    return path


def test_finishing_the_known_slide_judges_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    config = Config(camera=ReplayCamera(kind="replay", source="p"), device=DeviceSection(state_dir=tmp_path), quality=LIMITS)
    path = config_of(tmp_path)
    first, second = slide(USUAL), slide(USUAL, slide_id="20261130-090000-bbbbbb")
    other = slide(USUAL, specimen="P-7", slide_id="20261130-100000-cccccc")
    with Store.open(config.record_path) as store:
        journal = Journal(config.record_path, SystemClock(), lambda _: 10_000, 0)
        record = SlideRecord(store, journal, config, load_profile("zzcat-5mp"), provenance(ENGINE), SystemClock(), lambda: None)

        def finish(finished: Slide) -> None:
            record.started(finished, 640)
            record.closed(finished, 640)
            assert journal.flush()

        assert record.known_slide_due()
        finish(first)
        assert record.known_slide_due()  # there is no reference yet
        assert call(["qc", "--config", str(path)]) == 1
        assert "none passed today" in capsys.readouterr().out
        assert call(["qc", "reference", other.slide_id, "--config", str(path)]) != 0
        assert call(["qc", "reference", first.slide_id, "--config", str(path)]) == 0
        finish(other)
        assert record.known_slide_due()  # another specimen
        finish(second)
        assert not record.known_slide_due()
        assert call(["qc", "--config", str(path)]) == 0
        assert second.slide_id in capsys.readouterr().out
        again = SlideRecord(store, journal, config, load_profile("zzcat-5mp"), provenance(ENGINE), SystemClock(), lambda: None)
        assert not again.known_slide_due()  # after a restart
    assert "QC-1" not in caplog.text


def test_without_a_known_slide_the_command_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "device.yaml"
    path.write_text(f"camera: {{kind: replay, source: {tmp_path}}}\ndevice: {{state_dir: {tmp_path}}}\n")
    assert call(["qc", "--config", str(path)]) == 2
    assert "quality.specimen" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("glass", "words"),
    [((200, 200, 200), ""), ((195, 200, 204), ""), ((160, 200, 200), "another colour"), ((120, 120, 120), "weaker or stronger")],
)
def test_drift_of_the_light_is_said_after_many_frames(glass: tuple[float, float, float], words: str) -> None:
    drift = Drift(200.0)
    for _ in range(FRAMES - 1):
        drift.observe(Exposure(glass, 0.0, "exposure good"))
    assert drift.words == ""
    drift.observe(Exposure(glass, 0.0, "exposure good"))
    assert words in drift.words
    assert bool(drift.words) == bool(words)


def test_without_a_measured_blank_field_there_is_no_drift() -> None:
    drift = Drift.of(load_profile("zzcat-5mp"), 100)
    for _ in range(FRAMES):
        drift.observe(Exposure((100, 200, 200), 0.0, "exposure good"))
    assert drift.words == ""
