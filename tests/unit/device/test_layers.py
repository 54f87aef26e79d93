"""A naming layer is activated by a person, kept with its history, taken back; and refused where it does not belong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from naming_layers import bundle_with_look, plain_layer

from device.cli import call
from device.errors import ConfigError, StoreError
from device.service.layers import Layers, back, chosen_layer, show, use
from device.settings.config import Config
from device.settings.config_file import parse_config
from engines.bundle import Bundle
from engines.errors import BundleError
from engines.naming import NamingLayer
from engines.runtime.factory import open_engine


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    bare = bundle_with_look(tmp_path / "bare")
    return bundle_with_look(tmp_path / "bundle", layer=plain_layer(bare, "shipped"))


@pytest.fixture
def config(tmp_path: Path, bundle: Bundle) -> Config:
    (tmp_path / "device.yaml").write_text(TEXT)
    return parse_config(TEXT, "device.yaml", tmp_path)


TEXT = "camera: {kind: simulator}\ndevice: {state_dir: state}\nengine: {bundle: bundle}\n"


def written(bundle: Bundle, folder: Path, name: str) -> Path:
    file = folder / f"{name}.npz"
    replace(plain_layer(bundle, name), site=True, card={"said": f"{name} says so"}).write(file)
    return file


def test_a_layer_is_activated_and_taken_back_step_by_step(config: Config, bundle: Bundle, tmp_path: Path) -> None:
    assert chosen_layer(config) is None and "in use: layer shipped 1" in show(config)
    first, second = written(bundle, tmp_path, "first"), written(bundle, tmp_path, "second")
    assert use(config, first).partition(";")[0].endswith("is activated, in place of the bundle's own layer")
    assert "in place of first 1" in use(config, second)
    first.unlink()  # a copy is kept
    chosen = chosen_layer(config)
    assert chosen is not None and NamingLayer.read(chosen).name == "second"
    assert use(config, second).endswith("in use already") and len(Layers.read(config).events) == 2
    said = show(config)
    assert "in use: site layer second 1" in said and "second says so" in said and said.count("  use   ") == 2
    assert "first 1" in back(config)
    chosen = chosen_layer(config)
    assert chosen is not None and NamingLayer.read(chosen).name == "first"
    assert "the bundle's own layer is activated" in back(config)
    assert chosen_layer(config) is None
    with pytest.raises(ConfigError, match="no layer was activated"):
        back(config)
    assert [event.did for event in Layers.read(config).events] == ["use", "use", "back", "back"]


def test_the_engine_names_by_the_layer_that_was_activated_and_says_so(config: Config, bundle: Bundle, tmp_path: Path) -> None:
    file = written(bundle, tmp_path, "ours")
    use(config, file)
    engine = open_engine(config.engine.bundle, layer=chosen_layer(config), verify=False)
    naming = engine.info.naming
    assert naming is not None and (naming.name, naming.version, naming.site) == ("ours", "1", True)
    assert naming.digest == NamingLayer.read(file).digest and naming.said == "ours says so"


def test_a_layer_of_another_bundle_is_refused_and_changes_nothing(config: Config, bundle: Bundle, tmp_path: Path) -> None:
    use(config, written(bundle, tmp_path, "good"))
    other = bundle_with_look(tmp_path / "other", b"another graph")
    strange = written(other, tmp_path, "strange")
    with pytest.raises(BundleError, match="fitted to another encoder"):
        use(config, strange)
    assert [event.name for event in Layers.read(config).in_use] == ["good"]
    assert len(list((tmp_path / "state/layers").glob("*.npz"))) == 1


def test_the_configuration_goes_before_and_closes_the_command(bundle: Bundle, tmp_path: Path) -> None:
    file = written(bundle, tmp_path, "named")
    config = parse_config(TEXT.replace("bundle: bundle", "bundle: bundle, layer: named.npz"), "device.yaml", tmp_path)
    assert chosen_layer(config) == file and "of the configuration" in show(config)
    for change in (lambda: use(config, file), lambda: back(config)):
        with pytest.raises(ConfigError, match=r"names engine\.layer"):
            change()


def test_a_damaged_history_stops_rather_than_names_by_another_layer(config: Config, bundle: Bundle, tmp_path: Path) -> None:
    use(config, written(bundle, tmp_path, "good"))
    (tmp_path / "state/layers/history.json").write_text('{"events": [')
    with pytest.raises(StoreError, match=r"history\.json: the history cannot be read"):
        chosen_layer(config)


def test_the_commands_say_what_they_did(config: Config, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, yaml = written(bundle, tmp_path, "ours"), str(tmp_path / "device.yaml")
    assert call(["layer", "use", str(file), "--config", yaml]) == 0
    assert "ours 1" in (said := capsys.readouterr().out) and "next start" in said
    assert call(["layer", "show", "--config", yaml]) == 0 and "site layer ours" in capsys.readouterr().out
    assert call(["layer", "back", "--config", yaml]) == 0 and "taken back" in capsys.readouterr().out
    assert call(["layer", "back", "--config", yaml]) == 2 and "no layer was activated" in capsys.readouterr().err
    assert call(["layer", "use", str(tmp_path / "none.npz"), "--config", yaml]) == 2
    assert "none.npz: no naming layer" in capsys.readouterr().err
