"""One engine on one machine, in a process of its own: golden picture, latency over many frames, memory, temperatures, gate."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from engines.bundle import Bundle
from engines.data.leukemiaattri import read_split
from engines.detections import Image
from engines.errors import EnginesError
from engines.gate.measure import check_comparable, compare, measure
from engines.runtime.engine import BundleEngine
from engines.runtime.factory import open_engine
from engines.runtime.tensorrt.board import power_mode, process_bytes

FRAME_HW = (1080, 1920)
WARM_UP = 20
SAMPLES = 10
THERMAL = Path("/sys/class/thermal")


@dataclass(frozen=True)
class Wish:
    """What is measured: paths and names as text, so that another process takes it."""

    bundle: str
    reference: str
    runtime: str
    plans: str
    data: str
    split: str
    fields: int
    frames: int
    threads: int


def measured(wish: Wish) -> dict[str, Any]:
    """All numbers of one engine. Raises EnginesError where it does not open or run; a gate that cannot be judged says why instead."""
    bundle = Bundle.open(wish.bundle)
    before = process_bytes()
    engine = open_engine(wish.bundle, wish.runtime, wish.threads, verify=False, ungated=True, plans=Path(wish.plans))
    with engine:
        numbers: dict[str, Any] = {
            "bundle": bundle.manifest.name,
            "digest": bundle.digest,
            "runtime": engine.info.runtime,
            "precision": engine.info.precision,
            "golden_fault": engine.golden_fault() or "",
        }
        numbers |= _latency(engine, frame_of(bundle), wish.frames, before)
        numbers["gate"] = _gate(engine, wish)
    return numbers


def frame_of(bundle: Bundle) -> Image:
    """A 1080p frame laid with golden pictures, so that there is something to find; grey without one."""
    golden = bundle.golden()
    if golden is None:
        return np.full((*FRAME_HW, 3), 200, np.uint8)
    times = [-(-wanted // has) for wanted, has in zip(FRAME_HW, golden[0].shape, strict=False)]
    return np.ascontiguousarray(np.tile(golden[0], (*times, 1))[: FRAME_HW[0], : FRAME_HW[1]])


def temperatures(root: Path = THERMAL) -> dict[str, float]:
    """Degrees Celsius by thermal zone; a zone that is asleep is left out."""
    found: dict[str, float] = {}
    for zone in sorted(root.glob("thermal_zone*")):
        try:
            found[(zone / "type").read_text().strip()] = int((zone / "temp").read_text()) / 1000
        except (OSError, ValueError):
            continue
    return found


def _latency(engine: BundleEngine, frame: Image, frames: int, before: dict[str, int]) -> dict[str, Any]:
    for _ in range(min(WARM_UP, frames)):
        engine.infer(frame)
    opened, spent, stages = process_bytes(), np.empty(frames), dict[str, list[float]]()
    heat = [temperatures()]
    for done in range(frames):
        start = perf_counter()
        found = engine.infer(frame)
        spent[done] = 1e3 * (perf_counter() - start)
        for name, value in found.timings_ms.items():
            stages.setdefault(name, []).append(value)
        if (done + 1) % max(1, frames // SAMPLES) == 0:
            heat.append(temperatures())
            sys.stderr.write(f"  {engine.info.label}: {done + 1} of {frames} frames\n")
    after = process_bytes()
    kept = ("Rss", "Pss", "Anonymous", "Swap")
    return {
        "frames": frames,
        "cells_in_frame": len(found.detections),
        "frame_ms": _percentiles(spent),
        "stages_ms": {name: _percentiles(np.array(values)) for name, values in stages.items()},
        "frames_per_s": 1e3 * frames / float(spent.sum()),
        "nvpmodel": power_mode(),
        "temperatures_c": heat,
        "process_mib": {
            when: {name: round(values[name] / 2**20, 1) for name in kept if name in values}
            for when, values in (("before", before), ("warm", opened), ("after", after))
        },
        "held_by_our_loop_mib": round(_held_bytes(engine) / 2**20, 1),
    }


def _held_bytes(engine: BundleEngine) -> int:
    """Memory that our loop holds on a GPU and pinned; 0 for a runtime without."""
    from engines.runtime.tensorrt.engine import TensorrtEngine

    return engine.held_bytes if isinstance(engine, TensorrtEngine) else 0


def _percentiles(spent_ms: np.ndarray[Any, Any]) -> dict[str, float]:
    shares = {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "max": 100}
    return {name: round(float(np.percentile(spent_ms, share)), 3) for name, share in shares.items()}


def _gate(engine: BundleEngine, wish: Wish) -> dict[str, Any]:
    """The gate's record, not kept in any manifest: which runtime a box has is no property of the shipped bundle."""
    try:
        with open_engine(wish.reference, "onnx", wish.threads) as reference:
            check_comparable(reference, engine)
            pictures = read_split(Path(wish.data), wish.split, reference.info.taxonomy)[: wish.fields]
            first = measure(reference, pictures, Path(wish.data).name, wish.split)
            result = compare(first, measure(engine, pictures, Path(wish.data).name, wish.split))
    except EnginesError as error:
        return {"not_done": f"the gate could not judge: {error}"}
    return result.record().model_dump(mode="json")
