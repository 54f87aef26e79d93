"""The contract as files: equal to the models, in the package and in the docs; every example and the AsyncAPI document valid."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker, ValidationError

from device import cli
from device.contract_command import contract
from device.mqtt.asyncapi import ASYNCAPI, CHANNELS, CONTRACT, EXAMPLE, examples_in, generated
from device.mqtt.schema import PUBLISHED
from device.mqtt.topics import COMMANDS, FROM_DEVICE, Topics

DOCS = Path(__file__).parents[3] / "docs" / "schema"
FILES = [*(f"{name}.json" for name in PUBLISHED), *(f"{name}{EXAMPLE}" for name in PUBLISHED), ASYNCAPI]


def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCS / ASYNCAPI).read_text(encoding="utf-8"))
    return loaded


def test_the_files_are_the_models() -> None:
    for name, text in generated(examples_in(DOCS)).items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, f"docs/schema/{name} is old: run `python -m device.mqtt.asyncapi`"


def test_the_package_carries_the_same_files_and_no_others() -> None:
    assert sorted(path.name for path in CONTRACT.iterdir()) == sorted(FILES)
    for name in FILES:
        assert (CONTRACT / name).read_bytes() == (DOCS / name).read_bytes(), f"run `python -m device.mqtt.asyncapi` ({name})"


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_example_is_valid_and_the_schema_can_refuse(name: str) -> None:
    schema = json.loads((DOCS / f"{name}.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    example = json.loads((DOCS / f"{name}{EXAMPLE}").read_bytes())
    validator.validate(example)
    with pytest.raises(ValidationError):
        validator.validate({**example, "schema": "leukoscope.other/1"})
    validator.validate({**example, "of_a_version_to_come": {"n": 1}})
    for field in schema["required"]:
        with pytest.raises(ValidationError):
            validator.validate({key: value for key, value in example.items() if key != field})


def test_the_document_is_asyncapi_3() -> None:
    packed = (Path(__file__).parents[2] / "contract" / "asyncapi-3.0.0.schema.json.gz").read_bytes()
    validator = Draft7Validator(json.loads(gzip.decompress(packed)))
    good = document()
    validator.validate(good)
    for spoil in (
        lambda of: of.update(asyncapi="2.6.0"),
        lambda of: of["info"].pop("version"),
        lambda of: of["operations"]["sendSummary"].update(action="publish"),
        lambda of: of["channels"]["summary"].update(adress="x"),
        lambda of: of["operations"]["sendSummary"]["bindings"]["mqtt"].update(qos=3),
    ):
        bad = copy.deepcopy(good)
        spoil(bad)
        with pytest.raises(ValidationError):
            validator.validate(bad)


def test_every_reference_leads_somewhere_and_the_messages_validate_by_the_document_alone() -> None:
    whole = document()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(target := node.get("$ref"), str):
                found = whole
                for step in target.removeprefix("#/").split("/"):
                    found = found[step]
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(whole)
    for name in PUBLISHED:
        payload = whole["components"]["messages"][name]["payload"]
        example = json.loads((DOCS / f"{name}{EXAMPLE}").read_bytes())
        validator = Draft7Validator({"components": whole["components"], **payload})
        validator.validate(example)
        with pytest.raises(ValidationError):
            validator.validate({**example, "schema": 7})


def test_the_document_has_every_topic_as_the_device_uses_it() -> None:
    whole, topics = document(), Topics("clinic-7")
    addresses = {channel["address"].replace("{device}", "clinic-7") for channel in whole["channels"].values()}
    wanted = {topics.of(kind) for kind in (*FROM_DEVICE, "receipt", *(f"cmd/{name}" for name in COMMANDS))}
    assert addresses == wanted
    assert len(whole["operations"]) == len(CHANNELS)
    of = {name: operation["bindings"]["mqtt"] for name, operation in whole["operations"].items()}
    assert (of["sendSummary"]["qos"], of["sendSummary"]["retain"]) == (1, False)
    assert (of["sendStatus"]["qos"], of["sendStatus"]["retain"]) == (0, True)
    assert (of["sendHealth"]["qos"], of["sendHealth"]["retain"]) == (0, False)
    assert {name for name, operation in whole["operations"].items() if "reply" in operation} == {
        f"receiveCmd{name.capitalize()}" for name in COMMANDS
    }


def test_the_command_prints_the_document_and_writes_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["contract"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == document()
    assert cli.call(["contract", str(tmp_path / "a" / "b")]) == 0
    assert f"{len(FILES)} files" in capsys.readouterr().out
    for name in FILES:
        assert (tmp_path / "a" / "b" / name).read_bytes() == (DOCS / name).read_bytes()
    contract(tmp_path / "a" / "b")  # again
    (tmp_path / "file").write_text("x")
    assert cli.call(["contract", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err
