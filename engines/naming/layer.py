"""A naming layer: one linear layer on the features of the second look, calibrated, and the thresholds from which it names.

Of N cells it says how probable it is that the box holds a white cell, a blast or equivalent, and each type; a type's probability is
that of its group times its share within the group, so that the numbers of one cell agree and sum to 1 with the artefact's.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engines.detections import CellNames, Float32, Float64, Int64
from engines.errors import BundleError
from engines.files import atomic_write
from engines.taxonomy import Taxonomy

SCHEMA_VERSION = 1
FIRST_CELLS = 30
"""So many cells decide whether a film is foreign."""
NEIGHBOURS = 5
"""So many references are taken for how near a cell is to what is known."""


@dataclass(frozen=True)
class NamingInfo:
    """What travels with every name. site: fitted to one microscope's cells, not only to open data. said: one sentence on how far it may
    be believed on this kind of film, from its own card."""

    name: str
    version: str
    digest: str
    site: bool = False
    said: str = ""

    @property
    def label(self) -> str:
        return f"{self.name} {self.version} {self.digest[:8]}"


@dataclass(frozen=True)
class NamingThresholds:
    """From which probability a cell is called so. cell: a white cell and no artefact. blast: a blast or equivalent; `other`: up to
    which it is surely none. type: its most probable type."""

    cell: float = 0.5
    blast: float = 0.5
    other: float = 0.2
    type: float = 0.7


@dataclass(frozen=True, eq=False)
class NamingLayer:
    """weights: (F + 1, 2 + C + A) float32 on standardised features, the last row the constant: logits of "a white cell", "a blast given
    a white cell", the C classes of the taxonomy and its A attribute values. mean, scale: (F,), of the features. uses_size: the last
    feature is the cell's size in µm, which `names` gets apart. references: (R, D) cells of known films in the space of `projection`
    (F, D); foreign_limit: the distance to them beyond which a cell is unlike all of them. encoder: sha256 of the graph that the
    features came from. card: what was fitted on what, with its figures.
    """

    name: str
    version: str
    encoder: str
    classes: tuple[str, ...]
    mean: Float32
    scale: Float32
    weights: Float32
    thresholds: NamingThresholds = NamingThresholds()
    site: bool = False
    uses_size: bool = False
    projection: Float32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    references: Float32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    foreign_limit: float = float("inf")
    card: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""

    @property
    def info(self) -> NamingInfo:
        return NamingInfo(self.name, self.version, self.digest, self.site, str(self.card.get("said", "")))

    def names(self, features: Float32, taxonomy: Taxonomy, size_um: Float32 | None = None) -> tuple[CellNames, Float32]:
        """Names of N cells and their attribute probabilities (N, A). features: (N, F) of the second look, without the size."""
        x = self._standardised(features, size_um)
        logits = x @ self.weights[:-1] + self.weights[-1]
        classes = len(taxonomy.classes)
        probabilities = class_probabilities(logits[:, : 2 + classes], taxonomy)
        attributes = logits[:, 2 + classes :].astype(np.float32)
        for group in taxonomy.groups:
            attributes[:, group] = _softmax(attributes[:, group])
        types, groups = told(probabilities, taxonomy, self.thresholds)
        return CellNames(probabilities, types, groups, self.distances(x)), attributes

    def distances(self, standardised: Float32) -> Float32:
        """How far each cell is from all that the layer knows, (N,): beyond 1 it is unlike them; 0 where unknown."""
        if not len(self.references):
            return np.zeros(len(standardised), np.float32)
        at = standardised @ self.projection
        near = nearest(at, self.references)
        relative: Float32 = (near / self.foreign_limit).astype(np.float32)
        return relative

    def _standardised(self, features: Float32, size_um: Float32 | None) -> Float32:
        if self.uses_size:
            size = np.full(len(features), np.nan, np.float32) if size_um is None else size_um
            features = np.concatenate([features, size[:, None]], 1)
        x = (features - self.mean) / self.scale
        known: Float32 = np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)  # an unknown size is the mean one
        return known

    # ---- files

    def to_bytes(self) -> bytes:
        """The layer as a file: an .npz of its arrays and a JSON; the same layer always gives the same bytes."""
        told_of = {
            "schema_version": SCHEMA_VERSION,
            **{key: getattr(self, key) for key in ("name", "version", "encoder", "site", "uses_size", "foreign_limit")},
            "classes": list(self.classes),
            "thresholds": asdict(self.thresholds),
            "card": dict(self.card),
        }
        arrays = {key: getattr(self, key) for key in _ARRAYS}
        out = io.BytesIO()
        np.savez(out, about=np.frombuffer(json.dumps(told_of).encode(), np.uint8), **arrays)
        return out.getvalue()

    def write(self, path: Path) -> NamingLayer:
        """Write the file at once or not at all; returns the layer as it reads."""
        atomic_write(path, self.to_bytes())
        return NamingLayer.read(path)

    @classmethod
    def read(cls, path: Path) -> NamingLayer:
        """A layer from its file. Raises BundleError naming the file and the next step."""
        try:
            raw = path.read_bytes()
            with np.load(io.BytesIO(raw), allow_pickle=False) as file:
                about = json.loads(bytes(file["about"]))
                arrays: dict[str, Any] = {key: np.asarray(file[key], np.float32) for key in _ARRAYS}
            if about.pop("schema_version") > SCHEMA_VERSION:
                raise BundleError(f"{path}: a naming layer of a newer version. Update leukoscope.")
            about["thresholds"] = NamingThresholds(**about["thresholds"])
            about["classes"] = tuple(about["classes"])
            return cls(**about, **arrays, digest=hashlib.sha256(raw).hexdigest())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{path}: no naming layer ({error}). Fit one with `attridet learn`, or copy the file again.") from error


_ARRAYS = ("mean", "scale", "weights", "projection", "references")


def class_probabilities(logits: Float32, taxonomy: Taxonomy) -> Float32:
    """(N, C) probabilities from logits (N, 2 + C) of "a white cell", "a blast given a white cell", the classes; a row sums to 1."""
    kinds = np.arange(len(taxonomy.classes))
    white, blast = _sigmoid(logits[:, 0]), _sigmoid(logits[:, 1])
    probabilities = np.zeros((len(logits), len(kinds)), np.float32)
    members, artefact = np.isin(kinds, taxonomy.blast_codes), np.isin(kinds, taxonomy.artefact_codes)
    for group, share in ((members, white * blast), (~members & ~artefact, white * (1 - blast))):
        if group.any():
            probabilities[:, group] = _softmax(logits[:, 2:][:, group]) * share[:, None]
    probabilities[:, artefact] = ((1 - white) / max(int(artefact.sum()), 1))[:, None]
    return probabilities


def white_and_blast(probabilities: Float32, taxonomy: Taxonomy) -> tuple[Float32, Float32]:
    """How probable each of N cells is a white cell, and, if it is one, a blast or equivalent, (N,) each. probabilities: (N, C)."""
    white: Float32 = 1 - probabilities[:, list(taxonomy.artefact_codes)].sum(1)
    blast: Float32 = probabilities[:, list(taxonomy.blast_codes)].sum(1) / np.maximum(white, 1e-6)
    return white, blast


def nearest(at: Float32, references: Float32) -> Float32:
    """Mean distance (N,) of points (N, D) to their `NEIGHBOURS` nearest references (R, D)."""
    squared = (at**2).sum(1)[:, None] + (references**2).sum(1)[None] - 2 * at @ references.T
    mean: Float32 = np.sqrt(np.sort(squared.clip(0), 1)[:, :NEIGHBOURS]).mean(1).astype(np.float32)
    return mean


def told(probabilities: Float32, taxonomy: Taxonomy, thresholds: NamingThresholds) -> tuple[Int64, tuple[str, ...]]:
    """What may be said of each cell: its type (N,), -1 where none is sure, and its group, a key of `Taxonomy.told_groups` or ""."""
    artefact = next(iter(taxonomy.artefact_codes), -1)
    white, blast = white_and_blast(probabilities, taxonomy)
    types, groups = np.full(len(probabilities), -1, np.int64), []
    best = probabilities.argmax(1)
    for row in range(len(probabilities)):
        if white[row] < thresholds.cell:
            types[row] = artefact
            groups.append("")
            continue
        group = "blasts" if blast[row] >= thresholds.blast else "others" if blast[row] <= thresholds.other else ""
        if group and taxonomy.group_of(int(best[row])) == group and probabilities[row, best[row]] >= thresholds.type:
            types[row] = best[row]
        groups.append(group)
    return types, tuple(groups)


def _sigmoid(x: Float32) -> Float32:
    out: Float32 = (1 / (1 + np.exp(-np.clip(x, -60, 60)))).astype(np.float32)
    return out


def _softmax(x: Float32) -> Float32:
    shifted: Float64 = np.exp((x - x.max(1, keepdims=True)).astype(np.float64))
    out: Float32 = (shifted / shifted.sum(1, keepdims=True)).astype(np.float32)
    return out
