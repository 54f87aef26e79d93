"""The configuration file: what is refused, in which words and at which line; what the example promises."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from device.cli import call
from device.errors import ConfigError
from device.settings.config import SIMULATED_CASES, Config, ReplayCamera, SimulatorCamera, V4l2Camera
from device.settings.config_file import EXAMPLE, describe, load_config, parse_config, write_example
from device.settings.config_words import CAMERAS, expected, section_models
from engines.film import CASES

FOLDER = Path("/etc/leukoscope")
SIMULATOR = "camera: {kind: simulator}\n"


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "device.yaml", FOLDER)
    return str(caught.value).splitlines()


def fault(text: str) -> str:
    found = faults(text)
    assert len(found) == 1, found
    return found[0]


def test_smallest_file_gives_the_defaults() -> None:
    config = parse_config(SIMULATOR, "device.yaml", FOLDER)
    assert config == Config(camera=SimulatorCamera(kind="simulator"))


def test_every_fault_is_named_at_its_line_in_the_order_of_the_file() -> None:
    text = "camera:\n  kind: v4l2\n  devcie: /dev/video0\nbroker:\n  port: 70000\n  hots: box\nslide: {target_cells: many}\n"
    assert faults(text) == [
        "device.yaml:3: camera.devcie: unknown key; did you mean 'device'?",
        "device.yaml:5: broker.port: expected a whole number from 1 to 65535, got 70000",
        "device.yaml:6: broker.hots: unknown key; did you mean 'host'?",
        "device.yaml:7: slide.target_cells: expected a whole number from 1 to 100000, got 'many'",
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "the file is empty"),
        ("# only a comment\n", 1, "the file is empty"),
        ("- camera\n", 1, "not a list"),
        ("camera\n", 1, "not 'camera'"),
        ("camera:\n\tkind: v4l2\n", 2, "a tab stands here"),
        ("camera:\n  kind: replay\n source: x\n", 3, "indentation"),
        ("camera: {kind: replay, source: 'x}\n\n\n", 1, "quotation mark"),
        ("device: {id: a: b}\n", 1, "parted by"),
        ("device: a: b\n", 1, "a ':' stands where none may be"),
        ("camera: {kind: replay, source: @x}\n", 1, "must stand in quotes"),
        ("camera: {kind: simulator}\n---\ncamera: {}\n", 2, "a second document"),
        ("camera:\n  kind: repl\x00ay\n", 2, "U+0000"),
        ("camera: " + "[" * 3000, 1, "nested too deeply"),
        ("{{{", 1, "not YAML"),
        ("camera:\n", 1, "camera: empty; expected, indented below it: 'kind'"),
        ("camera:\n  kind:simulator\n", 1, "a space is missing after ':'"),
        ("device: {id: a}\n", 1, "camera: missing; a configuration says at least which camera"),
        ("device: {id: a}\ncamera: {source: x}\n", 2, "camera.kind: missing; expected one of v4l2, picamera2, replay, simulator"),
        ("camera: {kind: v4l2}\n", 1, "camera.device: missing; kind 'v4l2' needs it"),
    ],
)
def test_what_cannot_be_read_at_all(text: str, line: int, words: str) -> None:
    message = fault(text)
    assert message.startswith(f"device.yaml:{line}: ")
    assert words in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "camera: {kind: reply, source: x}",
            "camera.kind: expected one of v4l2, picamera2, replay, simulator, got 'reply'; did you mean 'replay'?",
        ),
        ("camera: {kind: 5}", "camera.kind: expected one of"),
        ("camera: {kind: simulator, device: /dev/video0}", "unknown key for kind 'simulator'; it belongs to kind 'v4l2'"),
        (SIMULATOR + "bundle: x", "bundle: unknown key here; it belongs to section 'engine'"),
        (SIMULATOR + "device: {port: 1}", "device.port: unknown key here; it belongs to section 'broker'"),
        (SIMULATOR + "engine: {Threads: 1}", "did you mean 'threads'?"),
        (SIMULATOR + "engine: {zzz: 1}", "known here: bundle, runtime"),
        (
            SIMULATOR + "engine: {runtime: onxx}",
            "expected one of auto, onnx, openvino, tensorrt, tensorrt_rtx, got 'onxx'; did you mean 'onnx'?",
        ),
        (SIMULATOR + "log_level: INFO", "got 'INFO'; did you mean 'info'?"),
        (SIMULATOR + "microscope: {objective: 60}", "expected one of 10, 40, 100, got 60"),
        (SIMULATOR + "microscope: {objective: '40'}", "got '40'; write it without quotes"),
        (SIMULATOR + "record: [1]", "record: expected a section, not 'a list'"),
        (SIMULATOR + "record: 5", "record: expected a section, not '5'"),
        (SIMULATOR + "device: {id: my box}", "expected 1 to 64 letters, digits"),
        (SIMULATOR + "device: {id: a/b}", "expected 1 to 64 letters, digits"),
        (SIMULATOR + "device: {id: [a]}", "got a list"),
        (SIMULATOR + "slide: {moved_share: .nan}", "expected a number from 0 to 1, got .nan"),
        (SIMULATOR + "slide: {moved_share: -0.1}", "expected a number from 0 to 1, got -0.1"),
        (SIMULATOR + "slide: {rest_frames: 2.0}", "expected a whole number from 2 to 100, got 2.0; write 2"),
        (SIMULATOR + "slide: {rest_frames: }", "got nothing; or remove the line for the default"),
        (SIMULATOR + "display: {kind: file}", "display: kind 'file' needs 'directory'"),
        (SIMULATOR + "display: {period_s: 0}", "expected a number above 0, got 0"),
        (SIMULATOR + "broker: {ca_file: x}", "nothing would be encrypted"),
        (SIMULATOR + "broker: {password_file: x}", "'password_file' needs 'username'"),
        (SIMULATOR + "broker: {topic_root: a/#}", "must be a topic without"),
        (SIMULATOR + "broker: {host: ''}", "broker.host: expected text, got nothing"),
        ("camera: {kind: v4l2, device: x, fourcc: MJPEG}", "expected text of 4 characters, got 'MJPEG'"),
        ("camera: {kind: v4l2, device: x, exposure_us: 0}", "expected a whole number above 0, got 0"),
    ],
)
def test_wrong_keys_and_values(text: str, words: str) -> None:
    assert words in fault(text)


@pytest.mark.parametrize(
    "host",
    ["localhost:1883", "mqtt://broker.example", " broker ", "broker ", "[::1]", "[::1]:1883", "me@broker", "broker/path", "a..b", "::g",
     "-broker", "broker:", "10.0.0.1:1883", "a,b", "a\\tb"],
)  # fmt: skip
def test_a_broker_is_a_host_name_alone(host: str) -> None:
    words = "device.yaml:3: broker.host: a host name only; the port stands in broker.port, TLS in broker.tls"
    assert fault(SIMULATOR + f'broker:\n  host: "{host}"\n') == words


@pytest.mark.parametrize("words", [[], ["slide"]])
def test_without_a_command_the_help_is_printed_and_the_exit_code_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(words) == 2
    assert capsys.readouterr().out.startswith(f"Usage: {' '.join(['leukoscope', *words])} COMMAND")
    assert call([*words, "--help"]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--host", "mqtt://broker"), "--host: a host name only; the port stands in --port, TLS in --tls"),
        (("--ca-file", "x"), "'ca_file' is given but 'tls' is false"),
        (("--topic-root", "a/#"), "--topic-root: must be a topic without"),
    ],
)
def test_watch_says_wrong_options_in_one_line(options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["watch", *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"leukoscope: {words}") and said.count("\n") == 1


@pytest.mark.parametrize(
    "host", ["localhost", "10.0.0.7", "broker.clinic.example.", "mqtt_1", "b-1", "::1", "fe80::1%eth0", "klinik-münchen"]
)
def test_hosts_that_are_names_or_addresses(host: str) -> None:
    assert parse_config(SIMULATOR + f'broker: {{host: "{host}"}}', "device.yaml", FOLDER).broker.host == host


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("camera: {kind: replay, source: no}", "YAML reads no as false: put text in quotes, 'no'"),
        ("camera: {kind: replay, source: 5}", "YAML reads 5 as a number: put text in quotes, '5'"),
        (SIMULATOR + "broker: {protocol: 5}", "YAML reads 5 as a number: put text in quotes, '5'"),
        (SIMULATOR + "display: {directory: 5}", "YAML reads 5 as a number"),
        (SIMULATOR + "engine: {threads: 010}", "YAML reads 010 as octal, that is 8"),
        (SIMULATOR + "engine: {threads: 08}", "a number does not begin with 0: 8"),
        (SIMULATOR + "engine: {threads: yes}", "expected a whole number from 1 to 64, got yes"),
        (SIMULATOR + "engine: {threads: 2 cores}", "write the number alone: 2"),
        (SIMULATOR + "display: {period_s: 1:30}", "YAML reads 1:30 as a number to the base of sixty"),
        (SIMULATOR + "display:\n  period_s: 0,5", "a decimal point, not a comma: 0.5"),
        (SIMULATOR + "display: {period_s: 1e1}", "write it out: 10"),
        (SIMULATOR + "display: {fullscreen: 1}", "expected true or false, got 1"),
        (SIMULATOR + "display: {fullscreen: ture}", "did you mean 'true'?"),
        (SIMULATOR + "device: {id: !secret x}", "tags are not used here; remove '!secret'"),
        (SIMULATOR + "device: {id: !!python/name:os.system x}", "remove '!!python/name:os.system'"),
        (SIMULATOR + "device: &d {id: x}\nslide: *d", "slide: '&name' and '*name' are not used here"),
        (SIMULATOR + "? [a, b]\n: 3", "a key must be plain text"),
        (SIMULATOR + "on: 1", "on: unknown key"),
        (SIMULATOR + "<<: {log_level: info}", "<<: unknown key"),
    ],
)
def test_what_yaml_reads_otherwise_than_meant(text: str, words: str) -> None:
    assert words in fault(text)


def test_the_simulators_cases_are_the_films() -> None:
    assert set(SIMULATED_CASES) == set(CASES)
    assert fault("camera: {kind: simulator, case: aml}") == (
        "device.yaml:1: camera.case: expected one of AML, ALL, APML, CLL, CML, normal, mixed, got 'aml'"
    )


def test_a_key_given_twice_names_the_first_line_too() -> None:
    assert (
        fault(SIMULATOR + "log_level: info\nlog_level: debug\n") == "device.yaml:3: log_level: given twice, first on line 2; keep one"
    )


def test_a_section_whose_keys_are_all_commented_out_has_its_defaults() -> None:
    assert parse_config(SIMULATOR + "broker:\n  # port: 1\n", "x", FOLDER) == parse_config(SIMULATOR, "x", FOLDER)


def test_dates_are_text() -> None:
    assert parse_config(SIMULATOR + "device: {id: 2026-01-31}", "x", FOLDER).device.id == "2026-01-31"


def test_secrets_are_never_repeated() -> None:
    text = "camera: {kind: replay, source: rtsp://a:hunter2@cam/x, fps: rtsp://a:hunter2@cam/x}\n"
    text += "broker: {password: hunter2, password_file: 5}\n"
    found = "\n".join(faults(text))
    assert "named by 'password_file'" in found
    assert "hunter2" not in found
    assert "rtsp://***@cam/x" in found


def test_relative_paths_are_taken_from_the_files_folder() -> None:
    text = """
