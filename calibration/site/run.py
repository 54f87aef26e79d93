"""A naming layer from labelled cells, as `attridet learn` fits it: read, looked at, fitted, judged on what was left out, written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from calibration.site.alignment import aligned, check_confirmed
from calibration.site.card import card, page
from calibration.site.cells import SHAKEN, FolderCells, Labels, Reading, folder_cells, read_folder, read_patients
from calibration.site.figures import Figures, figures
from calibration.site.picture import picture_page
from calibration.site.record import is_record, write_reviewed
from calibration.site.request import LearnRequest
from engines.bundle import Bundle
from engines.data.aspect import check_given
from engines.detections import Int64
from engines.errors import BundleError, DataError
from engines.files import check_file, write_result
from engines.naming import NamingLayer
from engines.naming.cells import LabelledCells
from engines.naming.choice import encoder_of, layer_of
from engines.naming.fit import FitSettings, Fitted, cells_by_group, fit
from engines.progress import SILENT, Reporter
from engines.runtime.engine import BundleEngine
from engines.runtime.factory import open_engine
from engines.taxonomy import Taxonomy

_MOST_FOLDS, _CALIBRATION_FOLDS = 10, 5
_FEW_SLIDES = 6
_SITE = "site "
"""Begins the name of a site's source, so that no open source has it."""


@dataclass(frozen=True, eq=False)
class LearnResult:
    """layer, as it was read back from `path`; page: its card for people, as Markdown; picture: the same drawn, as HTML. found: on cells
    left out; before: the bundle's own layer there. written: every file."""

    layer: NamingLayer
    path: Path
    page: Path
    picture: Path
    found: Figures
    before: Figures | None
    written: tuple[Path, ...]


def learn(request: LearnRequest, reporter: Reporter = SILENT) -> LearnResult:
    """Fit a naming layer as `attridet learn` does. Raises EnginesError; writes whole files only."""
    _check(request)
    if request.cells is None or not is_record(request.cells):
        return _learn(request, reporter)
    with TemporaryDirectory(prefix="labels-") as scratch:
        folder = Path(scratch) / request.cells.stem
        reporter.message(write_reviewed(request.cells, folder))
        # what nobody looked at is no artefact, and its boxes are the network's own, or the reviewer's
        return _learn(replace(request, cells=folder, partly_labelled=True, boxes="labelled"), reporter)


def _learn(request: LearnRequest, reporter: Reporter) -> LearnResult:
    reading = Reading(
        split=request.split,
        found_boxes=request.boxes == "found",
        nothing=not request.partly_labelled,
        copies=request.colour_copies,
        seed=request.seed,
        patients=read_patients(request.patients),
        pixel_aspect=request.pixel_aspect,
    )
    check_given(request.pixel_aspect, _folders(request))
    settings = FitSettings(
        ridge=request.ridge,
        blast_cost=request.blast_cost,
        cell_cost=request.cell_cost,
        lost_blasts=request.lost_blasts,
        right=request.right,
        rendered_share=request.rendered_share,
        rendered=tuple(folder.name + SHAKEN for folder in request.data),
        seed=request.seed,
    )
    name = request.name or request.out.stem
    version = next_version(request.out, name)
    with open_engine(request.bundle, "onnx", request.threads, verify=False, ungated=True) as engine:
        encoder_of(engine.bundle)
        made = _Open(request, settings) if request.open else _Site(request, settings)
        made.read(engine, reading, reporter)
        reporter.message(
            f"fitting to {cells_by_group(made.cells, engine.info.taxonomy)} of {len(np.unique(made.cells.sources))} sources"
        )
        fitted = made.fitted(engine, name, version)
    return _write(request, engine, made, fitted, settings)


