"""Reads the YAML configuration and says, with file and line, everything that is wrong with it; the keys themselves live in `config`.

Relative paths in the file are taken from the file's own folder, and `~` is the home of whoever runs it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from device.errors import ConfigError
from device.settings.broker import BrokerSection
from device.settings.config import Config
from device.settings.config_words import CAMERAS, expected, misread, section_models, shown, without_credentials
from device.settings.section import Section
from engines.yaml_lines import Document, Fault, KeyPath, read_document

EXAMPLE = Path(__file__).with_name("device.example.yaml")
"""The configuration to begin from, which explains every key; `leukoscope example-config` gives it out."""
_SEE = "see `leukoscope example-config`"
_LARGEST_BYTES = 1 << 20  # a configuration has a few kilobytes: more is another file, named by mistake


def load_config(path: Path) -> Config:
    """Read and check the file at `path`.

    Raises ConfigError whose message has one line for every fault, `file:line: key: what is wrong and what to write instead`.
    """
    return parse_config(_read(path), str(path), path.absolute().parent)


def key_lines(path: Path) -> Callable[[KeyPath], int]:
    """Says at which line of the file a key stands, or the section around it; 1 where neither does. Raises ConfigError."""
    return read_document(_read(path)).line


def parse_config(text: str, name: str, folder: Path) -> Config:
    """Check `text` as if it were the file `name` in `folder`. Raises ConfigError as `load_config`."""
    document = read_document(text)
    faults = list(document.faults)
    config: Config | None = None
    if document.data is None and not faults:
        faults.append(Fault(1, "", f"the file is empty; at least 'camera:' is needed, {_SEE}"))
    elif isinstance(document.data, dict):
        config, found = check_data(document.data, document)
        faults += found
    elif document.data is not None:
        faults.append(Fault(1, "", f"sections such as 'camera:' are expected, not {shown(document.data)}; {_SEE}"))
    if faults or config is None:
        raise ConfigError("\n".join(f"{name}:{fault.line}: {fault}" for fault in sorted(set(faults))))
    return _with_absolute_paths(config, folder)


def check_data(data: dict[str, Any], document: Document) -> tuple[Config | None, list[Fault]]:
    """The configuration of these sections, or every fault of theirs, at the line of `document` where its key stands.

    data: what the document holds, or that and what it leaves to another file.
    """
    try:
        return Config.model_validate(_without_empty_sections(data)), []
    except ValidationError as error:
        return None, _model_faults(error, document)


def broker_from_options(**options: object) -> BrokerSection:
    """The broker that command-line options name. Raises ConfigError with one line for each option that is wrong."""
    try:
        return BrokerSection.model_validate(options)
    except ValidationError as error:
        lines = []
        for item in error.errors(include_url=False):
            text = str(item["ctx"]["error"]) if item["type"] == "value_error" else item["msg"]
            option = "".join(f"--{key}: ".replace("_", "-") for key in item["loc"])
            lines.append(option + text.replace("broker.", "--"))
        raise ConfigError("\n".join(lines)) from None


def describe(config: Config) -> str:
    """The effective configuration, defaults included, as YAML that can be read again; a password in a stream's address is masked."""
    data = config.model_dump(mode="json")
    data["camera"] = {key: without_credentials(value) if isinstance(value, str) else value for key, value in data["camera"].items()}
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000)


