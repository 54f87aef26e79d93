"""A box without a plan counts on the processor, and the slide after the plan has appeared on the GPU: one slide, one engine."""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
import standin_plans

from device.app import run
from device.pipeline import Pipeline
from device.rounds import Round
from device.service import meanwhile as meanwhiles
from device.service.meanwhile import Meanwhile
from device.settings.broker import BrokerSection
from device.settings.config import Config, DeviceSection, DisplaySection, EngineSection, SimulatorCamera, SlideSection
from device.slide.commands import Command, Wish
from engines.appliance import PLANS, named_engine
from engines.bundle import Bundle, resolve
from engines.errors import RuntimeUnavailableError
from engines.runtime import choice

pytestmark = pytest.mark.integration

BUNDLE = "zoo:attridet-n"


def configuration(folder: Path, **engine: Any) -> Config:
    section = {"bundle": BUNDLE, "threads": 1, **engine}
    return Config(
        camera=SimulatorCamera(kind="simulator", case="AML", width_px=640, height_px=360, fields=3, loop=True, live=True),
        device=DeviceSection(id="box", state_dir=folder / "state"),
        engine=EngineSection(**section),
        slide=SlideSection(ask_specimen=False),
        display=DisplaySection(kind="none"),
        broker=BrokerSection(host="127.0.0.1", port=9),
    )


def no_build() -> tuple[bool, int | None]:
    return False, None


