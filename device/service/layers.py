"""Which naming layer the appliance takes: activated by a person, kept with its history in the state folder, taken back by a command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from device.errors import ConfigError, StoreError
from device.settings.config import Config
from engines.bundle import Bundle, resolve
from engines.history import History, now, standing, who
from engines.naming import NamingInfo
from engines.naming.choice import layer_of

FOLDER, HISTORY = "layers", "history.json"
_AT_NEXT_START = "it is taken at the next start of the appliance: sudo systemctl restart leukoscope"


@dataclass(frozen=True)
class Event:
    """One change: `did` is "use" or "back", by whom and when. The rest is the layer that was put in use; after "back", put out of use.

    file: its copy in the folder of layers.
    """

    at: str
    did: str
    by: str
    name: str
    version: str
    digest: str
    site: bool
    file: str

    @property
    def info(self) -> NamingInfo:
        return NamingInfo(self.name, self.version, self.digest, self.site)


@dataclass(frozen=True)
class Layers:
    """The layers of one appliance. folder: where copies and history lie; events: what was done, in order."""

    folder: Path
    events: tuple[Event, ...]

    @classmethod
    def read(cls, config: Config) -> Layers:
        """Raises StoreError where the history cannot be read: another layer than the one that a person chose must not name cells."""
        folder = config.device.state_dir / FOLDER
        return cls(folder, _history(folder).read("remove it and activate the layer anew"))

    @property
    def in_use(self) -> tuple[Event, ...]:
        """The layers that were activated and not taken back, the one in use last."""
        return standing(self.events)

    def with_event(self, event: Event) -> Layers:
        """The history with one event more, on the disk too. Raises StoreError."""
        changed = Layers(self.folder, (*self.events, event))
        _history(self.folder).write(changed.events)
        return changed


def chosen_layer(config: Config) -> Path | None:
    """The layer in place of the bundle's own: the configuration's, else the one that was activated; None: the bundle's own.

    Raises StoreError where the history cannot be read.
    """
    if config.engine.layer is not None:
        return config.engine.layer
    layers = Layers.read(config)
    return layers.folder / layers.in_use[-1].file if layers.in_use else None


def use(config: Config, file: Path) -> str:
    """Activate the layer in `file`, of which a copy is kept; returns what was done. Raises ConfigError, StoreError, and BundleError for
    a layer that does not belong to the bundle."""
    _not_by_configuration(config)
    layer = layer_of(Bundle.open(resolve(config.engine.bundle)), file)
    assert layer is not None
    layers = Layers.read(config)
    before = layers.in_use
    if before and before[-1].digest == layer.digest:
        return f"{layer.info.label} is in use already"
    copy = f"{layer.digest[:16]}.npz"
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    _history(layers.folder).keep(layers.folder / copy, content)
    layers.with_event(_event("use", layer.info, copy))
    return f"{layer.info.label} is activated, in place of {_label(before)}; {_AT_NEXT_START}"


def back(config: Config) -> str:
    """Take the layer in use back, to the one before it; returns what was done. Raises ConfigError where none was activated."""
    _not_by_configuration(config)
    layers = Layers.read(config)
    if not layers.in_use:
        raise ConfigError("no layer was activated, so there is none to take back; the bundle's own names cells")
    gone = layers.in_use[-1]
    left = layers.with_event(_event("back", gone.info, gone.file)).in_use
    return f"{gone.info.label} is taken back; {_label(left)} is activated; {_AT_NEXT_START}"


def show(config: Config) -> str:
    """What is in use, and every change so far, a line each."""
    path = config.engine.layer
    layers = Layers.read(config)
    bundle = Bundle.open(resolve(config.engine.bundle), verify=False)
    layer = layer_of(bundle, chosen_layer(config))
    kind = "site layer" if layer is not None and layer.site else "layer"
    whose = f"of the configuration ({path})" if path is not None else "activated by a person" if layers.in_use else "the bundle's own"
    lines = [
        f"in use: {kind} {layer.info.label}, {whose}" if layer is not None else "in use: none; the bundle has no second look's layer"
    ]
    if layer is not None and layer.info.said:
        lines.append(layer.info.said)
    lines += [f"{each.at}  {each.did:4}  {each.info.label}  by {each.by}" for each in layers.events]
    return "\n".join(lines)


def _not_by_configuration(config: Config) -> None:
    if config.engine.layer is not None:
        raise ConfigError(f"the configuration names engine.layer: {config.engine.layer}; remove it there to choose by command")


def _event(did: str, info: NamingInfo, file: str) -> Event:
    return Event(now(), did, who(), info.name, info.version, info.digest, info.site, file)


def _label(stack: tuple[Event, ...]) -> str:
    return stack[-1].info.label if stack else "the bundle's own layer"


def _history(folder: Path) -> History[Event]:
    return History(folder / HISTORY, "events", Event, StoreError)
