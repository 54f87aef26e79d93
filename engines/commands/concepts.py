"""`attridet concepts`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engines.evaluation.concepts_request import ConceptsRequest

if TYPE_CHECKING:
    from engines.evaluation.intervention import CellSeen


def concepts(request: ConceptsRequest) -> None:
    """What a concept bottleneck (--family cbm) sees in each cell of a picture, and its type once a person corrects an attribute.

    attridet concepts runs/cbm/best.pt FIELD.jpg --cell 2 --say nucleolus=prominent --out field.png
    """
    from rich.markup import escape

    from engines.commands.terminal import Terminal, table_of
    from engines.evaluation.intervention import NOTICE, see_concepts

    with Terminal() as terminal:
        cells = see_concepts(request)
        table = table_of(f"{escape(str(request.picture))}: {len(cells)} cells", "cell", ("score",), padding=(0, 1, 0, 0))
        for heading in ("type", "attributes, each with its probability"):
            table.add_column(heading)
        for cell in cells:
            kind = cell.before if cell.before == cell.after else f"{cell.before}\n-> [bold]{escape(cell.after)}[/]"
            table.add_row(str(cell.number), f"{cell.told.score:.2f}", kind, _words(cell))
        terminal.console.print(table)
        changed = sum(cell.before != cell.after for cell in cells)
        if request.say:
            terminal.message(f"{', '.join(request.say)}: {changed} of {len(cells)} cells have another type now")
        terminal.message(" ".join(NOTICE))
        if request.out is not None:
            terminal.message(f"written: {request.out}")


def _words(cell: CellSeen) -> str:
    told = [f"{key} {value}" + (" (said)" if key in cell.corrected.said else f" {p:.2f}") for key, (value, p) in cell.values.items()]
    return ", ".join(told)
