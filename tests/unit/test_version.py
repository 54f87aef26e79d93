"""The version that messages carry: of the commit, where it can be known."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engines import version as module

SOURCE = Path(module.__file__)


def run(*command: str, folder: Path) -> str:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


def version_in(folder: Path) -> str:
    return run(sys.executable, "-c", "from engines.version import version; print(version())", folder=folder)


def test_a_checkout_says_its_commit_and_whether_it_was_changed(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    file = tmp_path / "engines/version.py"
    file.parent.mkdir()
    shutil.copy(SOURCE, file)
    shutil.copy(SOURCE.with_name("__init__.py"), file.parent)
    without_git = version_in(tmp_path)
    assert without_git == module.installed_version("leukoscope")
    run("git", "init", "-q", folder=tmp_path)
    run("git", "add", "engines", folder=tmp_path)
    for number in range(2):
        run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", str(number), folder=tmp_path)
        commit = run("git", "rev-parse", "HEAD", folder=tmp_path)
        assert version_in(tmp_path) == f"{without_git.partition('+')[0]}+g{commit[:9]}"
    file.write_text(file.read_text() + "# changed\n")
    assert version_in(tmp_path).endswith(f"+g{commit[:9]}.dirty")


@pytest.mark.parametrize(("words", "name"), [(("-m", "device"), "leukoscope"), (("-m", "engines"), "attridet")])
def test_both_commands_say_it(words: tuple[str, str], name: str, repository: Path) -> None:
    assert run(sys.executable, *words, "--version", folder=repository) == f"{name} {module.version()}"
