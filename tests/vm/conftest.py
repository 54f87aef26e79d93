"""The image of tests/box, for tests that take hours under software emulation. Figures go to runs/vm, one JSON file a test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from device.demo.broker import BrokerError, MosquittoBroker
from tests.box.conftest import built, deb, image  # noqa: F401  # the same fixtures
from tests.support.vm import missing

RESULTS = Path(__file__).parents[2] / "runs" / "vm"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.vm)
        item.add_marker(pytest.mark.timeout(4 * 3600))


@pytest.fixture(scope="session")
def broker() -> Iterator[MosquittoBroker]:
    """A broker on this machine, which the guest reaches and nothing else."""
    if absent := missing():
        pytest.skip(f"not here: {', '.join(absent)} (make box-packages)")
    try:
        with MosquittoBroker() as running:
            yield running
    except BrokerError as error:
        pytest.skip(str(error))


@pytest.fixture
def result(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Keeps figures of a test, also of one that is cut off."""

    def keep(**figures: Any) -> None:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{request.node.name}.json").write_text(json.dumps(figures, indent=2) + "\n")

    return keep
