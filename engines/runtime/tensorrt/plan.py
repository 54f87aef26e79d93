"""A plan on disk: what it depends on, how it is found, and everything that is checked before TensorRT sees a byte of it.

A plan is a bundle's graphs compiled for one GPU and one TensorRT, and the letterbox kernel compiled for that GPU: a file each, and
a sidecar that names them with their hashes. The sidecar is written last, so it is the whole plan or there is none.
`engines.build_plans` writes them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from engines.bundle import Bundle
from engines.errors import RuntimeUnavailableError
from engines.manifest import FileRecord
from engines.provenance import Record
from engines.runtime.tensorrt.board import l4t_release
from engines.runtime.tensorrt.driver import Device
from engines.runtime.tensorrt.library import LIBRARIES, Library

SCHEMA_VERSION = 1
DETECTOR, ATTRIBUTES, CELLS, KERNEL = "detector", "attributes", "cells", "kernel"
ROLES = (DETECTOR, ATTRIBUTES, CELLS, KERNEL)
"""What a plan has files of; of the cells' graph only where the bundle has a second look."""
FLAGS = {"network": "strongly typed", "tf32": "off"}
"""How graphs are compiled: types are the ONNX file's own, and float32 is float32 (TF32's 10 bits move boxes)."""
WEAKLY = {**FLAGS, "network": "weakly typed where it was refused strongly typed"}
"""How, where TensorRT refuses a graph so (10.3 may); the sidecar names the graphs and the reasons."""
KERNEL_SOURCE = Path(__file__).with_name("kernel.cu")


class PlanKey(Record):
    """Everything that a plan depends on; another value of any is another plan.

    detector, attributes, cells, kernel: sha256 of the ONNX files ("" without a second look) and of kernel.cu. library, version:
    TensorRT's. capability: of the GPU, "8.7". gpu: its name and how many multiprocessors it has: an Orin Nano and an AGX Orin are both
    8.7, and a Jetson's power mode may switch some of them off; "" in plans of before 1.1. l4t: Jetson Linux's release, or "".
    """

    detector: str
    attributes: str
    kernel: str
    library: str
    version: str
    capability: str
    l4t: str
    flags: dict[str, str]
    cells: str = ""
    gpu: str = ""

    @property
    def digest(self) -> str:
        """sha256 of all of it, hex; without a second look, or a GPU's name, what it was before there was one."""
        fields = self.model_dump(exclude={name for name in ("cells", "gpu") if not getattr(self, name)})
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    @property
    def weakly(self) -> PlanKey:
        """The key of the same plan, some graph of it built weakly typed."""
        return self.model_copy(update={"flags": dict(WEAKLY)})

    @property
    def roles(self) -> frozenset[str]:
        """Those of `ROLES` that the plan has."""
        return frozenset(ROLES) - (frozenset() if self.cells else {CELLS})

    def differences(self, other: PlanKey) -> str:
        """What is otherwise there, in words: "TensorRT 10.3.0, here 10.16.2"."""
        library = LIBRARIES.get(other.library, other.library)
        words = {
            "detector": "another detector",
            "attributes": "another attribute graph",
            "cells": f"a bundle with{'' if other.cells else 'out'} a second look"
            if not (self.cells and other.cells)
            else "another second look",
            "kernel": "another version of leukoscope",
            "flags": "other settings",
            "library": library,
            "version": f"{library} {other.version}, here {self.version}",
            "capability": f"a GPU of compute capability {other.capability}, here {self.capability}",
            "gpu": f"{other.gpu or 'any GPU of that capability'}, here {self.gpu or 'an unknown one'}",
            "l4t": f"Jetson Linux {other.l4t or 'none'}, here {self.l4t or 'none'}",
        }
        return "; ".join(text for field, text in words.items() if getattr(self, field) != getattr(other, field))


class PlanFile(FileRecord):
    """One file of a plan, next to its sidecar: name, size and sha256."""

    name: str = Field(pattern=r"^[\w.-]+$")


class PlanRecord(Record):
    """The sidecar. bundle: the name of the engine folder; its version and digest as of the build. built: UTC. seconds: building took.

    precision: of that folder; written only where it is not fp32, so that an older program, to which a box went back, reads the others.
    built_by: program, machine, and the package that spoke to CUDA. gpu: its name. power_mode: of a Jetson. golden: the golden picture
    was answered before this was kept.
    weakly_typed: by role, why TensorRT refused the graph strongly typed; written only where there is one, for the same reason.
    """

    schema_version: int = SCHEMA_VERSION
    bundle: str
    bundle_version: str
    bundle_digest: str
    precision: str = "fp32"
    key: PlanKey
    digest: str
    files: dict[str, PlanFile]
    built: str
    seconds: float
    built_by: str
    gpu: str
    power_mode: str = ""
    workspace_bytes: int
    golden: bool
    weakly_typed: dict[str, str] = Field(default_factory=dict)

    @property
    def lineage(self) -> tuple[str, str]:
        """Of which engine folder it is a version, whatever its graphs: float, FP16 and INT8 of one network bear the same name."""
        return self.bundle, self.precision

    def to_json(self) -> bytes:
        """The sidecar's content."""
        left_out = {name for name, usual in (("precision", "fp32"), ("weakly_typed", {})) if getattr(self, name) == usual}
        fields = self.model_dump(mode="json", exclude=left_out)
        return (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True, eq=False)
