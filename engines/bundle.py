"""An engine folder on disk: found by name, opened with every hash checked, written whole or not at all.

    detector.onnx      image (1, 3, H, W) -> rows, p2, p3
    attributes*.onnx   p2, p3, regions (n, 4) -> probabilities (n, logits); one file for each n
    cells.onnx         tiles (9, 3, side, side) -> features (9, F): the second look; with it a naming layer, where it has one
    manifest.json      what it is, what it was trained on, thresholds, sha256 of every file (`engines.manifest`)
    golden.png/.json   one picture and what this engine says about it: a runtime that answers differently is broken

What runs the graphs is in `engines.runtime`; what writes them from torch is in `engines.export`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from engines.detections import CellNames, Detections, Float32, Image
from engines.errors import BundleError, DataError
from engines.files import atomic_folder, printable, sha256_of
from engines.graph_file import EIGHT_BITS, GraphFile
from engines.manifest import ATTRIDET, FileRecord, Manifest, SecondLook, parse_manifest
from engines.picture_header import PictureError
from engines.pictures import read_image
from engines.taxonomy import Taxonomy

MANIFEST = "manifest.json"
GOLDEN_IMAGE, GOLDEN_ANSWER = "golden.png", "golden.json"
WEIGHTS = "weights.safetensors"
"""What a float bundle's graphs were made from: a training may begin with it."""
_LARGEST_MANIFEST = 10_000_000
ZOO = Path(__file__).parent / "zoo"
"""Where the bundles that ship with the package lie."""


