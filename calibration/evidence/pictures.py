"""Pictures of the evidence: the worst errors on a set, and the curve of a site's own cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from calibration.evidence.measure import Measured
from calibration.evidence.site_curve import mean_of
from engines.evaluation.examples import example_pair
from engines.files import make_folder, write_result
from engines.plot_style import headline, jpeg, pens, png, style

WORST = 4


def worst_pictures(measured: Measured, names: Sequence[str], folder: Path, prefix: str) -> list[Path]:
    """The pictures on which labels and detector agree least, labels left and told right, as JPEG; former ones of the prefix go."""
    make_folder(folder)
    for old in folder.glob(f"{prefix}-?.jpg"):
        old.unlink()
    shown = [one for one in measured.examples if len(one.truth_classes) or len(one.classes)]
    worst = sorted(shown, key=lambda e: (e.agreement, -len(e.truth_classes) - len(e.classes), e.path.name))[:WORST]
    written = []
    for number, example in enumerate(worst, 1):
        written.append(folder / f"{prefix}-{number}.jpg")
        write_result(written[-1], jpeg(example_pair(example, names, 3.2)))
    return written


def curve_picture(site: dict[str, Any], file: Path) -> Path:
    """Youden's J over the site's cells, a line for each judged set, bars from the least to the largest draw."""
    make_folder(file.parent)
    with style():
        figure = Figure(figsize=(6.2, 3.9), layout="constrained")
        axes = figure.subplots()
        places = range(len(site["rows"]))
        for (label, about), (colour, dash) in zip(site["judged"].items(), pens(), strict=False):
            points = [mean_of(row["judged"][label], "j") for row in site["rows"]]
            mean, low, high = zip(*points, strict=True)
            around = [[m - a for m, a in zip(mean, low, strict=True)], [b - m for m, b in zip(mean, high, strict=True)]]
            words = f"{label} ({about['patients']} patients)"
            axes.errorbar(places, mean, around, color=colour, linestyle=dash, marker="o", markersize=4, capsize=3, label=words)
        axes.set_xticks(list(places), [str(row["cells"]) for row in site["rows"]])
        axes.set(xlabel="labelled white cells of the microscope", ylabel="Youden's J of blasts", ylim=(-0.1, 1))
        axes.legend(loc="lower right", fontsize=8)
        headline(
            figure, "What a site's own cells bring", f"cells of {site['folder']}/{site['split']}; bars: least and largest of the draws"
        )
        write_result(file, png(figure))
    return file
