"""Plans of the stand-in TensorRT for a bundle, and that stand-in installed: what tests of the loop and of the build begin with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from letterbox_host import host_kernel
from recording_cuda import Machine
from recording_tensorrt import MARK, VERSION, install

from engines.bundle import Bundle
from engines.runtime.tensorrt.driver import Device
from engines.runtime.tensorrt.library import Library
from engines.runtime.tensorrt.plan import (
    KERNEL,
    PlanKey,
    PlanRecord,
    file_of,
    graphs_of,
    key_of,
    sidecar,
)

CUBIN = b"\x7fELF a cubin that the stand-in does not look into"
DEVICE = Device("Stand-in", (8, 7), True, 8)


def machine(monkeypatch: pytest.MonkeyPatch, name: str = "tensorrt", version: str = VERSION, kernel: bool = True) -> Machine:
    """The stand-in GPU, installed; its kernel is kernel.cu built for the processor (skips without g++), or none."""
    made = Machine(host_kernel() if kernel else None)
    install(made, monkeypatch, name, version)
    return made


def key(bundle: Bundle, name: str = "tensorrt", version: str = VERSION) -> PlanKey:
    return key_of(bundle, Library(name, version, None), DEVICE)


def write_plans(folder: Path, bundle: Bundle, change: Callable[[dict[str, Any]], None] | None = None) -> Path:
    """Plans of a bundle as `attridet build` would leave them on the stand-in; `change` alters the sidecar's fields. Its path."""
    folder.mkdir(parents=True, exist_ok=True)
    its_key = key(bundle)
    contents = {role: MARK + graph.read_bytes() for role, graph in graphs_of(bundle).items()} | {KERNEL: CUBIN}
    files = {}
    for role, content in contents.items():
        files[role] = file_of(bundle.manifest.name, its_key, role, content)
        (folder / files[role].name).write_bytes(content)
    fields: dict[str, Any] = {
        "bundle": bundle.manifest.name,
        "bundle_version": bundle.manifest.version,
        "bundle_digest": bundle.digest,
        "key": its_key,
        "digest": its_key.digest,
        "files": files,
        "built": "2026-01-01T00:00:00+00:00",
        "seconds": 1.0,
        "built_by": "a test",
        "gpu": DEVICE.name,
        "workspace_bytes": 0,
        "golden": True,
    }
    if change is not None:
        change(fields)
    path = sidecar(folder, bundle.manifest.name, its_key)
    path.write_bytes(PlanRecord(**fields).to_json())
    return path