@dataclass(frozen=True)
class Bundle:
    """An engine folder whose manifest was read and whose files have the hashes that it names. Made by `Bundle.open`."""

    path: Path
    manifest: Manifest
    digest: str  # sha256 of manifest.json, hex

    @classmethod
    def open(cls, path: Path | str, verify: bool = True) -> Bundle:
        """Reads the manifest and checks size and sha256 of every file it names (`verify` False: only that they exist).

        Raises BundleError, naming the file and the next step, when anything is missing, altered or newer than this program.
        """
        folder = Path(path)
        if not folder.is_dir():
            shipped = f", or one of: {', '.join(zoo_names())}" if zoo_names() else ""
            raise BundleError(f"{folder}: no such engine folder. Give the folder of a bundle{shipped}.")
        manifest_path = folder / MANIFEST
        try:
            if manifest_path.exists() and not manifest_path.is_file():
                raise BundleError(f"{manifest_path}: is no file. Copy the whole folder again.")
            if manifest_path.stat().st_size > _LARGEST_MANIFEST:
                raise BundleError(f"{manifest_path}: is larger than any manifest. Copy the whole folder again.")
            raw = manifest_path.read_bytes()
            text = raw.decode()
        except FileNotFoundError as error:
            raise BundleError(f"{manifest_path}: missing, so this is not an engine folder. Copy the whole folder again.") from error
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(f"{manifest_path}: cannot be read ({error}). Copy the folder again.") from error
        manifest = parse_manifest(text, str(manifest_path))
        bundle = cls(folder, manifest, hashlib.sha256(raw).hexdigest())
        for name, record in manifest.files.items():
            bundle._check(name, record, verify)
        return bundle

    @property
    def taxonomy(self) -> Taxonomy:
        return self.manifest.classes_and_attributes

    @property
    def detector_path(self) -> Path:
        return self.path / self.manifest.detector_graph

    @property
    def describes(self) -> bool:
        """Whether its network tells attributes; else they are unknown, and the detector gives out rows alone."""
        return bool(self.manifest.attribute_graphs)

    @property
    def untold_places(self) -> tuple[int, ...]:
        """Places among the attribute probabilities that the network never tells."""
        taxonomy = self.taxonomy
        groups = zip(taxonomy.attributes, taxonomy.groups, strict=True)
        return tuple(place for one, group in groups if one.key in self.manifest.untold for place in range(group.start, group.stop))

    @property
    def rereads(self) -> bool:
        """Whether what tells attributes looks at the picture itself and not at the detector's maps."""
        return self.describes and self.manifest.family != ATTRIDET

    def attribute_graph(self, largest: bool = False) -> tuple[Path, int]:
        """File of the graph that tells attributes of an AttriDet's maps, and the regions one run takes. Raises BundleError for others.

        The smallest by default: on a CPU a run costs the same for each region, used or not. `largest`: for a GPU.
        """
        if not self.describes or self.rereads:
            raise BundleError(
                f"{self.path}: is of the family {self.manifest.family}, which has no attribute graph of that kind; this takes "
                "bundles of attridet only. Run it on onnx or openvino."
            )
        return self.describing_graph(largest)

    def describing_graph(self, largest: bool = False) -> tuple[Path, int]:
        """As `attribute_graph`, of any family that describes."""
        graphs = sorted(self.manifest.attribute_graphs, key=lambda g: g.regions)
        graph = graphs[-1 if largest else 0]
        return self.path / graph.file, graph.regions

    def second_look(self) -> tuple[Path, SecondLook]:
        """File of the second look's graph and what it takes. Raises BundleError for a bundle without one."""
        look = self.manifest.second_look
        if look is None:
            raise BundleError(f"{self.path}: has no graph for a second look at cells. Add one: attridet second-look {self.path} NEW")
        return self.path / look.graph, look

    def check_graphs(self) -> None:
        """Raises BundleError for a graph that is not what the manifest says, or that would load a file that was not checked."""
        for name in dict.fromkeys((self.manifest.detector_graph, *(graph.file for graph in self.manifest.attribute_graphs))):
            graph = self._graph(name)
            fewer = f"8 bits ({min(eight_bits)})" if (eight_bits := graph.operators & EIGHT_BITS) else "FP16" if graph.half else ""
            if self.manifest.precision == "fp32" and fewer:
                raise BundleError(
                    f"{self.path / name}: computes in {fewer}, but {MANIFEST} says fp32, which needs no gate. "
                    "It was changed: do not use this bundle."
                )
        if self.manifest.second_look is not None:
            self._graph(self.manifest.second_look.graph)

    def _graph(self, name: str) -> GraphFile:
        """One that loads its weights from nothing but files of the bundle. Raises BundleError otherwise."""
        found = GraphFile.read(self.path / name)
        if strange := sorted(found.external - set(self.manifest.files)):
            raise BundleError(
                f"{self.path / name}: would load its weights from {printable(strange[0])}, which {MANIFEST} does not name. "
                "Do not use this bundle."
            )
        return found

    @property
    def has_golden(self) -> bool:
        """Whether there is a golden picture with its answer."""
        return GOLDEN_IMAGE in self.manifest.files and GOLDEN_ANSWER in self.manifest.files

    def golden(self) -> tuple[Image, Detections] | None:
        """The golden picture and the detections its exporter got, or None where the bundle has none."""
        if not self.has_golden:
            return None
        try:
            image = read_image(self.path / GOLDEN_IMAGE)
        except PictureError as error:
            raise BundleError(f"{self.path / GOLDEN_IMAGE}: not a picture ({error.reason}). Copy the folder again.") from error
        try:
            answer = json.loads((self.path / GOLDEN_ANSWER).read_text())
            n = len(answer["scores"])
            expected = Detections(
                np.array(answer["boxes_px"], np.float32).reshape(n, 4),
                np.array(answer["scores"], np.float32),
                np.array(answer["classes"], np.int64),
                np.array(answer["attributes"], np.float32).reshape(n, self.taxonomy.n_logits),
                names=_names_in(answer, (n, len(self.taxonomy.classes))),
            )
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise BundleError(f"{self.path / GOLDEN_ANSWER}: malformed ({error}). Copy the folder again.") from error
        if answer.get("taxonomy", named := _names_of(self.taxonomy)) != named:
            raise BundleError(
                f"{self.path / GOLDEN_ANSWER}: was answered with other types or attributes than {MANIFEST} names. "
                "Do not use this bundle: its classes were renamed."
            )
        return image, expected

    def golden_margins(self) -> Float32 | None:
        """By how much the score of each golden cell's type exceeds that of its second type, (N,); None in bundles of before 1.3."""
        if GOLDEN_ANSWER not in self.manifest.files:
            return None
        try:
            margins = json.loads((self.path / GOLDEN_ANSWER).read_text()).get("margins")
            return None if margins is None else np.array(margins, np.float32)
        except (OSError, AttributeError, ValueError) as error:
            raise BundleError(f"{self.path / GOLDEN_ANSWER}: malformed ({error}). Copy the folder again.") from error

    def _check(self, name: str, record: FileRecord, verify: bool) -> None:
        file = self.path / name
        if Path(name).name != name:
            raise BundleError(f"{self.path / MANIFEST}: the file {name!r} would lie outside the folder. Do not use this bundle.")
        if name == WEIGHTS and not file.exists():
            return  # left out on an appliance: nothing but training reads them
        if not file.is_file():
            raise BundleError(f"{file}: named in {MANIFEST} but missing. Copy the whole folder again.")
        if not verify:
            return
        if (size := file.stat().st_size) != record.bytes:
            raise BundleError(
                f"{file}: altered or incomplete ({size:,} bytes, {MANIFEST} says {record.bytes:,}). "
                "Copy the whole folder again, or export it again with `attridet export`."
            )
        try:
            found = sha256_of(file)
        except OSError as error:
            raise BundleError(f"{file}: cannot be read ({error}). Copy the folder again.") from error
        if found != record.sha256:
            raise BundleError(
                f"{file}: altered or incomplete (sha256 {found[:12]}…, {MANIFEST} says {record.sha256[:12]}…). "
                "Copy the whole folder again, or export it again with `attridet export`."
            )


