"""`attridet train`, `adapt`, `evaluate`, `export`, `second-look` and `experiment`."""

from __future__ import annotations

from engines.adapt import AdaptRequest
from engines.evaluation import EvaluateRequest
from engines.experiments import ExperimentRequest
from engines.export import ExportRequest, SecondLookRequest
from engines.training import TrainRequest


def train(request: TrainRequest) -> None:
    """Train an AttriDet: detector and attributes by one loss, in one backward.

    attridet train --data DIR --out runs/1

    attridet train --out runs/1 --resume

    torchrun --nproc-per-node 2 -m engines train --device cuda ...

    Ctrl-C is safe: what the last full epoch reached is kept, and --resume makes the identical next step.

    torchrun shares each batch among GPUs, or processes of a CPU; but for dropout's draws the result is that of one.
    """
    from engines.commands.terminal import Terminal
    from engines.training import train as run

    with Terminal() as terminal:
        run(request, terminal)


def adapt(request: AdaptRequest) -> None:
    """Carry a trained network over to another microscope without labels of its pictures (ConfMix, DACA).

    Ctrl-C is safe: what the last full epoch reached is kept; go on with attridet adapt --out DIR --resume
    """
    from engines.adapt import adapt as run
    from engines.commands.terminal import Terminal

    with Terminal() as terminal:
        run(request, terminal)


def evaluate(request: EvaluateRequest) -> None:
    """Score a model on labelled pictures: AP by three rules, films, attributes, and how sure all of it is."""
    from engines.commands.evaluate_tables import tables
    from engines.commands.terminal import Terminal
    from engines.evaluation import evaluate as run

    with Terminal() as terminal:
        result = run(request, terminal)
        for table in tables(result.evaluation):
            terminal.console.print(table)
        for path in result.written:
            terminal.message(f"written: {path}")


def export(request: ExportRequest) -> None:
    """Turn weights into an engine folder: ONNX graphs, verified against torch, with manifest and golden picture.

    attridet export runs/a/best.pt ENGINE --images DIR/Images/test --data LABELLED --split val
    """
    from engines.commands.evidence import chosen_words
    from engines.commands.terminal import Terminal
    from engines.export import export as run

    with Terminal() as terminal:
        bundle = run(request, terminal)
        check = bundle.manifest.export_check
        assert check is not None
        attributes = f"attributes {check.attributes:.1e}" if check.attributes is not None else "no attributes: they are unknown"
        terminal.message(
            f"{bundle.path}: {bundle.manifest.name} {bundle.manifest.version}, digest {bundle.digest[:8]}. Against torch on "
            f"{check.images} pictures: boxes {check.boxes_px:.4f} px, scores {check.scores:.1e}, {attributes}"
        )
        if words := chosen_words(bundle):
            terminal.message(words)


def second_look(request: SecondLookRequest) -> None:
    """Give an engine folder a second look at cells, or its second look a naming layer; the detector's files stay as they are.

    attridet second-look zoo:attridet-n NEW --layer FILE --open-cells FILE
    """
    from engines.commands.terminal import Terminal
    from engines.export import add_second_look
    from engines.naming.choice import layer_of

    with Terminal() as terminal:
        bundle = add_second_look(request, terminal)
        look, layer = bundle.second_look()[1], layer_of(bundle)
        terminal.message(
            f"{bundle.path}: {bundle.manifest.name} {bundle.manifest.version}, digest {bundle.digest[:8]}. Second look: "
            f"{look.features} features a cell, against torch on {look.export_tiles} cells {look.export_difference:.1e}; "
            f"{f'named by {layer.info.label}' if layer else 'no naming layer'}"
        )


def experiment(request: ExperimentRequest) -> None:
    """Train, adapt and score all runs of a plan, and write the table that compares them."""
    from engines.commands.terminal import Terminal
    from engines.experiments import run_experiment

    with Terminal() as terminal:
        terminal.message(run_experiment(request, terminal))
