"""The command `attridet`: reads the command line, calls what does the work, turns errors into one line and an exit code.

A command is one dataclass of options (`engines.options.Request`), one call of the laboratory, one printed result: `engines.commands`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from engines.cli.options import add_command
from engines.commands import data
from engines.commands.bench import bench
from engines.commands.build import build
from engines.commands.concepts import concepts
from engines.commands.evidence import evidence, working_point
from engines.commands.film import film
from engines.commands.first_board import first_board
from engines.commands.import_weights import import_weights
from engines.commands.int8 import frames, gate, half, quantize
from engines.commands.learn import learn
from engines.commands.learning import adapt, evaluate, experiment, export, second_look, train
from engines.commands.recipe import recipe
from engines.commands.transfer import transfer
from engines.errors import EnginesError
from engines.files import print_any_name

HELP = "From data to engine: train, score, export and make data for AttriDet. Figures on rendered film are about rendered film only."
EXTRAS = {**dict.fromkeys(("torch", "onnx", "safetensors", "scipy"), "train"), "matplotlib": "evaluate"}
"""Modules that only some commands need, and the extra that brings each."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it."""


def _version() -> str:
    from engines.version import version

    return f"attridet {version()}"


app = App(name="attridet", help=HELP, help_format="plaintext", version=_version)
_data = App(name="data", help=data.__doc__)
app.command(_data)
for of_data in (data.check, data.split, data.export, data.plot):
    add_command(_data, of_data)
for command in (
    adapt,
    bench,
    build,
    concepts,
    evaluate,
    evidence,
    experiment,
    export,
    film,
    first_board,
    frames,
    gate,
    half,
    import_weights,
    learn,
    quantize,
    recipe,
    second_look,
    train,
    transfer,
    working_point,
):
    add_command(app, command)


def main() -> None:
    """Entry of the program. Exit codes: 0 done, 1 it failed, 2 what was asked for cannot be done, 130 after Ctrl-C."""
    print_any_name()
    if "LEUKOSCOPE_ENDS_WITH_PARENT" in os.environ:
        from engines.experiments.process import end_with_parent

        end_with_parent()
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """The exit code of one call; an error that a person can do something about is one line on stderr."""
    # Torch's threads spin while they wait for each other, which on a machine that does something else as well made one picture 100
    # times slower. The OpenMP that torch loads reads this once, so it stands before every import of torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        command, bound, _ = app.parse_args(list(words), exit_on_error=False, print_error=False)
        code = command(*bound.args, **bound.kwargs) or 0
        return code if list(words) not in ([], ["data"]) else 2  # help was printed, for want of a command
    except CycloptsError as error:
        return _fail(f"{' '.join(str(error).split())} See: {' '.join(('attridet', *(error.command_chain or ())))} --help", 2)
    except EnginesError as error:
        return _fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        return _fail(f"this needs {error.name}, which is not installed. Run: pip install 'leukoscope[{extra}]'", 2)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain once more while it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _fail(words: str, code: int) -> int:
    sys.stderr.write(f"attridet: {words}\n")
    return code