def wait_for(meanwhile: Meanwhile, seconds: float = 60.0) -> bool:
    """Ask, at rest, until there is something better, or the attempt is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if meanwhile.better(at_rest=True):
            return True
        trial = meanwhile._trial
        if trial is not None and not trial.is_alive() and not meanwhile._ready:
            return False
        time.sleep(0.01)
    raise AssertionError("neither better nor over")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meanwhiles, "_LOOK_S", 0.0)
    monkeypatch.setattr(meanwhiles, "_REST_S", 0.0)


def test_the_slide_after_the_plan_has_appeared_is_the_first_on_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    standin_plans.machine(monkeypatch)
    plans, bundle = tmp_path / "plans", Bundle.open(resolve(BUNDLE))
    plans.mkdir()
    caplog.set_level(logging.WARNING)
    lamps, begun = dict[str, str](), list[str]()
    deadline_s = time.monotonic() + 90

    def each_round(done: Round, pipeline: Pipeline) -> None:
        slide = pipeline.slide
        counted = slide is not None and slide.is_open and bool(slide.fields)
        on_gpu = pipeline.engine_info.runtime.startswith("TensorRT")
        if slide is None or not slide.is_open:
            if (len(begun) == 0 or (len(begun) == 1 and on_gpu)) and done.observation is not None:
                begun.append(pipeline.engine_info.runtime)
                pipeline.obey(Wish(Command.START))
        elif counted and len(begun) == 1 and not list(plans.glob("*")):
            lamps["before"] = pipeline.lamps[1].text
            standin_plans.write_plans(plans, bundle)
        elif counted and len(begun) == 1 and "another engine" in pipeline.lamps[1].text:
            lamps["ready"] = pipeline.lamps[1].text
            assert not on_gpu, "a slide that is open keeps its engine"
            pipeline.obey(Wish(Command.FINISH, sure=True))
        elif counted and len(begun) == 2:
            lamps["after"] = pipeline.lamps[1].text
            pipeline.obey(Wish(Command.FINISH, sure=True))
            pipeline.stop("the test has seen enough")
        if time.monotonic() > deadline_s:
            pipeline.stop("too late")

    config = configuration(tmp_path, runtime="tensorrt", plans=plans)
    outcome = run(config, each_round=each_round, signals=False)
    assert outcome.reason == "the test has seen enough"
    assert lamps["before"] == "counts on the CPU, the GPU has no engine"
    assert "CPU" not in lamps["after"] and "engine" not in lamps["after"]
    with sqlite3.connect(config.record_path) as db:
        query = "SELECT m.runtime, s.summary FROM slides s JOIN models m USING (model_id) ORDER BY sequence"
        rows = db.execute(query).fetchall()
    assert [runtime.partition(" ")[0] for runtime, _ in rows] == ["onnxruntime", "TensorRT"]
    assert [runtime for runtime, _ in rows] == begun
    assert all(f'"{runtime}"' in str(summary) for runtime, summary in rows), "the summary names the engine of its slide"
    told = [record.getMessage() for record in caplog.records if "has no plan" in record.getMessage()]
    assert len(told) == 1 and told[0].endswith("Until then the processor counts.")


def test_a_plan_that_cannot_be_used_is_told_once_and_the_processor_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    standin_plans.machine(monkeypatch)
    plans, bundle = tmp_path / "plans", Bundle.open(resolve(BUNDLE))
    plans.mkdir()
    building: list[tuple[bool, int | None]] = [(True, 40)]
    with (
        Meanwhile(configuration(tmp_path, runtime="tensorrt", plans=plans), lambda: building[0]) as meanwhile,
        meanwhile.open() as engine,
    ):
        assert engine.info.runtime.startswith("onnxruntime")
        for _ in range(3):
            assert not meanwhile.better(at_rest=True) and meanwhile._trial is None, "a plan that is being built is waited for"
        assert meanwhile.note() == ("busy", "counts on the CPU; GPU engine is built 40 %")
        sidecar = standin_plans.write_plans(plans, bundle)
        detector = next(path for path in plans.iterdir() if "detector" in path.name)
        good = detector.read_bytes()
        building[0] = (False, None)
        for content in (good[:-9], good[:-8]):
            detector.write_bytes(content)
            assert not wait_for(meanwhile)
        assert len([r for r in caplog.records if r.levelno == logging.ERROR and "altered or incomplete" in r.getMessage()]) == 1
        assert meanwhile.note() == ("warn", "counts on the CPU, the GPU has no engine")
        assert engine.golden_fault() is None  # type: ignore[attr-defined]
        detector.write_bytes(good)
        assert sidecar.exists() and wait_for(meanwhile)
        assert meanwhile.note()[1] == "another engine from the next slide on"
    meanwhile.new_line()
    with meanwhile.open() as engine:
        assert engine.info.runtime.startswith("TensorRT") and meanwhile.note() == ("", "")
    detector.unlink()
    with pytest.raises(RuntimeUnavailableError, match="cannot be read"), meanwhile.open():
        pass  # opened again for the same line it is no other engine
    meanwhile.new_line()
    with meanwhile.open() as engine:
        assert engine.info.runtime.startswith("onnxruntime")


def test_what_is_left_auto_is_measured_while_frames_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "ROUNDS", 1)
    plans = tmp_path / "plans"
    config = configuration(tmp_path, precision="float32", plans=plans)
    with Meanwhile(config, no_build) as meanwhile:
        began = time.monotonic()
        with meanwhile.open() as engine:
            opened_s = time.monotonic() - began
            assert meanwhile.interim and not config.engine_choice_path.exists()
            assert not meanwhile.better(at_rest=False) and meanwhile.note() == ("busy", "looks for the quickest engine")
            first = engine.info.runtime.partition(" ")[0]
            better = wait_for(meanwhile)
            measured_s = time.monotonic() - began
            chosen = choice.read_choice(config.engine_choice_path)
        assert opened_s < measured_s and chosen is not None
        name = {"onnx": "onnxruntime"}.get(chosen.chosen.runtime, chosen.chosen.runtime)
        assert better == (name != first), "the same engine is no reason to open the line anew"
        assert better or not meanwhile.interim
        meanwhile.new_line()
        with meanwhile.open() as engine:
            assert engine.info.runtime.startswith(name) and not meanwhile.interim
            assert not meanwhile.better(at_rest=True)
            standin_plans.machine(monkeypatch)
            standin_plans.write_plans(plans, Bundle.open(resolve(BUNDLE)))
            wait_for(meanwhile)
            chosen = choice.read_choice(config.engine_choice_path)
        assert chosen is not None
        assert [trial.fault for trial in chosen.trials if trial.runtime == "tensorrt"] == [""], "a plan that has appeared is measured"


def test_auto_counts_by_a_plan_that_fits_before_anything_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standin_plans.machine(monkeypatch)
    standin_plans.write_plans(tmp_path / "plans", Bundle.open(resolve(BUNDLE)))
    with Meanwhile(configuration(tmp_path, plans=tmp_path / "plans"), no_build) as meanwhile, meanwhile.open() as engine:
        assert engine.info.runtime.startswith("TensorRT") and meanwhile.interim


def test_without_a_folder_named_the_plans_are_where_the_build_puts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    standin_plans.machine(monkeypatch)
    config = configuration(tmp_path, runtime="tensorrt")
    assert config.engine.plans == named_engine(_written(tmp_path)).plans == PLANS
    with Meanwhile(config, no_build) as meanwhile, meanwhile.open() as engine:
        assert engine.info.runtime.startswith("onnxruntime")
        assert f"{PLANS}: has no plan of attridet-n for this device" in caplog.text


def _written(folder: Path) -> Path:
    (folder / "device.yaml").write_text("engine: {runtime: tensorrt}\n")
    return folder / "device.yaml"
