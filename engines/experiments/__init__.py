"""Experiments: runs of the laboratory planned in one file, carried out seed by seed, and compared in a table.

Public: `run_experiment`, `ExperimentRequest` (docs/api.md).
"""

from typing import TYPE_CHECKING

from engines.experiments.request import ExperimentRequest
from engines.lazy import lazy

if TYPE_CHECKING:
    from engines.experiments.run import run_experiment

__all__ = ["ExperimentRequest", "run_experiment"]
__getattr__ = lazy(__name__, run_experiment="run")
