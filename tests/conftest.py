"""What tests of every package share: where the reference numbers and images lie, and skips with a reason where they are absent."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

from tests.support.miniature import Miniature, build

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime's wheels would report each run of the tests to their maker

# A busy machine is no fault of the code: examples may take their time; what must be fast has a test of its own.
hypothesis.settings.register_profile("house", deadline=None, print_blob=True)
hypothesis.settings.load_profile("house")

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"


def _shared_folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs ../shared/{name} beside the repository")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the working tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real blood-film images (../shared/data); the test is skipped where it is absent."""
    return _shared_folder("data")


@pytest.fixture(scope="session")
def parity() -> Path:
    """Folder of reference numbers (../shared/parity); the test is skipped where it is absent."""
    return _shared_folder("parity")


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    """LeukemiaAttri in small, in the published layout, of rendered film; read it, and copy a subset before writing into it."""
    return build(tmp_path_factory.mktemp("download"))
