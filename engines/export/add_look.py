"""A bundle that is there, given a second look or another naming layer; its detector's files stay as they are."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from engines.bundle import GOLDEN_ANSWER, WEIGHTS, Bundle, moment, resolve, write_bundle
from engines.detections import Image
from engines.errors import BundleError
from engines.export.request import SecondLookRequest
from engines.export.run import check_images
from engines.export.second_look import CELLS, NamingFiles, graph_of, named_golden, tiles_of, with_naming
from engines.network import AttriDet
from engines.network.checkpoint import load_attridet
from engines.progress import SILENT, Reporter
from engines.runtime.onnx import OnnxEngine


def add_second_look(request: SecondLookRequest, reporter: Reporter = SILENT) -> Bundle:
    """A copy of a bundle as `attridet second-look` makes it. Raises EnginesError.

    A second look that is there stays, to the last byte, unless weights for another are named; so a layer fitted to it still fits.
    """
    source = Bundle.open(resolve(request.bundle))
    if request.out.resolve() == source.path.resolve():
        raise BundleError(f"{request.out}: is the bundle itself. Name another folder.")
    there = source.manifest.second_look
    files: dict[str, bytes | Path] = {name: source.path / name for name in source.manifest.files}
    look, naming = there, NamingFiles(request.layer, request.open_cells)
    if there is None or request.weights is not None:
        encoder = _encoder(source, request)
        reporter.message("the second look is compared with torch")
        with OnnxEngine(source) as engine:
            look, graph = graph_of(encoder, tiles_of(engine, _pictures(source, request)))
        files = {name: path for name, path in files.items() if name not in source.manifest.second_look_files}
        files[CELLS] = graph
    elif there is not None:
        naming = NamingFiles(
            naming.layer or (source.path / there.layer if there.layer else None),
            naming.open_cells or (source.path / there.open_cells if there.open_cells else None),
        )
    manifest = source.manifest.model_copy(
        update={
            "second_look": look,
            "version": request.version or source.manifest.version,
            "created": moment(),
        }
    )
    with tempfile.TemporaryDirectory() as scratch:
        draft = write_bundle(Path(scratch) / "looking", manifest, files)
        look, beside = with_naming(draft, naming)
        manifest, files = manifest.model_copy(update={"second_look": look}), {**files, **beside}
        golden = source.golden()
        if golden is not None:
            draft = write_bundle(Path(scratch) / "naming", manifest, files)
            files[GOLDEN_ANSWER] = named_golden(draft, golden[0], replace(golden[1], names=None), source.golden_margins())
        readme = request.readme or source.path / "README.md"
        loose = {"README.md": readme.read_bytes()} if request.readme or readme.is_file() else None
        return write_bundle(request.out, manifest, files, request.replace, loose)


def _encoder(source: Bundle, request: SecondLookRequest) -> AttriDet:
    if request.weights is None and WEIGHTS not in source.manifest.files:
        raise BundleError(f"{source.path}: has no {WEIGHTS} to make a second look of. Name the weights of its encoder: --weights FILE")
    return load_attridet(request.weights or source.path / WEIGHTS)[0]


def _pictures(source: Bundle, request: SecondLookRequest) -> list[Image]:
    """What the graph is compared with torch on: the folder named, or the golden picture."""
    if request.images is not None:
        return check_images(request.images, None)
    golden = source.golden()
    if golden is None:
        raise BundleError(f"{source.path}: has no golden picture to compare the second look with torch on. Name fields: --images DIR")
    return [golden[0]]