class _Made:
    """What both kinds of layer have: cells, what is left out, and which cells they are judged on."""

    left_out = ""

    def __init__(self, request: LearnRequest, settings: FitSettings) -> None:
        self.request, self.settings = request, settings
        self.cells: LabelledCells
        self.notes: list[str] = []

    def read(self, engine: BundleEngine, reading: Reading, reporter: Reporter) -> None:
        raise NotImplementedError

    def fitted(self, engine: BundleEngine, name: str, version: str) -> Fitted:
        raise NotImplementedError

    def tell(self, source: str, folder: FolderCells, reporter: Reporter) -> None:
        if folder.false_boxes:
            reporter.message(f"{source}: {folder.summary}; {folder.false_boxes} boxes of the detector hold no labelled cell: artefacts")
        else:
            reporter.message(f"{source}: {folder.summary}")


class _Open(_Made):
    def __init__(self, request: LearnRequest, settings: FitSettings) -> None:
        super().__init__(request, settings)
        self.left_out = request.leave_out

    def read(self, engine: BundleEngine, reading: Reading, reporter: Reporter) -> None:
        licences = licences_of(engine.bundle, self.request)
        parts = []
        for folder in (*self.request.data, *self.request.rendered):
            found = folder_cells(engine, read_folder(folder, folder.name, reading, engine.info.taxonomy), reading, reporter)
            self.tell(folder.name, found, reporter)
            parts.append(found.cells)
        licences |= {name + SHAKEN: words for name, words in licences.items()}
        rendered = tuple(folder.name + kind for folder in self.request.rendered for kind in ("", SHAKEN))
        self.cells = replace(LabelledCells.joined(parts), licences=licences, rendered=rendered)

    def fitted(self, engine: BundleEngine, name: str, version: str) -> Fitted:
        shaken = np.char.endswith(self.cells.sources, SHAKEN)
        names = np.char.replace(self.cells.sources, SHAKEN, "")
        key = names if self.request.leave_out == "source" else self.cells.patients
        folds = np.unique(key, return_inverse=True)[1].reshape(-1).astype(np.int64)
        folds = folds if self.request.leave_out == "source" else folds % _MOST_FOLDS
        types = np.where(shaken, -1, np.random.default_rng(self.request.seed).integers(0, _CALIBRATION_FOLDS, len(shaken)))
        return fit(self.cells, engine.info.taxonomy, folds, self.settings, name=name, version=version, types=types)


class _Site(_Made):
    left_out = "slide"

    def read(self, engine: BundleEngine, reading: Reading, reporter: Reporter) -> None:
        request, taxonomy = self.request, engine.info.taxonomy
        known = open_cells_of(engine.bundle)
        self.confirmed: LabelledCells | None = None
        if request.confirmed_normal is not None:
            source = _SITE + request.confirmed_normal.name
            reader = replace(reading, nothing=False, copies=0)
            labels = read_folder(request.confirmed_normal, source, reader, taxonomy)
            check_confirmed(source, labels.classes, taxonomy, request.fewest)
            found = folder_cells(engine, labels, reader, reporter)
            self.tell(source, found, reporter)
            self.confirmed = found.cells
            known = aligned(known, found.cells)
        self.known = self.cells = known
        self.own: LabelledCells | None = None
        if request.cells is not None:
            source = _SITE + request.cells.name
            labels = read_folder(request.cells, source, reading, taxonomy)
            self._refuse_too_few(labels, taxonomy)
            found = folder_cells(engine, labels, reading, reporter)
            self.tell(source, found, reporter)
            self.own = found.cells
            self.cells = LabelledCells.joined([known, found.cells])
        else:
            self.left_out = "source"
            self.notes.append("Aligned by confirmed normal cells alone: how it tells blasts of this microscope was not measured.")

    def _refuse_too_few(self, labels: Labels, taxonomy: Taxonomy) -> None:
        request = self.request
        groups = np.array([taxonomy.group_of(int(kind)) for kind in labels.classes], np.str_)
        where, white = request.cells, int((groups != "").sum())
        if white < request.fewest:
            raise DataError(f"{where}: {white} white cells are labelled, at least {request.fewest} are needed. Label more.")
        missing = [
            words for key, words in (("blasts", "blast"), ("others", "white cell that is no blast")) if not (groups == key).any()
        ]
        if missing:
            raise DataError(
                f"{where}: no {missing[0]} is labelled, so the layer could not learn to tell the two groups apart on this microscope. "
                "Add slides that have them."
            )
        slides = np.unique(labels.patients[groups != ""])
        if any(str(slide).endswith("/") for slide in slides):
            raise DataError(
                f"{where}: names of pictures do not say whose slide they show, so no slide could be left out. Give --patients CSV with "
                "the columns picture,patient."
            )
        if len(slides) < request.fewest_slides:
            raise DataError(
                f"{where}: cells of {len(slides)} slide, at least {request.fewest_slides} are needed, since each is left out in "
                "turn to judge the layer. Label cells of more slides."
            )

    def fitted(self, engine: BundleEngine, name: str, version: str) -> Fitted:
        if self.own is not None and len(np.unique(self.own.patients)) < _FEW_SLIDES:
            self.notes.append("Few slides: figures of slides left out scatter widely, and are too bad where a slide is of one group.")
        return fit_site(self.known, self.own, engine.info.taxonomy, self.settings, name, version, self.confirmed)


