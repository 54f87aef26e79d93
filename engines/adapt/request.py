"""What an adaptation is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from engines.options import PIXEL_ASPECT, TAXONOMY, Option
from engines.training.request import HYPERS, SIZES, RunRequest

METHODS = ("source-only", "confmix", "daca")


@dataclass(frozen=True, kw_only=True)
class AdaptRequest(RunRequest):
    """The options of `adapt`; `attridet adapt --help` shows them. source, target: folders in the published layout, DIR or DIR:N."""

    FILE: ClassVar[str] = "adapt.json"
    MAY_CHANGE: ClassVar[frozenset[str]] = frozenset({"out", "resume", "initial", "device", "threads"})

    out: Annotated[Path, Option("The run's folder: last.pt, results.csv.")]
    resume: Annotated[bool, Option("Go on with the run in --out, with the settings that it has.")] = False
    source: Annotated[
        tuple[str, ...],
        Option(
            "Labelled folder of the known microscope; :N shows its pictures N times an epoch, :0.25 another quarter each epoch; repeat "
            "for several. Required.",
            metavar="DIR",
        ),
    ] = ()
    target: Annotated[
        tuple[str, ...],
        Option(
            "Folder of the new microscope; its labels, if any, are not looked at; :N and repeating as above. Required.", metavar="DIR"
        ),
    ] = ()
    initial: Annotated[
        Path | None,
        Option("Network trained on the source: .pt, .safetensors, zoo:NAME or a bundle that has weights. Required.", metavar="FILE"),
    ] = None
    taxonomy: Annotated[Path | None, TAXONOMY] = None
    pixel_aspect: Annotated[tuple[str, ...], PIXEL_ASPECT] = ()
    method: Annotated[str, Option("confmix, daca, or source-only: the same steps without the target.", choices=METHODS)] = "confmix"
    oracle: Annotated[bool, Option("Learn from the target's labels too: what adaptation could reach.")] = False
    size: Annotated[str, Option("n, s, m, l or x.", choices=SIZES)] = "n"
    imgsz: Annotated[int, Option("Side of the training pictures in px.", low=64)] = 320
    epochs: Annotated[int, Option("Times through the source.", low=1)] = 4
    batch: Annotated[int, Option("Source pictures a step, and as many of the target.", low=1)] = 16
    hyper: Annotated[str, Option("low (as published), med, high, film, finetune or adapt.", choices=HYPERS)] = "adapt"
    learning_rate: Annotated[float | None, Option("In place of the set's.", low=0)] = None
    teacher: Annotated[
        str, Option("Who makes the pseudo-labels: ema, the average, or student (as published).", choices=("student", "ema"))
    ] = "ema"
    source_boxes: Annotated[
        str, Option("What mixed pictures say of their source part: truth or pseudo (as published).", choices=("pseudo", "truth"))
    ] = "truth"
    confidence: Annotated[
        float, Option("Score from which a box becomes a pseudo-label (published: .25 confmix, .1 daca).", low=0.01, high=0.99)
    ] = 0.7
    unsure: Annotated[
        float | None, Option("Leave out quarters of the target with a box above this that is no pseudo-label.", low=0.01, high=0.99)
    ] = None
    weight: Annotated[float, Option("Weight of the target's loss.", low=0)] = 1.0
    recolour: Annotated[float, Option("Share of source pictures that take on colours of the target (published: 0).", low=0, high=1)] = (
        0.7
    )
    target_crop: Annotated[
        float, Option("Share of target pictures cut to a window at their own scale, the others shrunk.", low=0, high=1)
    ] = 0.0
    published: Annotated[bool, Option("Teacher, source boxes, confidence and colours as in the papers, whatever else is said.")] = False
    seed: Annotated[int, Option(low=0)] = 0
    device: Annotated[str, Option("cpu or cuda.")] = "cpu"
    threads: Annotated[int, Option(low=1)] = 2