def write_example(path: Path) -> None:
    """Write the example configuration to `path`, which must not exist yet. Raises ConfigError."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(EXAMPLE.read_text(encoding="utf-8"))
    except FileExistsError:
        raise ConfigError(f"{path}: is there already and is left as it is; give another name") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror or error})") from error


def _read(path: Path) -> str:
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: a folder, not a configuration file; name the file in it")
        with path.open("rb") as file:
            raw = file.read(_LARGEST_BYTES + 1)
    except FileNotFoundError:
        near = _near_file(path)
        hint = f"did you mean '{near}'?" if near else f"`leukoscope example-config {path}` writes one there to be changed"
        raise ConfigError(f"{path}: no such file; {hint}") from None
    except PermissionError:
        raise ConfigError(f"{path}: may not be read by this user; check its owner and mode (ls -l)") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(raw) > _LARGEST_BYTES:
        raise ConfigError(f"{path}: larger than 1 MiB, so not a configuration; name the YAML file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text (byte 0x{raw[error.start]:02x}); save the file as UTF-8") from None


def _near_file(path: Path) -> str | None:
    names = [entry.name for entry in path.absolute().parent.glob("*") if entry.suffix in (".yaml", ".yml")]
    near = difflib.get_close_matches(path.name, names, n=1)
    return str(path.with_name(near[0])) if near else None


def _without_empty_sections(data: dict[str, Any]) -> dict[str, Any]:
    """A section whose keys are all commented out is the section with its defaults."""
    return {key: value for key, value in data.items() if value is not None or key not in Config.model_fields or key == "camera"}


def _with_absolute_paths(config: Config, folder: Path) -> Config:
    def absolute(value: str | Path) -> Path:
        try:
            return folder / Path(value).expanduser()
        except RuntimeError:  # no such user's home: whoever opens it names the path
            return folder / value

    def resolved(section: Section) -> Section:
        update: dict[str, object] = {key: absolute(value) for key, value in section if isinstance(value, Path)}
        return section.model_copy(update=update | {key: str(absolute(getattr(section, key))) for key in section.path_keys})

    return config.model_copy(update={name: resolved(section) for name, section in config if isinstance(section, Section)})


def _model_faults(error: ValidationError, document: Document) -> list[Fault]:
    """Every fault that the models find, less those that follow from another: a key already faulted, or missing because misspelt."""
    items = error.errors(include_url=False)
    unknown = [_in_file(item["loc"]) for item in items if item["type"] == "extra_forbidden"]
    misspelt = {(*path[:-1], near) for path in unknown if (near := _near_key(path, document))}
    already = {fault.key for fault in document.faults}
    kept = [item for item in items if not (item["type"] == "missing" and _in_file(item["loc"]) in misspelt)]
    return [fault for item in kept if (fault := _fault(item, document)).key not in already]


def _fault(item: Any, document: Document) -> Fault:
    """One of pydantic's errors in plain words, at its line."""
    kind, context, path = str(item["type"]), item.get("ctx", {}), _in_file(item["loc"])
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        path = (*path, "kind")
    key = ".".join(path)
    if kind in ("missing", "union_tag_not_found"):
        text = _missing(path, document)
    elif kind == "extra_forbidden":
        text = _unknown_key(path, document)
    elif kind == "value_error":
        text = str(context["error"])
    elif kind in ("model_type", "model_attributes_type"):
        text = _no_section(path, document)
    else:
        place = document.places.get(path)
        wanted = expected(_model(path[:-1], document), path[-1])
        value = context["tag"] if kind == "union_tag_invalid" else item["input"]
        text = f"expected {wanted}, got {shown(value, place, secret='password' in key)}"
        text += misread(_model(path[:-1], document), path[-1], value, place)
    return Fault(document.line(path), key, text)


def _in_file(location: tuple[int | str, ...]) -> KeyPath:
    """Pydantic's location as it stands in the file: without the camera's kind that it puts between section and key."""
    parts = tuple(str(part) for part in location)
    return (parts[0], *parts[2:]) if parts[:1] == ("camera",) and len(parts) > 1 and parts[1] in CAMERAS else parts


def _model(section: KeyPath, document: Document) -> type[BaseModel]:
    """The model of the section at this path: the whole file's for (), the camera's by the kind that is written."""
    if not section:
        return Config
    if section[0] == "camera":
        kind = document.places.get(("camera", "kind"))
        return CAMERAS.get((kind.raw or "") if kind else "", next(iter(CAMERAS.values())))
    return section_models()[section[0]][0]


def _missing(path: KeyPath, document: Document) -> str:
    if path == ("camera",):
        return f"missing; a configuration says at least which camera, with 'kind' one of {', '.join(CAMERAS)}; {_SEE}"
    wanted = expected(_model(path[:-1], document), path[-1])
    kind = document.places.get(("camera", "kind"))
    needs = f"kind '{kind.raw}' needs it; " if path[0] == "camera" and path[-1] != "kind" and kind else ""
    return f"missing; {needs}expected {wanted}"


def _kinds_with(path: KeyPath) -> list[str]:
    """The kinds of camera that know this key."""
    return [kind for kind, model in CAMERAS.items() if path[:-1] == ("camera",) and path[-1] in model.model_fields]


def _near_key(path: KeyPath, document: Document) -> str | None:
    if _kinds_with(path):
        return None  # spelt right, for another camera
    near = difflib.get_close_matches(path[-1].lower(), _model(path[:-1], document).model_fields, n=1)
    return near[0] if near else None


def _unknown_key(path: KeyPath, document: Document) -> str:
    key, known = path[-1], list(_model(path[:-1], document).model_fields)
    if key == "password":
        return "unknown key; the password stands alone in a file of its own, named by 'password_file'"
    if near := _near_key(path, document):
        return f"unknown key; did you mean '{near}'?"
    if kinds := ", ".join(f"'{kind}'" for kind in _kinds_with(path)):
        mine = document.places[("camera", "kind")].raw
        return f"unknown key for kind '{mine}'; it belongs to kind {kinds}. Keys here: {', '.join(known)}"
    homes = [name for name, models in section_models().items() if any(key in m.model_fields for m in models) and name != path[0]]
    if homes and key != "kind":
        return f"unknown key here; it belongs to section {' or '.join(repr(home) for home in homes)}"
    return f"unknown key; known here: {', '.join(known)}"


def _no_section(path: KeyPath, document: Document) -> str:
    keys = (
        f"'kind' (one of {', '.join(CAMERAS)}) and its keys" if path == ("camera",) else ", ".join(_model(path, document).model_fields)
    )
    place = document.places.get(path)
    written = place.raw if place and place.raw is not None else "a list"
    if not written:
        return f"empty; expected, indented below it: {keys}"
    hint = "; a space is missing after ':'" if re.match(r"\w+:\S", written) else ""
    return f"expected a section, not {shown(written)}; indented below it: {keys}{hint}"
