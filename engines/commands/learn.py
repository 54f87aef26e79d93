"""`attridet learn`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibration.site import LearnRequest

if TYPE_CHECKING:
    from rich.table import Table

    from calibration.site import LearnResult


def learn(request: LearnRequest) -> None:
    """Fit a naming layer: to one microscope from its own labelled cells, or to open data (--open).

    attridet learn zoo:attridet-n --cells labelled --out site.npz

    attridet learn BUNDLE --open --data DIR --data DIR --out layer.npz --open-cells open-cells.npz

    A person looks at its card and activates it: leukoscope layer use site.npz
    """
    from calibration.site import learn as run
    from engines.commands.terminal import Terminal

    with Terminal() as terminal:
        result = run(request, terminal)
        terminal.console.print(_table(result))
        for note in result.layer.card["notes"]:
            terminal.warning(str(note))
        terminal.message(str(result.layer.card["said"]))
        for path in result.written:
            terminal.message(f"written: {path}")
        layer = result.layer.info
        terminal.message(f"{layer.label}: activate it by `leukoscope layer use {result.path}`" if layer.site else layer.label)


def _table(result: LearnResult) -> Table:
    from calibration.site.card import figures_in_words
    from engines.commands.terminal import table_of

    found, before = (None if each is None else figures_in_words(each) for each in (result.found, result.before))
    assert found is not None
    table = table_of("Cells left out of the fit", "", ("this layer", *(["the bundle's own"] if before else [])))
    for title, words in found.items():
        table.add_row(title, words, *([before[title]] if before else []))
    return table
