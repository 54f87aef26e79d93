"""Writes an evaluation as one HTML page that needs nothing else, with tables and pictures. How it looks is in page.html.j2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from engines.data.pictures import image_size_hw
from engines.evaluation.attributes import MIN_IOU, mean_scores
from engines.evaluation.detection import FREQUENT_CELLS, RULE_NAMES
from engines.evaluation.examples import KEY, choose, css_key, example_pair, summary
from engines.evaluation.films import FilmScore, largest_difference, most, number
from engines.evaluation.intervals import IN_WORDS, LEVEL, Interval
from engines.evaluation.picture import ap_thresholds
from engines.evaluation.plots import rendered
from engines.evaluation.result import Evaluation
from engines.evaluation.told import told_rows
from engines.files import make_folder, printable, write_result
from engines.pages import data_uri, page_template
from engines.plot_style import DPI, jpeg

_TEMPLATE = "page.html.j2"
_SMALL_PX = 420
"""Pictures up to this size stand two pairs a row."""
_CSS_PX_PER_INCH = 98
_PAIR_INCHES = {False: 5.4, True: 2.75}
"""Width of each side of a pair, so that its words have the same size on the page whether pairs stand one or two a row."""
_KINDS = {"best": "The best", "typical": "Around the middle", "worst": "The worst"}


@dataclass(frozen=True)
class Plot:
    """A drawn picture as data, and how wide it stands on the page at most, so that its words have the size of the page's."""

    uri: str
    width_px: int

    @classmethod
    def of(cls, png: bytes) -> Plot:
        # The width is the first number of a PNG's header (IHDR).
        return cls(data_uri(png), round(_CSS_PX_PER_INCH * int.from_bytes(png[16:20], "big") / DPI))


def write_page(result: Evaluation, folder: Path, created: datetime) -> Path:
    """Writes index.html and the folder `pictures` beside it (the same pictures as files) into `folder`; returns the page's path.

    A former page is replaced. Raises DataError naming what cannot be read or written.
    """
    make_folder(folder / "pictures")
    # The page shows the examples larger, each by itself; the sheet of all of them is among the files.
    drawn = rendered(result)
    for name, (suffix, content) in drawn.items():
        write_result(folder / "pictures" / f"{name}.{suffix}", content)
    plots = {name: Plot.of(content) for name, (_, content) in drawn.items() if name != "examples"}
    page = folder / "index.html"
    write_result(page, html(result, plots, created))
    return page


def html(result: Evaluation, pictures: Mapping[str, Plot], created: datetime) -> str:
    """The page's text. pictures: by the names of `engines.evaluation.plots`; created: the moment that it bears."""
    taxonomy = result.engine.taxonomy
    template = page_template(Path(__file__).with_name(_TEMPLATE), number=number)
    groups, small = _examples(result)
    return template.render(
        result=result,
        names=taxonomy.classes,
        figures=_figures(result),
        told_rows=told_rows(result.told),
        frequent_cells=FREQUENT_CELLS,
        rules=RULE_NAMES,
        ap_thresholds=ap_thresholds(result.working_point.thresholds),
        min_iou=MIN_IOU,
        level_percent=round(100 * LEVEL),
        bars=_bars(result),
        films=[(film, _film_words(result, film)) for film in result.films],
        blasts=taxonomy.blast_codes,
        attribute_means=mean_scores(result.attributes),
        groups=groups,
        small=small,
        key=css_key(KEY),
        pictures=pictures,
        differentials=[plot for name, plot in pictures.items() if name.startswith("differential")],
        created=created.astimezone(timezone.utc),
    )


def _figures(result: Evaluation) -> list[tuple[str, str, str, str]]:
    """The large figures at the top: a score's name, the score, what is said of it, and its interval where there is one."""
    point, each = result.working_point, {} if result.intervals is None else result.intervals.each

    def between(key: str) -> str:
        interval = each.get(key)
        return "" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"

    figures = [
        ("mAP50-95, COCO", number(result.coco.map5095), f"mAP50 {number(result.coco.map50)}", between("coco_map5095")),
        ("mAP50-95, YOLOv5 v7.0", number(result.yolo.map5095), f"mAP50 {number(result.yolo.map50)}", between("yolov5_map5095")),
        ("White cell or background", number(result.wbc.coco.map50), "AP50, COCO", between("wbc_coco_ap50")),
        ("Cells found", number(point.recall), f"{point.found} of {point.cells}", between("recall")),
        ("Right type, of these", number(point.type_accuracy), f"{point.right_type} of {point.found}", between("type_accuracy")),
    ]
    mean = mean_scores(result.attributes)
    if not math.isnan(mean["f1"]):
        chance = f"chance {number(mean['chance_f1'])}"
        figures.append(("Attributes: mean F1", number(mean["f1"]), chance, between("attribute_f1")))
    return figures


def _bars(result: Evaluation) -> list[tuple[str, Interval]]:
    """Intervals as drawn on a line from 0 to 1, in the order of reading."""
    each = {} if result.intervals is None else result.intervals.each
    return [(words, each[key]) for key, words in IN_WORDS.items() if key in each and not math.isnan(each[key].low)]


def _film_words(result: Evaluation, film: FilmScore) -> dict[str, str]:
    names = result.engine.taxonomy.classes
    return {
        "title": result.film_title(film),
        "labelled": most(film.most_labelled, names),
        "told": most(film.most_told, names),
        "right": {True: "right", False: "wrong", None: "-"}[film.most_right],
        "largest": largest_difference(film, names),
    }


def _examples(result: Evaluation) -> tuple[list[tuple[str, list[tuple[str, str, str]]]], bool]:
    """Headings with their pictures (name, words, the pair as data), and whether they are small enough for two pairs a row."""
    chosen = choose(result.examples)
    names = result.engine.taxonomy.classes
    small = all(max(image_size_hw(example.path)) <= _SMALL_PX for _, example in chosen)
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for kind, example in chosen:
        figure = example_pair(example, names, _PAIR_INCHES[small])
        shown = (printable(example.path.name), f"{summary(example)}, F1 {example.agreement:.2f}", data_uri(jpeg(figure)))
        groups.setdefault(_KINDS[kind], []).append(shown)
    return list(groups.items()), small