class Plan:
    """A plan that may be deserialised: its sidecar fits this device and its files have the hashes that it names."""

    record: PlanRecord
    contents: dict[str, bytes]


def graphs_of(bundle: Bundle) -> dict[str, Path]:
    """The ONNX files that a plan is compiled from, by role; of the attribute graphs the largest."""
    graphs = {DETECTOR: bundle.detector_path, ATTRIBUTES: bundle.attribute_graph(largest=True)[0]}
    return graphs if bundle.manifest.second_look is None else graphs | {CELLS: bundle.second_look()[0]}


def key_of(bundle: Bundle, library: Library, device: Device, l4t: str | None = None) -> PlanKey:
    """What a plan of this bundle depends on here. l4t: instead of what the board says."""
    hashes = {role: bundle.manifest.files[graph.name].sha256 for role, graph in graphs_of(bundle).items()}
    return PlanKey(
        **hashes,
        kernel=sha256(KERNEL_SOURCE.read_bytes()),
        library=library.name,
        version=library.version,
        capability=".".join(map(str, device.capability)),
        gpu=f"{device.name} with {device.multiprocessors} multiprocessors",
        l4t=l4t_release() if l4t is None else l4t,
        flags=dict(FLAGS),
    )


def sidecar(folder: Path, bundle: str, key: PlanKey) -> Path:
    """Where the sidecar of a plan lies: the key is in the name."""
    return folder / f"{bundle}-{key.digest[:16]}.json"


def file_of(bundle: str, key: PlanKey, role: str, content: bytes) -> PlanFile:
    """A file of a plan. Its content is in the name: a new one never takes an old one's place before its sidecar does."""
    digest = sha256(content)
    name = f"{bundle}-{key.digest[:16]}.{role}-{digest[:8]}.{'cubin' if role == KERNEL else 'plan'}"
    return PlanFile(name=name, bytes=len(content), sha256=digest)


def read_plan(folder: Path, bundle: Bundle, key: PlanKey) -> Plan:
    """The plan of a bundle for this device, strongly typed or, where that was refused, weakly.

    Raises RuntimeUnavailableError that says what is wrong and how to build it.

    Sidecar, key, sizes and hashes are checked here, before anything is deserialised: TensorRT trusts a plan as it trusts code.
    """
    again = f"Run: attridet build {bundle.path} --plans {folder} --runtime {key.library}"

    def refused(file: Path, fault: str) -> RuntimeUnavailableError:
        return RuntimeUnavailableError(f"{file}: {fault}. {again} --force")

    path = sidecar(folder, bundle.manifest.name, key)
    if not path.is_file() and (weak := sidecar(folder, bundle.manifest.name, key.weakly)).is_file():
        key, path = key.weakly, weak
    if not path.is_file():
        lineage = (bundle.manifest.name, bundle.manifest.precision)
        name = " ".join(lineage).removesuffix(" fp32")
        others = [record for _, record in sidecars(folder) if record.lineage == lineage]
        near = max(others, key=lambda record: (record.key.library == key.library, record.built), default=None)
        reason = f"the one that is there was built for {key.differences(near.key)}" if near else "none was built there yet"
        raise RuntimeUnavailableError(f"{folder}: has no plan of {name} for this device: {reason}. {again}")
    try:
        record = PlanRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise refused(path, f"cannot be read ({str(error).splitlines()[0]})") from error
    if record.key != key or record.digest != key.digest:
        words = key.differences(record.key) or "its digest is not that of its key"
        raise refused(path, f"does not belong to its name ({words})")
    if set(record.files) != key.roles:
        raise refused(path, f"names {', '.join(record.files)}, expected {', '.join(role for role in ROLES if role in key.roles)}")
    contents = {}
    for role, file in record.files.items():
        try:
            contents[role] = (folder / file.name).read_bytes()
        except OSError as error:
            raise refused(folder / file.name, f"cannot be read ({error.strerror})") from error
        if sha256(contents[role]) != file.sha256:
            raise refused(folder / file.name, "altered or incomplete (its sha256 is not the sidecar's)")
    return Plan(record, contents)


def sidecars(folder: Path) -> list[tuple[Path, PlanRecord]]:
    """The sidecars of a folder that can be read, by name."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append((path, PlanRecord.model_validate_json(path.read_bytes())))
        except (OSError, ValidationError):
            continue
    return found


def sha256(content: bytes) -> str:
    """sha256, hex."""
    return hashlib.sha256(content).hexdigest()
