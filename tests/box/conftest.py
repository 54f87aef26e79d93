"""What the tests of package and image share: one package and one image, made once a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from systemd.image.build import Wanted, build, commit_time

REPOSITORY = Path(__file__).parents[2]
CACHE = REPOSITORY / "build/cache"


@pytest.fixture(scope="session")
def deb() -> Path:
    """Leukoscope's package for Debian 12 and amd64: LEUKOSCOPE_DEB, or the newest that `make deb` made."""
    if named := os.environ.get("LEUKOSCOPE_DEB"):
        return Path(named)
    made = sorted(REPOSITORY.glob("dist/leukoscope_*bookworm*_amd64.deb"), key=lambda path: path.stat().st_mtime)
    if not made:
        pytest.skip("no package: make deb, or name one in LEUKOSCOPE_DEB")
    return made[-1]


@pytest.fixture(scope="session")
def built(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a build by its name; the Debian below comes from the cache."""
    if os.geteuid() != 0:
        pytest.skip("an image is made as root")
    room, made = tmp_path_factory.mktemp("images"), set[str]()

    def build_once(name: str) -> Path:
        folder = room / name
        if name not in made:
            build(Wanted("amd64", deb, folder, CACHE, compression="fast"), commit_time(REPOSITORY))
            made.add(name)
        return folder

    return build_once


@pytest.fixture(scope="session")
def image(built: Callable[[str], Path]) -> Path:
    """The image that is shipped."""
    return next(built("first").glob("leukoscope-*.img"))
