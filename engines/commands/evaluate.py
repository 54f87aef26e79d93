"""`attridet evaluate`."""

from __future__ import annotations

from engines.evaluation import EvaluateRequest


def evaluate(request: EvaluateRequest) -> None:
    """Score a model on labelled pictures: AP by COCO's and YOLOv5's rule, films, attributes, and how sure all of it is."""
    from engines.commands.evaluate_tables import tables
    from engines.commands.terminal import Terminal
    from engines.evaluation import evaluate as run

    with Terminal() as terminal:
        result = run(request, terminal)
        for table in tables(result.evaluation):
            terminal.console.print(table)
        for path in result.written:
            terminal.message(f"written: {path}")
