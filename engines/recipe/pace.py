"""The pace of every network that a plan trains, on this machine, and what of it is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engines.errors import DataError
from engines.options import Request

if TYPE_CHECKING:
    from engines.training.pace import NetworkPace

_WHOLE_INPUT = 640
"""Side at which weights are evaluated and bundles look, unless told otherwise."""


@dataclass(frozen=True)
class Pace:
    """networks: by family, size and side of a training picture. words: how it was measured, or why it was not."""

    networks: Mapping[tuple[str, str, int], NetworkPace]
    words: str

    def network(self, asked: Any) -> NetworkPace | None:
        """Of a request that trains, else of the largest network of the plan."""
        if (key := _key(asked)) is not None:
            return self.networks.get(key)
        return max(self.networks.values(), key=lambda one: one.parameters, default=None)

    def look_s(self, asked: Any) -> float | None:
        """Seconds of a look at a whole picture."""
        network = self.network(None)
        if network is None:
            return None
        side = max(key[2] for key, one in self.networks.items() if one is network)
        wanted = getattr(asked, "side_px", None) or _WHOLE_INPUT
        return network.look_s * (wanted / side) ** 2


def measured_pace(requests: Sequence[Request], device: str, threads: int) -> Pace:
    """One training step of each network, made now."""
    keys = dict.fromkeys(key for one in requests if (key := _key(one)) is not None)
    if not keys:
        return Pace({}, "The plan trains nothing, so no time was measured.")
    try:
        from engines.training.pace import network_pace

        networks, not_told = {}, []
        for key in keys:
            try:
                networks[key] = network_pace(key[1], key[2], device, threads, key[0])
            except DataError:  # a family that is built on a trained network cannot be measured before there is one
                not_told.append(key[0])
    except ModuleNotFoundError as error:
        return Pace({}, f"No minutes: {error.name} is not installed (pip install 'leukoscope[train]').")
    except (RuntimeError, AssertionError) as error:  # torch without this device
        return Pace({}, f"No minutes: {str(error).splitlines()[0]}")
    told = "; ".join(
        f"{name}{f' {size}' if size else ''} at {side} px {one.train_s:.3f} s a picture" for (name, size, side), one in networks.items()
    )
    told += f"; not measured: {', '.join(not_told)}" if not_told else ""
    return Pace(networks, f"Measured now on {device}, {threads} threads, one training step each: {told}. A busy machine takes longer.")


def _key(asked: Any) -> tuple[str, str, int] | None:
    if not hasattr(asked, "imgsz"):
        return None
    return getattr(asked, "family", None) or "attridet", asked.size or "", asked.imgsz
