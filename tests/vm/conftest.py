"""The image of tests/box, for tests that take hours under software emulation. Figures go to runs/vm, one JSON file a test."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from device.demo.broker import BrokerError, MosquittoBroker
from systemd.image import build as images
from systemd.image.keys import KEYRING, make_keys
from tests.box.conftest import ROOT, built, deb, image  # noqa: F401  # the same fixtures
from tests.support.vm import missing
from tests.support.vm_update import Signed

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


@pytest.fixture(scope="session")
def signed(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Signed:  # noqa: F811
    """An image that takes updates: the one that LEUKOSCOPE_IMAGE names, with its root beside it and its keys in LEUKOSCOPE_KEYS."""
    if (named := os.environ.get("LEUKOSCOPE_IMAGE")) and (keys := os.environ.get("LEUKOSCOPE_KEYS")):
        return Signed(Path(named), Path(named).with_name("root.squashfs"), Path(keys))
    room = tmp_path_factory.mktemp("signed")
    make_keys(room / "keys")
    wanted = images.Wanted("amd64", deb, room / "image", ROOT / "build/cache", keyring=room / "keys" / KEYRING, compression="fast")
    made = images.build(wanted, images.commit_time(ROOT))
    return Signed(made, made.with_name("root.squashfs"), room / "keys")


@pytest.fixture
def result(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Keeps figures of a test, also of one that is cut off."""

    def keep(**figures: Any) -> None:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{request.node.name}.json").write_text(json.dumps(figures, indent=2) + "\n")

    return keep
