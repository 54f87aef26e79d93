"""Cells with features and labels, of which a naming layer is fitted; and the file of open cells that a site's own are mixed with."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from engines.detections import Float32, Int64
from engines.errors import BundleError
from engines.files import atomic_write

SCHEMA_VERSION = 1
Texts = NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class LabelledCells:
    """N cells. features: (N, F) of the second look. classes: (N,) of the taxonomy; the artefact also where a box holds nothing.

    attributes: (N, A') a code for each attribute, -1 unknown. sources: (N,) name of the data set. patients: (N,), unique over sources.
    encoder: sha256 of the graph that the features came from. licences: of each source, in its own words. rendered: sources that are no
    microscope's.
    """

    features: Float32
    classes: Int64
    attributes: Int64
    sources: Texts
    patients: Texts
    encoder: str
    licences: Mapping[str, str] = field(default_factory=dict)
    rendered: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.classes)

    def select(self, keep: NDArray[np.bool_] | Int64) -> Self:
        """The cells that a mask or index array names."""
        parts = {name: getattr(self, name)[keep] for name in _ROWS}
        return replace(self, **parts)

    @classmethod
    def joined(cls, parts: Sequence[LabelledCells]) -> LabelledCells:
        """All cells of several sets of one encoder. Raises ValueError for those of different ones."""
        if len({part.encoder for part in parts}) != 1:
            raise ValueError("cells that are joined have features of one encoder")
        rows = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ROWS}
        licences = {source: words for part in parts for source, words in part.licences.items()}
        rendered = tuple(dict.fromkeys(name for part in parts for name in part.rendered))
        return cls(**rows, encoder=parts[0].encoder, licences=licences, rendered=rendered)

    # ---- files

    def to_bytes(self, classes: Sequence[str]) -> bytes:
        """The file of open cells: an .npz with features as float16; the same cells always give the same bytes."""
        sources, source = np.unique(self.sources, return_inverse=True)
        patients, patient = np.unique(self.patients, return_inverse=True)
        about = {
            "schema_version": SCHEMA_VERSION,
            "encoder": self.encoder,
            "classes": list(classes),
            "sources": sources.tolist(),
            "patients": patients.tolist(),
            "licences": {name: words for name, words in self.licences.items() if name in sources},
            "rendered": [name for name in self.rendered if name in sources],
        }
        out = io.BytesIO()
        np.savez_compressed(
            out,
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
            features=self.features.astype(np.float16),
            classes=self.classes.astype(np.int16),
            attributes=self.attributes.astype(np.int8),
            source=source.astype(np.int16),
            patient=patient.astype(np.int32),
        )
        return out.getvalue()

    def write(self, path: Path, classes: Sequence[str]) -> None:
        """Write the file at once or not at all. classes: names of the taxonomy's. Raises OSError."""
        atomic_write(path, self.to_bytes(classes))

    @classmethod
    def read(cls, path: Path, classes: Sequence[str]) -> LabelledCells:
        """The cells of a file. Raises BundleError naming it where it is none, or of another taxonomy."""
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(bytes(file["about"]))
                if about["schema_version"] > SCHEMA_VERSION:
                    raise BundleError(f"{path}: open cells of a newer version. Update leukoscope.")
                if list(classes) != about["classes"]:
                    raise BundleError(f"{path}: cells of other types ({', '.join(about['classes'])}). Take those of this bundle.")
                return cls(
                    file["features"].astype(np.float32),
                    file["classes"].astype(np.int64),
                    file["attributes"].astype(np.int64),
                    np.array(about["sources"], np.str_)[file["source"]],
                    np.array(about["patients"], np.str_)[file["patient"]],
                    about["encoder"],
                    about["licences"],
                    tuple(about.get("rendered", ())),
                )
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise BundleError(f"{path}: no file of open cells ({error}). Copy the bundle again.") from error


_ROWS = ("features", "classes", "attributes", "sources", "patients")
