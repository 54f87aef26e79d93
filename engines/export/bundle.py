"""A trained network as a finished engine folder: graphs, proof, golden picture, manifest, all written at once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2

from engines.bundle import GOLDEN_ANSWER, GOLDEN_IMAGE, WEIGHTS, Bundle, moment, write_bundle
from engines.decode import REGION_CAPACITY, Thresholds
from engines.detections import Image
from engines.errors import BundleError
from engines.export.second_look import CELLS, NamingFiles, graph_of, named_golden, tiles_of, with_naming
from engines.export.verify import verify_export, verify_rereading, verify_rows
from engines.families import attributes_graph, detector_graph
from engines.families.attridet.attridet import AttriDet
from engines.families.base import Network
from engines.manifest import AttributeGraph, Card, FileRecord, Input, Manifest, ThresholdsRecord
from engines.network.weights import save_weights
from engines.runtime.engine import NetworkEngine
from engines.runtime.margins import type_margins
from engines.runtime.onnx import OnnxEngine

DETECTOR = "detector.onnx"
SMALL_CAPACITY = 4
"""Regions of the second, smaller attribute graph, for processors that pay for every region (about 1.3 ms each on two cores)."""
_ATTRIBUTES = {REGION_CAPACITY: "attributes.onnx", SMALL_CAPACITY: f"attributes-{SMALL_CAPACITY}.onnx"}


def export_bundle(
    model: Network,
    folder: Path,
    card: Card,
    input_hw: tuple[int, int],
    check_images: Sequence[Image],
    *,
    thresholds: Thresholds | None = None,
    scale_up: bool = True,
    keep_weights: bool = False,
    replace: bool = False,
    readme: str | None = None,
    golden: Callable[[NetworkEngine], Image] | None = None,
    encoder: AttriDet | None = None,
    naming: NamingFiles = NamingFiles(),  # noqa: B008  # frozen
) -> Bundle:
    """Exports, verifies and writes an engine folder; returns it opened.

    check_images: BGR pictures of the kind the engine will see; the graphs must agree with torch on all of them, and the first becomes
    the golden picture, unless `golden` makes another with the open engine. thresholds: the defaults of `Thresholds` unless given.
    keep_weights: `weights.safetensors` lies beside the graphs (not for a fused model). readme: the model card, `README.md`, unhashed.
    encoder: of the second look, in evaluation mode, where it is not the model itself; naming: what ships with it. A network of another
    family than attridet has a second look only by an encoder of its own. The model is used in evaluation mode and left as it was.
    Raises BundleError when the graphs disagree with torch or the folder cannot be written; nothing is left behind then.
    """
    if not check_images:
        raise BundleError(f"{folder.name}: an export needs pictures to be verified on. Name a folder of fields.")
    if isinstance(model, AttriDet):
        encoder = encoder or model
    elif encoder is None and naming != NamingFiles():
        raise BundleError(f"{folder.name}: the family {model.family} has no second look of its own. Name its encoder's weights.")
    thresholds = thresholds or Thresholds()
    was_training = model.training
    model.eval()
    try:
        detector = detector_graph(model, input_hw).SerializeToString()
        attributes: dict[int, bytes] = {}
        if isinstance(model, AttriDet):
            attributes = {n: attributes_graph(model, input_hw, n).SerializeToString() for n in _ATTRIBUTES}
            described = [(graph, n) for n, graph in attributes.items()]
            check = verify_export(model, detector, described, check_images, input_hw=input_hw, scale_up=scale_up)
        elif model.describes:  # no GPU runs it, so there is no graph for many regions
            attributes = {SMALL_CAPACITY: attributes_graph(model, input_hw, SMALL_CAPACITY).SerializeToString()}
            described = [(graph, n) for n, graph in attributes.items()]
            check = verify_rereading(model, detector, described, check_images, input_hw=input_hw, scale_up=scale_up)
        else:
            check = verify_rows(model, detector, check_images, input_hw=input_hw, scale_up=scale_up)
        with tempfile.TemporaryDirectory() as scratch:
            files: dict[str, bytes | Path] = {DETECTOR: detector, **{_ATTRIBUTES[n]: g for n, g in attributes.items()}}
            if keep_weights:
                save_weights(model, Path(scratch) / WEIGHTS, card.training.model_dump(mode="json"))
                files[WEIGHTS] = Path(scratch) / WEIGHTS
            manifest = Manifest(
                **card.model_dump(),
                family=model.family,
                created=moment(),
                input=Input(hw=input_hw, scale_up=scale_up),
                thresholds=ThresholdsRecord.model_validate(thresholds, from_attributes=True),
                taxonomy=model.taxonomy.to_dict(),
                attribute_graphs=tuple(AttributeGraph(file=_ATTRIBUTES[n], regions=n) for n in attributes),
                untold=_untold(model),
                files={name: FileRecord(bytes=0, sha256="0" * 64) for name in files},
                export_check=check,
            )
            # The golden answer comes from the graphs themselves, as the daemon will run them.
            draft = write_bundle(Path(scratch) / card.name, manifest, files)
            with OnnxEngine(draft) as engine:
                picture = check_images[0] if golden is None else golden(engine)
                answer, margins = engine.infer(picture).detections, type_margins(engine, picture)
                tiles = tiles_of(engine, check_images)
            if encoder is not None:
                look, graph = graph_of(encoder, tiles)
                files[CELLS] = graph
                draft = write_bundle(Path(scratch) / f"{card.name}-looking", manifest.model_copy(update={"second_look": look}), files)
                look, beside = with_naming(draft, naming)
                files |= beside
                manifest = manifest.model_copy(update={"second_look": look})
            done, png = cv2.imencode(".png", picture)
            if not done:
                raise BundleError(f"{folder.name}: the golden picture cannot be written as PNG. Choose another.")
            draft = write_bundle(Path(scratch) / f"{card.name}-naming", manifest, files)
            files |= {GOLDEN_IMAGE: png.tobytes(), GOLDEN_ANSWER: named_golden(draft, picture, answer, margins)}
            return write_bundle(folder, manifest, files, replace, {"README.md": readme.encode()} if readme is not None else None)
    finally:
        model.train(was_training)


def _untold(model: Network) -> tuple[str, ...]:
    """Keys of the attributes that a network that tells others never tells."""
    taxonomy = model.taxonomy
    return tuple(one.key for one, group in zip(taxonomy.attributes, taxonomy.groups, strict=True) if group.start in model.untold)