camera: {kind: replay, source: pictures}
device: {state_dir: state}
engine: {bundle: ../bundles/mine}
microscope: {profile: mine.yaml}
display: {kind: file, directory: ~/screens}
record: {path: /data/record.sqlite}
broker: {username: a, password_file: broker.password, tls: true, ca_file: ca.pem}
"""
    config = parse_config(text, "device.yaml", FOLDER)
    assert isinstance(config.camera, ReplayCamera)
    assert config.camera.source == "/etc/leukoscope/pictures"
    assert config.device.state_dir == FOLDER / "state"
    assert config.control_path == FOLDER / "state/control.sock"
    assert config.engine.bundle == "/etc/leukoscope/../bundles/mine"
    assert config.microscope.profile == "/etc/leukoscope/mine.yaml"
    assert config.display.directory == Path.home() / "screens"
    assert config.record_path == Path("/data/record.sqlite")
    assert config.broker.password_file == FOLDER / "broker.password"
    assert config.broker.ca_file == FOLDER / "ca.pem"


@pytest.mark.parametrize("source", ["rtsp://camera/stream", "http://a/b.m3u8"])
def test_addresses_and_shipped_names_are_no_paths(source: str) -> None:
    config = parse_config(f"camera: {{kind: replay, source: '{source}'}}", "x", FOLDER)
    assert isinstance(config.camera, ReplayCamera)
    assert config.camera.source == source
    assert config.engine.bundle == "zoo:attridet-n"
    assert config.microscope.profile == "zzcat-5mp"


def _folder(path: Path) -> None:
    path.mkdir()


def _latin1(path: Path) -> None:
    path.write_bytes(b"# one\n# caf\xe9\ncamera: {kind: simulator}\n")


def _film(path: Path) -> None:
    path.write_bytes(bytes(2 << 20))


def _near(path: Path) -> None:
    path.with_name("devise.yaml").write_text(SIMULATOR)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no such file; `leukoscope example-config "),
        (_near, "did you mean"),
        (_folder, "a folder, not a configuration file"),
        (_latin1, "2: not UTF-8 text (byte 0xe9); save the file as UTF-8"),
        (_film, "larger than 1 MiB"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    path = tmp_path / "device.yaml"
    make(path)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "device.yaml"
    path.write_text(SIMULATOR)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may read everything, nobody may not
    try:
        with pytest.raises(ConfigError, match="may not be read by this user"):
            load_config(path)
    finally:
        os.seteuid(user)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "device.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SIMULATOR.encode())
    assert load_config(path).camera.kind == "simulator"


def test_describe_can_be_read_again_and_says_everything() -> None:
    text = "camera: {kind: v4l2, device: 'no'}\ndevice: {id: '007', state_dir: /srv/x}\nbroker: {protocol: '5', username: 'yes'}\n"
    config = parse_config(text, "x", FOLDER)
    told = describe(config)
    assert parse_config(told.replace(": null\n", ": ~\n"), "x", FOLDER) == config
    for name, models in section_models().items():
        keys = V4l2Camera.model_fields if name == "camera" else models[0].model_fields
        assert set(yaml.safe_load(told)[name]) == set(keys)


def test_describe_masks_a_streams_password() -> None:
    told = describe(Config(camera=ReplayCamera(kind="replay", source="rtsp://user:hunter2@camera/1")))
    assert "hunter2" not in told
    assert "rtsp://***@camera/1" in told


@settings(max_examples=50)
@given(st.text(max_size=80))
def test_no_text_leads_to_any_other_exception(text: str) -> None:
    try:
        parse_config(text, "device.yaml", FOLDER)
    except ConfigError as error:
        assert all(re.match(r"device\.yaml:\d+: .", line) for line in str(error).splitlines())


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6) | st.sampled_from(["kind", "device", "port"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.sampled_from([*CAMERAS, "cam"]), st.dictionaries(st.sampled_from([*Config.model_fields, "other"]), _values), _values)
def test_no_structure_leads_to_any_other_exception(kind: str, data: dict[str, object], value: object) -> None:
    camera = data.get("camera")
    if isinstance(camera, dict):
        data["camera"] = {**camera, "kind": kind, "source": value}
    text = yaml.safe_dump(data)
    try:
        parse_config(text, "device.yaml", FOLDER)
    except ConfigError as error:
        assert all(re.match(r"device\.yaml:\d+: .", line) for line in str(error).splitlines()), text


def test_every_key_says_in_plain_words_what_it_takes() -> None:
    for models in section_models().values():
        for model in models:
            for key in model.model_fields:
                assert expected(model, key) not in ("", "a value", "a section of keys"), f"{model.__name__}.{key}"
    assert expected(CAMERAS["v4l2"], "gain") == "a number at least 0"
    assert expected(section_models()["engine"][0], "score_threshold") == "a number above 0, below 1"


def _examples() -> dict[str, tuple[str, dict[str, dict[str, object]]]]:
    """The shipped example once for every camera kind, with every key behind '#' set: its text and its data."""
    text = re.sub(r"^(\s*)#(?=[\w ]*\w+:( |$))", r"\1", EXAMPLE.read_text(encoding="utf-8"), flags=re.M)
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    cameras = re.findall(r"^camera:.*\n(?:^ .*\n|^\n)+", text, flags=re.M)
    rest = text
    for camera in cameras:
        rest = rest.replace(camera, "")
    found = {}
    for camera in cameras:
        data = yaml.safe_load(camera + rest)
        found[str(data["camera"]["kind"])] = (camera + rest, data)
    return found


def test_the_example_is_written_as_it_is_and_loads(tmp_path: Path) -> None:
    path = tmp_path / "device.yaml"
    write_example(path)
    assert path.read_bytes() == EXAMPLE.read_bytes()
    assert load_config(path).camera.kind == "v4l2"
    path.write_text(SIMULATOR)
    with pytest.raises(ConfigError, match="is there already and is left as it is"):
        write_example(path)
    assert path.read_text() == SIMULATOR
    with pytest.raises(ConfigError, match="cannot be written"):
        write_example(tmp_path / "absent" / "device.yaml")


@pytest.mark.parametrize("kind", CAMERAS)
def test_the_example_shows_every_key_with_its_default(kind: str) -> None:
    text, data = _examples()[kind]
    by_others = {
        "password_credential",
        "ca_file",
        "cert_file",
        "key_file",
        "key_password_file",
    }  # want tls, which the example leaves off
    for key in by_others:
        text = re.sub(rf"^  {key}: \S+", "", text, flags=re.MULTILINE)
        data["broker"].pop(key)
    parse_config(text, "device.example.yaml", FOLDER)
    models = {name: CAMERAS[kind] if name == "camera" else found[0] for name, found in section_models().items()}
    assert set(data) == set(Config.model_fields)
    for name, model in models.items():
        assert set(data[name]) == set(model.model_fields) - (by_others if name == "broker" else set()), name
        for key, info in model.model_fields.items():
            if not info.is_required() and info.default is not None:
                default = list(info.default) if isinstance(info.default, tuple) else info.default
                assert str(data[name][key]) == str(default), f"{name}.{key}"
