"""The appliance as one line, without the network's errors: rendered slide, perfect stand-in, real record, real broker."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from truth_engine import TruthEngine, TruthfulSimulator

from device.app import run
from device.clock import SystemClock
from device.demo.broker import EmbeddedBroker
from device.display.base import NullDisplay
from device.line import Openers
from device.mqtt.payloads import SlideSummary
from device.pipeline import Pipeline
from device.rounds import Round
from device.settings.broker import BrokerSection
from device.settings.config import Config, DeviceSection, DisplaySection, SlideSection
from device.settings.config import SimulatorCamera as SimulatorSection
from device.slide.commands import Command, Wish
from device.slide.model import SlideState
from device.store import Store
from device.supervisor.watch import watch
from engines.taxonomy import LEUKEMIA_ATTRI

pytestmark = pytest.mark.integration

FIELDS = 20


class UnhurriedClock(SystemClock):
    """Real time, but nobody waits for the simulated stage: its position depends on the frame's number alone."""

    def sleep(self, seconds: float) -> None:
        return None


def configuration(folder: Path, broker: BrokerSection, fields: int = FIELDS, loop: bool = False) -> Config:
    return Config(
        camera=SimulatorSection(kind="simulator", seed=11, case="AML", width_px=960, height_px=540, fields=fields, loop=loop),
        device=DeviceSection(id="line-test", state_dir=folder),
        slide=SlideSection(auto_start=True),
        display=DisplaySection(kind="none"),
        broker=broker,
    )


def parts(config: Config) -> tuple[Openers, TruthfulSimulator]:
    clock = UnhurriedClock()
    assert isinstance(config.camera, SimulatorSection)
    camera = TruthfulSimulator(config.camera, clock)
    return Openers(clock, lambda: camera, lambda: TruthEngine(camera), NullDisplay), camera


@pytest.fixture(scope="module")
def broker() -> Iterator[BrokerSection]:
    with EmbeddedBroker() as running:
        yield BrokerSection(host=running.host, port=running.port, protocol=running.protocol)


def test_every_white_cell_of_the_visited_fields_is_counted_exactly_once(tmp_path: Path, broker: BrokerSection) -> None:
    config = configuration(tmp_path, broker)
    made, camera = parts(config)
    received: list[SlideSummary] = []
    ready, stop = threading.Event(), threading.Event()
    supervisor = threading.Thread(
        target=lambda: received.extend(watch(broker, device="line-test", count=1, ready=ready, stop=stop)), daemon=True
    )
    supervisor.start()
    assert ready.wait(30)
    outcome = run(config, made, signals=False)  # on a machine with much else to do it takes minutes: nobody watches the clock
    supervisor.join(30)
    stop.set()
    supervisor.join(30)

    truth = camera.truth_of_path()
    assert len(truth) == FIELDS
    ids = np.concatenate([field.cell_ids for field in truth])
    assert len(set(ids.tolist())) == len(ids), "the stage's path shows a cell twice"
    wanted = Counter(LEUKEMIA_ATTRI.classes[c] for field in truth for c in field.classes.tolist())
    assert sum(wanted.values()) > FIELDS // 2

    assert outcome.saved and outcome.sent
    assert outcome.slide is not None and outcome.slide.state is SlideState.REVIEW
    assert len(outcome.slide.fields) == FIELDS
    counted = Counter(LEUKEMIA_ATTRI.classes[cell.class_index] for cell in outcome.slide.cells)
    assert counted == wanted

    assert len(received) == 1
    summary = received[0]
    assert {row.name: row.count for row in summary.differential if row.count} == {k: v for k, v in wanted.items() if k != "None"}
    assert summary.artefacts == wanted["None"]
    assert summary.unidentified.count == 0
    assert summary.review_state == "unreviewed" and summary.source.simulated
    assert summary.slide_id == outcome.slide.slide_id

    with Store.read(config.record_path) as store:
        stored = store.slide(outcome.slide.slide_id)
        assert Counter(LEUKEMIA_ATTRI.classes[cell.class_index] for cell in stored.slide.cells) == wanted
        assert [row.kind for row in store.pending()] == ["summary"], "in MQTT 3.1.1 an acknowledgement is no proof of delivery"


def test_a_slide_that_is_stopped_half_way_waits_for_the_next_start_with_all_that_was_counted(tmp_path: Path) -> None:
    """Also without a broker: the summary waits in the outbox."""
    nobody = BrokerSection(host="127.0.0.1", port=9, protocol="3.1.1")
    config = configuration(tmp_path, nobody, fields=6)
    made, _ = parts(config)

    def stop_after_three(done: Round, pipeline: Pipeline) -> None:
        if pipeline.slide is not None and len(pipeline.slide.fields) == 3:
            pipeline.stop("stopped by SIGTERM")

    def abort(done: Round, pipeline: Pipeline) -> None:
        assert pipeline.obey(Wish(Command.ABORT, reason="to be repeated"))[0]
        pipeline.stop("done")

    outcome = run(config, made, each_round=stop_after_three, signals=False)
    assert outcome.saved
    assert outcome.slide is not None and outcome.slide.state is SlideState.PAUSED
    with Store.read(config.record_path) as store:
        assert {row.kind for row in store.pending()} <= {"event"}, "no summary leaves for a slide that is still open"
    outcome = run(config, parts(config)[0], each_round=abort, signals=False)
    assert outcome.slide is not None and outcome.slide.state is SlideState.ABORTED
    with Store.read(config.record_path) as store:
        assert len(store.slide(outcome.slide.slide_id).slide.fields) == 3
        waiting = [row for row in store.pending(10) if row.kind == "summary"]
    assert len(waiting) == 1
    summary = SlideSummary.model_validate_json(waiting[0].payload)
    assert summary.state == "aborted" and summary.fields_counted == 3
