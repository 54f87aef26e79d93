"""The examples for Home Assistant and Node-RED against messages of every form: templates give sound values, topics are ours.

Node-RED itself is not run here (docs/mqtt.md says what was tried with it), nor is Home Assistant: its templates are Jinja's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from device.mqtt.topics import Topics

ROOT = Path(__file__).parents[3]
HOME: dict[str, Any] = yaml.safe_load((ROOT / "docs/examples/home-assistant.yaml").read_text(encoding="utf-8"))
FLOW: list[dict[str, Any]] = json.loads((ROOT / "docs/examples/node-red.json").read_bytes())
FROZEN = sorted((ROOT / "tests/messages").glob("*/*.json"))
EXAMPLES = sorted((ROOT / "docs/schema").glob("*-[12].example.json"))
ENTITIES = [(kind, entity) for kind, entities in HOME["mqtt"].items() for entity in entities]
TOPICS = Topics("clinic-7")
ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined)


def messages(topic: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every message, of every form, that comes on this topic."""
    kind = TOPICS.kind_of(topic)
    assert kind, f"{topic} is no topic of a device"
    for path in (*FROZEN, *EXAMPLES):
        content = json.loads(path.read_bytes())
        if content["schema"].startswith(f"leukoscope.{kind}/"):
            yield str(path.relative_to(ROOT)), content


def rendered(template: str, content: dict[str, Any]) -> str:
    return ENVIRONMENT.from_string(template).render(value_json=content, value=json.dumps(content)).strip()


@pytest.mark.parametrize(("kind", "entity"), ENTITIES, ids=[entity["unique_id"] for _, entity in ENTITIES])
def test_every_template_renders_every_message_that_was_ever_sent(kind: str, entity: dict[str, Any]) -> None:
    found = list(messages(entity["state_topic"]))
    assert found
    for where, content in found:
        value = rendered(entity["value_template"], content)
        assert value and "{" not in value and len(value) < 256, f"{where}: {value!r}"  # the longest state Home Assistant takes
        if kind == "binary_sensor":
            assert value in {entity.get("payload_on", "ON"), entity.get("payload_off", "OFF")}
        if entity.get("device_class") in ("temperature", "data_size"):
            assert value == "None" or float(value) > -60  # Home Assistant shows "None" as unknown
        if entity.get("device_class") == "timestamp":
            datetime.fromisoformat(value.replace("Z", "+00:00"))
        if attributes := entity.get("json_attributes_template"):
            assert entity["json_attributes_topic"] == entity["state_topic"]
            assert isinstance(json.loads(rendered(attributes, content)), dict)
    for source in entity.get("availability", ()):
        states = {rendered(source["value_template"], content) for _, content in messages(source["topic"])}
        assert states == {source["payload_available"], source["payload_not_available"]}


def test_entities_have_ids_of_their_own_and_belong_to_one_device() -> None:
    assert len({entity["unique_id"] for _, entity in ENTITIES}) == len(ENTITIES)
    assert {json.dumps(entity["device"]) for _, entity in ENTITIES} == {json.dumps(ENTITIES[0][1]["device"])}
    topics = {entity["state_topic"] for _, entity in ENTITIES}
    assert topics == {TOPICS.status, TOPICS.summary, TOPICS.event, TOPICS.health}


def entity(name: str) -> dict[str, Any]:
    return next(one for _, one in ENTITIES if one["unique_id"] == f"leukoscope_clinic_7_{name}")


def test_a_number_of_blasts_is_never_shown_without_its_doubt() -> None:
    template = entity("last_slide")["value_template"]
    content = json.loads((ROOT / "docs/schema/summary-1.example.json").read_bytes())
    assert rendered(template, content) == (
        "70 of 190 blasts or equivalents (29.97 to 44.13 % possible), unreviewed, preliminary, SIMULATED"
    )
    none = content | {"blasts": content["blasts"] | {"count": 0, "high_percent": 1.73}, "state": "aborted"}
    assert rendered(template, none).startswith("ABORTED, 0 of 190 blasts or equivalents (up to 1.73 % possible), unreviewed")
    signed = json.loads((ROOT / "docs/schema/summary-2.example.json").read_bytes())
    assert rendered(template, signed).endswith("reviewed, SIMULATED") and "preliminary" not in rendered(template, signed)


def test_alarms_are_for_what_they_say() -> None:
    first, lost = HOME["automation"]

    def condition(automation: dict[str, Any], content: dict[str, Any]) -> str:
        return ENVIRONMENT.from_string(automation["conditions"][0]["value_template"]).render(trigger={"payload_json": content})

    assert [each["topic"] for automation in (first, lost) for each in automation["triggers"]] == [TOPICS.event, TOPICS.status]
    for _, event in messages(TOPICS.event):
        assert condition(first, event | {"simulated": False}) == "True" and condition(first, event | {"simulated": True}) == "False"
        said = ENVIRONMENT.from_string(first["actions"][0]["data"]["message"]).render(trigger={"payload_json": event})
        assert "unreviewed" in said
    verdicts = {content["offline_reason"]: condition(lost, content) for _, content in messages(TOPICS.status)}
    assert verdicts == {None: "False", "stopped": "False", "lost": "True"}


def test_the_flow_is_wired_and_its_topics_are_ours() -> None:
    nodes = {node["id"]: node for node in FLOW}
    assert len(nodes) == len(FLOW)
    for node in FLOW:
        for wire in (target for output in node.get("wires", ()) for target in output):
            assert wire in nodes, f"{node['id']} leads to {wire}, which is not there"
        if node["type"] in ("mqtt in", "mqtt out"):
            assert nodes[node["broker"]]["type"] == "mqtt-broker"
        if node["type"] == "mqtt in":
            assert Topics("+").kind_of(node["topic"].replace("+", "clinic-7"))
    (broker,) = (node for node in FLOW if node["type"] == "mqtt-broker")
    assert (broker["protocolVersion"], broker["cleansession"], int(broker["sessionExpiry"])) == ("5", False, 604800)
    assert next(node for node in FLOW if node.get("topic") == "leukoscope/+/summary")["qos"] == "1"


def test_the_flow_confirms_only_what_it_has_written_to_a_file() -> None:
    into = [
        (node["type"], output) for node in FLOW for output, targets in enumerate(node.get("wires", ())) if "leuko-receipt" in targets
    ]
    assert into == [("function", 1), ("file", 0)]  # the function's second output is for doubles, which were written before
