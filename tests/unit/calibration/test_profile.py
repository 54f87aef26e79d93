"""Calibration profiles: the shipped ones, scale at other picture widths, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from calibration.profile import CalibrationProfile, ProfileError, load_profile, shipped

GOOD = """
name: bench
version: "3"
camera: test camera
measured: true
objectives:
  40: {um_per_px: 0.2, width_px: 1920}
"""


@pytest.mark.parametrize("name", shipped())
def test_shipped_profiles_load_and_say_that_they_are_nominal(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert set(profile.objectives) == {10, 40, 100}
    assert not profile.measured
    assert profile.label(40).endswith("40x (nominal)")
    scales = [profile.um_per_px(objective, 1920) for objective in (10, 40, 100)]
    assert scales[0] == pytest.approx(4 * scales[1])  # scale goes with the objective
    assert scales[0] == pytest.approx(10 * scales[2])


def test_the_two_cameras_of_the_project_are_shipped() -> None:
    assert shipped() == ["hd1500t", "zzcat-5mp"]


def test_scale_goes_with_the_width_of_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "bench.yaml"
    path.write_text(GOOD)
    profile = load_profile(str(path))
    assert profile.um_per_px(40, 1920) == pytest.approx(0.2)
    assert profile.um_per_px(40, 960) == pytest.approx(0.4)  # half the pixels, each twice as wide
    assert profile.um_per_px(100, 1920) is None
    assert profile.label(40) == "bench 3 40x"


def test_a_profile_written_out_reads_back(tmp_path: Path) -> None:
    profile = load_profile("hd1500t")
    path = tmp_path / "copy.yml"
    path.write_text(yaml.safe_dump(profile.model_dump(mode="json")))
    assert load_profile(str(path)) == profile


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("zzcat-5pm", "no calibration profile 'zzcat-5pm'; did you mean 'zzcat-5mp'?"),
        ("nikon", "no calibration profile 'nikon'; shipped ones: hd1500t, zzcat-5mp"),
        ("/nowhere/profile.yaml", "no calibration profile '/nowhere/profile.yaml'"),
        ("profile.yaml", "no calibration profile 'profile.yaml'"),
    ],
)
def test_a_profile_that_is_not_there(reference: str, words: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile(reference)
    assert words in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- 1",
        "name: [",
        GOOD + "colour: blue",
        GOOD.replace("um_per_px: 0.2", "um_per_px: 0"),
        GOOD.replace("um_per_px: 0.2", "um_per_px: -0.2"),
        GOOD.replace("width_px: 1920", "width_px: wide"),
        GOOD.replace("measured: true", ""),
        GOOD + "schema_version: 3",
    ],
)
def test_a_malformed_profile_is_refused_in_one_line_with_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        load_profile(str(path))
    assert str(caught.value).startswith(f"{path}: not a calibration profile: ")
    assert "\n" not in str(caught.value)


def test_latin_1_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(GOOD.replace("test camera", "cam\xe9ra").encode("latin-1"))
    with pytest.raises(ProfileError, match="not a calibration profile"):
        load_profile(str(path))


def test_a_profile_cannot_be_changed() -> None:
    profile = load_profile("hd1500t")
    assert isinstance(profile, CalibrationProfile)
    with pytest.raises(ValueError, match="frozen"):
        profile.measured = True  # type: ignore[misc]  # that is what is tried
