"""`attridet experiment`."""

from __future__ import annotations

from engines.experiments import ExperimentRequest


def experiment(request: ExperimentRequest) -> None:
    """Train, adapt and score all runs of a plan, and write the table that compares them."""
    from engines.commands.terminal import Terminal
    from engines.experiments import run_experiment

    with Terminal() as terminal:
        terminal.message(run_experiment(request, terminal))