def fit_site(
    known: LabelledCells,
    own: LabelledCells | None,
    taxonomy: Taxonomy,
    settings: FitSettings,
    name: str,
    version: str = "1",
    confirmed: LabelledCells | None = None,
) -> Fitted:
    """A site layer of open cells and a site's own, half and half, or of open cells that were aligned to it (own None).

    `left_out` of the result is in the order of `known`, then `own`. Slides are few and often of one group: a fit without one leans to
    the other group and calibrates nothing. So cells are left out to calibrate, evenly over slides, and slides to judge.
    """
    if own is None:
        sources = np.unique(known.sources, return_inverse=True)[1].reshape(-1).astype(np.int64)
        return fit(known, taxonomy, sources, settings, name=name, version=version, site=True, confirmed=confirmed)
    cells = LabelledCells.joined([known, own])
    parts: Int64 = (np.arange(len(cells)) >= len(known)).astype(np.int64)
    slides, folds = np.full(len(cells), -1, np.int64), np.full(len(cells), -1, np.int64)
    of_slide = np.unique(own.patients, return_inverse=True)[1].reshape(-1) % _MOST_FOLDS
    slides[len(known) :] = of_slide
    folds[len(known) :] = np.argsort(np.argsort(of_slide, kind="stable")) % _CALIBRATION_FOLDS
    return fit(cells, taxonomy, folds, settings, parts, name, version, site=True, confirmed=confirmed, judged=slides)


def open_cells_of(bundle: Bundle) -> LabelledCells:
    """The open cells in a bundle. Raises BundleError where it has none, or they are of another encoder."""
    _, look = bundle.second_look()
    if look.open_cells is None:
        raise BundleError(
            f"{bundle.path}: has no open cells to mix a site's own with; a layer of one site alone calls normal cells blasts. "
            "Take a bundle with open cells (`attridet export --open-cells`)."
        )
    path = bundle.path / look.open_cells
    cells = LabelledCells.read(path, bundle.taxonomy.classes)
    if cells.encoder != encoder_of(bundle):
        raise BundleError(f"{path}: cells seen by another encoder than this bundle's. Make them anew: `attridet learn --open`.")
    return cells


def licences_of(bundle: Bundle, request: LearnRequest) -> dict[str, str]:
    """The licence of each open folder: as given, else as the bundle's card names it. Raises DataError for a folder without one."""
    named = {seen.name: seen.licence for seen in bundle.manifest.training.data}
    for text in request.licence:
        name, equals, words = text.partition("=")
        if not equals or not words.strip():
            raise DataError(f"--licence {text}: write NAME=TEXT, the folder's name and its licence.")
        named[name] = words.strip()
    licences = dict.fromkeys((folder.name for folder in request.rendered), "rendered by this project")
    for folder in request.data:
        if folder.name not in named:
            raise DataError(
                f"{folder}: nothing says under which licence these pictures are. A layer that ships is fitted to open data only: "
                f"--licence '{folder.name}=…'"
            )
        licences[folder.name] = named[folder.name]
    return licences