def moment() -> str:
    """Now, as a manifest has it; what SOURCE_DATE_EPOCH says (seconds since 1970) where what is made must be the same each time."""
    told = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(told), timezone.utc) if told.isdigit() else datetime.now(timezone.utc)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def zoo_names() -> list[str]:
    """References of the bundles that ship with the package, e.g. ["zoo:attridet-n"]."""
    return sorted(f"zoo:{p.parent.name}" for p in ZOO.glob(f"*/{MANIFEST}"))


def resolve(reference: str | Path) -> Path:
    """The folder that a reference means: `zoo:NAME` for a shipped bundle, otherwise a path.

    Raises BundleError with the names there are, and the nearest one, for an unknown `zoo:` name.
    """
    text = str(reference)
    if not text.startswith("zoo:"):
        return Path(text).expanduser()
    names = zoo_names()
    if text in names:
        return ZOO / text.removeprefix("zoo:")
    near = difflib.get_close_matches(text, names, 1, 0.5)
    advice = f" Did you mean {near[0]}?" if near else ""
    raise BundleError(f"{text}: no such bundle.{advice} There are: {', '.join(names) or 'none in this installation'}.")


def weights_of(reference: Path | str) -> Path:
    """The file of weights that a reference means: that file, or `weights.safetensors` of a bundle (`zoo:NAME` or its folder).

    Raises BundleError for a folder that is no bundle, is damaged, or holds graphs only. A file need not exist.
    """
    place = resolve(reference)
    if not place.is_dir():
        return place
    if not (place / MANIFEST).is_file():
        raise BundleError(f"{reference}: a folder without {MANIFEST} is no bundle; of a run's folder name the file, such as best.pt")
    named = WEIGHTS in Bundle.open(place).manifest.files
    if named and not (place / WEIGHTS).is_file():
        raise BundleError(f"{place / WEIGHTS}: is not here; an appliance's package leaves it out. Take the bundle of the source tree")
    if not named:
        shipped = next((name for name in zoo_names() if (ZOO / name.removeprefix("zoo:") / WEIGHTS).is_file()), "one with weights")
        raise BundleError(
            f"{reference}: this bundle holds graphs only, no {WEIGHTS}, and nothing can be learnt from there. Name the float bundle "
            f"that it was made from (of the shipped ones {shipped}), or a .pt or .safetensors of its training"
        )
    return place / WEIGHTS


