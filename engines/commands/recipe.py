"""`attridet recipe`."""

from __future__ import annotations

from calibration.int8 import FramesRequest, QuantizeRequest
from calibration.transfer import TransferRequest
from engines.adapt import AdaptRequest
from engines.bench import BenchRequest
from engines.commands import data
from engines.commands.film import FilmRequest
from engines.commands.import_weights import ImportRequest
from engines.evaluation import EvaluateRequest
from engines.evaluation.working_point_request import WorkingPointRequest
from engines.export import ExportRequest, SecondLookRequest
from engines.gate import GateRequest
from engines.recipe import RecipeRequest
from engines.training import TrainRequest

COMMANDS = {
    "data check": data.CheckRequest,
    "data split": data.SplitRequest,
    "data export": data.ExportRequest,
    "data plot": data.PlotRequest,
    "train": TrainRequest,
    "adapt": AdaptRequest,
    "evaluate": EvaluateRequest,
    "export": ExportRequest,
    "second-look": SecondLookRequest,
    "working-point": WorkingPointRequest,
    "frames": FramesRequest,
    "quantize": QuantizeRequest,
    "gate": GateRequest,
    "bench": BenchRequest,
    "transfer": TransferRequest,
    "film": FilmRequest,
    "import-weights": ImportRequest,
}
"""What a step of a recipe may be."""


def recipe(request: RecipeRequest) -> int:
    """From a download to an INT8 engine folder and a page of results, all steps in one command; started again it goes on where it was.

    attridet recipe h100-to-l100 --data DOWNLOAD --out RUN --dry-run

    attridet recipe h100-to-l100 --data DOWNLOAD --out RUN

    Exit code 0: done, 1: a step failed, 2: what was asked for cannot be done, 3: done, but the page begins with a caution.
    """
    from engines.commands.terminal import Terminal
    from engines.recipe import run_recipe

    with Terminal() as terminal:
        return run_recipe(request, COMMANDS, terminal)