def next_version(out: Path, name: str) -> str:
    """The version of the layer to be written at `out`: one more than that of the layer there. Raises DataError for another file."""
    if not out.exists():
        return "1"
    try:
        former = NamingLayer.read(out)
    except BundleError as error:
        raise DataError(f"{out}: is there already and is no naming layer. Name another file.") from error
    if former.name != name:
        raise DataError(f"{out}: holds the layer {former.name!r}, not {name!r}. Name another file, or --name {former.name}.")
    return str(int(former.version) + 1) if former.version.isdigit() else "1"


def _write(request: LearnRequest, engine: BundleEngine, made: _Made, fitted: Fitted, settings: FitSettings) -> LearnResult:
    taxonomy, cells = engine.info.taxonomy, made.cells
    seen = ~np.isnan(fitted.left_out).any(1)
    found = figures(fitted.left_out[seen], cells.classes[seen], cells.patients[seen], fitted.layer.thresholds, taxonomy)
    own = layer_of(engine.bundle) if made.left_out == "slide" else None
    before = None
    if own is not None:
        told, _ = own.names(cells.features[seen], taxonomy)
        before = figures(told.probabilities, cells.classes[seen], cells.patients[seen], own.thresholds, taxonomy)
    notes = [*made.notes, *fitted.notes]
    about = card(engine.bundle, cells, settings, made.left_out, found, before, notes, fitted.layer.site)
    written = []
    try:
        if request.out.exists():
            former = NamingLayer.read(request.out)
            aside = request.out.with_name(f"{request.out.stem}-{former.version}{request.out.suffix}")
            write_result(aside, request.out.read_bytes())
            written.append(aside)
        layer = replace(fitted.layer, card=about).write(request.out)
        if request.open_cells is not None:
            cells.select(~np.char.endswith(cells.sources, SHAKEN)).write(request.open_cells, taxonomy.classes)
            written.append(request.open_cells)
    except OSError as error:
        raise DataError(f"{error.filename or request.out}: cannot be written ({error.strerror}). Name another place.") from error
    sheet, picture = (request.out.with_suffix(suffix) for suffix in (".md", ".html"))
    write_result(sheet, page(layer, request.out.name, found, before))
    write_result(picture, picture_page(layer, found, before))
    return LearnResult(layer, request.out, sheet, picture, found, before, (request.out, sheet, picture, *written))


def _folders(request: LearnRequest) -> Iterable[Path]:
    return filter(None, (request.cells, request.confirmed_normal, *request.data, *request.rendered))


def _check(request: LearnRequest) -> None:
    """What can be refused before any work."""
    for file in (request.out, request.open_cells):
        check_file(file)
    site = {"--cells": request.cells, "--confirmed-normal": request.confirmed_normal}
    shipping: Mapping[str, object] = {"--data": request.data, "--rendered": request.rendered, "--open-cells": request.open_cells}
    given = [option for option, value in (site if request.open else shipping).items() if value]
    if given:
        kind = "a site's layer, without --open" if request.open else "the open layer, with --open"
        raise DataError(f"{given[0]} is for {kind}. Leave one of them out.")
    if request.open and not request.data:
        raise DataError("--open needs --data DIR, once for each folder of open pictures.")
    if not request.open and not any(site.values()):
        raise DataError("--cells is missing: labelled cells of the microscope (or --confirmed-normal, or --open with --data).")
    names = [folder.name for folder in (*request.data, *request.rendered)]
    if len(set(names)) < len(names):
        raise DataError("--data names two folders of one name; a source is known by it. Rename one of them.")
    if request.colour_copies and not request.open:
        raise DataError("--colour-copies is for the open layer, with --open. Leave it out.")