def _names_of(taxonomy: Taxonomy) -> dict[str, list[str]]:
    """What the numbers of an answer mean."""
    values = [f"{attribute.key}: {value}" for attribute in taxonomy.attributes for value in attribute.values]
    return {"classes": list(taxonomy.classes), "attributes": values}


def golden_answer(found: Detections, margins: Float32 | None = None, taxonomy: Taxonomy | None = None) -> bytes:
    """The text of `golden.json` for detections on the golden picture, boxes to 3 decimals, the rest to 5; their names beside them.

    margins: see `Bundle.golden_margins`. taxonomy: what its numbers mean, so that a manifest with other names is refused.
    """
    answer: dict[str, Any] = {
        "boxes_px": found.boxes_px.astype(np.float64).round(3).tolist(),
        "scores": found.scores.astype(np.float64).round(5).tolist(),
        "classes": found.classes.tolist(),
        "attributes": [[None if np.isnan(value) else round(value, 5) for value in cell] for cell in found.attributes.tolist()],
    }
    if taxonomy is not None:
        answer["taxonomy"] = _names_of(taxonomy)
    if margins is not None:
        answer["margins"] = margins.astype(np.float64).round(5).tolist()
    if found.names is not None:
        answer["second_look"] = {
            "probabilities": found.names.probabilities.astype(np.float64).round(5).tolist(),
            "types": found.names.types.tolist(),
            "groups": list(found.names.groups),
            "distances": found.names.distances.astype(np.float64).round(5).tolist(),
        }
    return (json.dumps(answer, indent=1) + "\n").encode()


def _names_in(answer: Mapping[str, Any], shape: tuple[int, int]) -> CellNames | None:
    """What a golden answer says of the second look, None where it says nothing. shape: cells and classes."""
    said = answer.get("second_look")
    if said is None:
        return None
    names = CellNames(
        np.array(said["probabilities"], np.float32).reshape(shape),
        np.array(said["types"], np.int64),
        tuple(map(str, said["groups"])),
        np.array(said["distances"], np.float32),
    )
    if not len(names.types) == len(names.groups) == len(names.distances) == shape[0]:
        raise ValueError("second_look speaks of another number of cells")
    return names


def write_bundle(
    folder: Path, manifest: Manifest, files: Mapping[str, bytes | Path], replace: bool = False, loose: Mapping[str, bytes] | None = None
) -> Bundle:
    """Writes an engine folder whole or not at all, and opens it: temporary folder, fsync, rename.

    `files` (name -> content or file to copy) are hashed into the manifest, whose own `files` is overwritten; `loose` files (a
    model card) lie beside them unhashed, so that their wording may change. An existing `folder` is refused unless `replace`;
    replaced, it is moved aside first and removed last. Raises BundleError when the disk refuses.
    """
    if folder.exists() and not replace:
        raise BundleError(f"{folder}: exists already. Choose another folder, or say that it may be replaced.")
    try:
        with atomic_folder(folder, replace) as staging:
            for name, content in {**files, **(loose or {})}.items():
                (staging / name).write_bytes(content.read_bytes() if isinstance(content, Path) else content)
            records = {n: FileRecord(bytes=(staging / n).stat().st_size, sha256=sha256_of(staging / n)) for n in sorted(files)}
            # Built anew and not copied, so that it is validated.
            manifest = Manifest.model_validate({**manifest.model_dump(), "files": {n: r.model_dump() for n, r in records.items()}})
            (staging / MANIFEST).write_bytes(manifest.to_json().encode())
            Bundle.open(staging)
    except DataError as error:
        raise BundleError(f"{folder}: cannot be written ({error}). Check the disk's space and permissions.") from error
    return Bundle.open(folder)
