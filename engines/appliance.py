"""The engine that an appliance's configuration names, read without the daemon: what `attridet build --config` compiles.

Only the section `engine` is read, and of it four keys; `device.settings` judges all of the file. A test holds that both read the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.errors import DataError
from engines.yaml_lines import read_document

PLANS = Path("/var/lib/leukoscope/plans")
"""Where plans lie unless engine.plans says otherwise."""
AUTO = "auto"
DEFAULT_BUNDLE, DEFAULT_RUNTIME = "zoo:attridet-n", AUTO


@dataclass(frozen=True)
class NamedEngine:
    """bundle: a folder, or zoo:NAME. runtime, precision: as in the file, "auto" included. plans: folder of this device's plans."""

    bundle: str
    runtime: str
    plans: Path
    precision: str = AUTO


def named_engine(config: Path) -> NamedEngine:
    """What engine.bundle, .runtime, .plans and .precision of a device.yaml say. Raises DataError, naming file, line and key."""
    try:
        document = read_document(config.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{config}: no such file; name the appliance's configuration, or give the engine folder itself") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{config}: cannot be read ({error}); try `leukoscope check-config {config}`") from error
    if document.faults:
        fault = min(document.faults)
        raise DataError(f"{config}:{fault.line}: {fault}")
    whole = document.data if isinstance(document.data, dict) else {}
    section = whole.get("engine")
    section = section if isinstance(section, dict) else {}

    def text(key: str, default: str | None) -> str | None:
        value = section.get(key, default)
        if value is not None and not isinstance(value, str):
            raise DataError(f"{config}:{document.line(('engine', key))}: engine.{key}: expected text, got {value!r}")
        return value

    bundle = text("bundle", None) or DEFAULT_BUNDLE
    if not bundle.startswith("zoo:"):
        bundle = str(_from(config, bundle))
    plans = text("plans", None)
    runtime, precision = text("runtime", None) or DEFAULT_RUNTIME, text("precision", None) or AUTO
    return NamedEngine(bundle, runtime, PLANS if plans is None else _from(config, plans), precision)


def _from(config: Path, path: str) -> Path:
    """A path in the file; a relative one counts from the file's folder."""
    return config.parent.absolute() / Path(path).expanduser()
