"""What an adaptation is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from engines.errors import DataError
from engines.options import PIXEL_ASPECT, TAXONOMY, Option
from engines.training.request import HYPERS, SIZES, Phase, RunRequest, phases_of

METHODS = ("source-only", "confmix", "daca")
CONFIDENCE = {"confmix": 0.25, "daca": 0.1}
"""Published: score from which a box becomes a pseudo-label."""


@dataclass(frozen=True, kw_only=True)
class AdaptRequest(RunRequest):
    """The options of `adapt`; `attridet adapt --help` shows them. source, target: folders in the published layout, DIR or DIR:N."""

    FILE: ClassVar[str] = "adapt.json"
    MAY_CHANGE: ClassVar[frozenset[str]] = frozenset({"out", "resume", "initial", "judge", "pictures", "device", "threads", "workers"})

    out: Annotated[Path, Option("The run's folder: last.pt, best.pt, results.csv, results.png.")]
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
            "Folder of the new microscope; labels of its train, if any, are not looked at; :N and repeating as above. Required.",
            metavar="DIR",
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
    size: Annotated[str | None, Option("n, s, m, l or x. [default: --initial's]", choices=SIZES)] = None
    imgsz: Annotated[
        int | None,
        Option("Side of the training pictures in px. [default: what --initial was trained at, 320 if it does not say]", low=64),
    ] = None
    epochs: Annotated[int, Option("Times through the source.", low=1)] = 4
    phases: Annotated[
        str | None,
        Option(
            "Instead of --epochs: so many of the source alone with the variances, kept in phase-1 of --out, then so many of "
            "adaptation. Published: 20,50.",
            metavar="S,A",
        ),
    ] = None
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
    published: Annotated[
        bool,
        Option(
            "The whole recipe of the papers: --hyper low --imgsz 600 --batch 1 (of each domain) --phases 20,50, teacher, source boxes, "
            "confidence and colours; what else is said takes the place of its part."
        ),
    ] = False
    judge: Annotated[
        bool,
        Option("Score after each epoch: the target's val where it is labelled, else the source's, for best.pt.", off="--no-judge"),
    ] = True
    val: Annotated[
        float,
        Option("Share of the source's train that judges, by patient, where no folder has a labelled val.", low=0.01, high=0.5),
    ] = 0.15
    judge_split: Annotated[str, Option("The split that judges.", metavar="NAME")] = "val"
    pictures: Annotated[bool, Option("Draw results.png; done unless told not to.", off="--no-pictures")] = True
    seed: Annotated[int, Option(low=0)] = 0
    device: Annotated[str, Option("cpu or cuda.")] = "cpu"
    threads: Annotated[int, Option(low=1)] = 2
    workers: Annotated[int | None, Option("Processes that prepare pictures; without it 1, on a GPU up to 8.", low=0)] = None

    def settled(self) -> AdaptRequest:
        """The request with all that `--published` sets and nothing else was said of; itself without it."""
        if not self.published:
            return self
        epochs = {"phases": None} if "epochs" in self.given else {"phases": "20,50"}
        recipe: dict[str, Any] = {
            "hyper": "low",
            "imgsz": 600,
            "batch": 1,
            "teacher": "student",
            "source_boxes": "pseudo",
            "weight": 1.0,
        }
        recipe |= {"confidence": CONFIDENCE.get(self.method, 0.25), "recolour": 0.0, "target_crop": 0.0, "unsure": None, **epochs}
        return replace(self, **{name: value for name, value in recipe.items() if name not in self.given})

    def planned(self) -> Sequence[Phase]:
        """The phases to run: from the latest that has begun to the last. Raises DataError for words that contradict each other."""
        if self.phases is not None and self.phases.count(",") != 1:
            raise DataError(f"--phases {self.phases}: name the epochs of the source alone and of the adaptation, as in --phases 20,50")
        planned = phases_of(self.epochs, self.phases, self.out, self.initial)
        self.check_folder(any(phase.begun for phase in planned))
        return planned[max((n for n, phase in enumerate(planned) if phase.begun), default=0) :]
