"""Patients out of a computer, to see whether intervals hold what they say.

A patient has a mix of types of his own (one kind of leukaemia rules it) and films that stain better or worse, and so a detector that
finds, places and names his cells better or worse than others'. The score of endless such patients is known, so one can count how often
an interval holds it. The long form, of which docs/bundles.md has the figures (a minute of one quiet core):

    python tests/support/simulated_patients.py --patients 13 --simulations 200
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from engines.detections import Int64
from engines.evaluation.average_precision import COCO_BOXES, Judged
from engines.evaluation.detection import ByRule, white_cells
from engines.evaluation.halves import half_samples
from engines.evaluation.intervals import Interval, detection
from engines.taxonomy import LEUKEMIA_ATTRI

SHARES = {0: 0.13, 1: 0.10, 2: 0.10, 3: 0.27, 7: 0.16, 8: 0.07, 10: 0.07, 11: 0.05, 12: 0.05}
"""Of the cells of all patients by type (codes of the published taxonomy: artefact, two blasts, neutrophil ... eosinophil)."""
DISEASES = (1, 2, 7, 8, 10)
"""One of these rules a patient's mix."""


@dataclass(frozen=True)
class World:
    """How patients differ. pictures, cells: means, of a patient and of a picture. The spreads are of logits, over patients.

    mix: how alike the patients' mixes of types are (sum of a Dirichlet's parameters). ruled: share of the cells that his disease has.
    """

    pictures: float = 6.0
    cells: float = 4.5
    mix: float = 4.0
    ruled: float = 0.35
    found: float = 1.8
    found_spread: float = 0.7
    named: float = 0.8
    named_spread: float = 0.8
    invented: float = 0.8
    places_px: float = 4.0


def patient(world: World, rng: np.random.Generator) -> list[Judged]:
    """The pictures of one patient, at least one."""
    codes = np.array(list(SHARES))
    mix = (1 - world.ruled) * rng.dirichlet(world.mix * np.array(list(SHARES.values())))
    mix[list(codes).index(rng.choice(DISEASES))] += world.ruled
    found, named = world.found + world.found_spread * rng.normal(), world.named + world.named_spread * rng.normal()
    places, invented = world.places_px * np.exp(0.3 * rng.normal()), world.invented * rng.gamma(4) / 4
    return [_picture(world, rng, codes, mix, found, named, places, invented) for _ in range(1 + rng.poisson(world.pictures - 1))]


def _picture(
    world: World, rng: np.random.Generator, codes: Int64, mix: np.ndarray, found: float, named: float, places: float, invented: float
) -> Judged:
    cells = int(rng.poisson(world.cells))
    corner = np.stack((90.0 * (np.arange(cells) % 7), 90.0 * (np.arange(cells) // 7)), 1)
    truth = np.concatenate((corner, corner + rng.uniform(40, 70, (cells, 2))), 1)
    types = rng.choice(codes, cells, p=mix / mix.sum())
    hit = rng.random(cells) < _share(found)
    boxes, told = [truth[hit] + rng.normal(0, places, (int(hit.sum()), 4))], [types[hit]]
    sure = [rng.normal(0.8, 1, int(hit.sum()))]
    # The type is right, or another one is told and the right one less surely, as suppression of several types a box leaves it.
    wrong = rng.random(len(told[0])) > _share(named)
    other = rng.choice(codes, int(wrong.sum()))
    boxes.append(boxes[0][wrong])
    told.append(other)
    sure.append(sure[0][wrong])
    sure[0] = sure[0] - np.where(wrong, rng.exponential(1.5, len(wrong)), 0)
    nothing = int(rng.poisson(invented))
    corner = rng.uniform(0, 560, (nothing, 2))
    boxes.append(np.concatenate((corner, corner + rng.uniform(30, 70, (nothing, 2))), 1))
    told.append(rng.choice(codes, nothing))
    sure.append(rng.normal(-0.8, 1, nothing))
    scores = _share(np.concatenate(sure))
    order = np.argsort(-scores, kind="stable")
    every = np.concatenate(boxes)[order].astype(np.float32)
    return Judged(every, scores[order].astype(np.float32), np.concatenate(told)[order], truth.astype(np.float32), types)


def _share(logit: np.ndarray | float) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(logit, np.float64)))


def set_of(world: World, patients: int, rng: np.random.Generator) -> tuple[list[Judged], Int64]:
    """The pictures of so many patients, and whose each is."""
    each = [patient(world, rng) for _ in range(patients)]
    return [picture for pictures in each for picture in pictures], np.repeat(np.arange(patients), [len(p) for p in each])


def scores(images: Sequence[Judged]) -> dict[str, dict[int, float]]:
    """AP of each type (0 alone: white cell against background) by the names of the intervals, for means over some types."""
    found: dict[str, dict[int, float]] = {}
    for prefix, some in (("", images), ("wbc_", [white_cells(j, LEUKEMIA_ATTRI) for j in images])):
        for rule, ap in ByRule.score(some).each.items():
            for name, values in (
                (f"{prefix}{rule}_{'ap' if prefix else 'map'}{t}", v) for t, v in (("50", ap.ap50), ("5095", ap.ap5095))
            ):
                found[name] = dict(zip(ap.classes.tolist(), values.tolist(), strict=True))
    return found


def intervals(images: Sequence[Judged], unit_of: Int64, draws: int, seed: int) -> dict[str, Interval]:
    """As `attridet evaluate` makes them."""
    white = [white_cells(j, LEUKEMIA_ATTRI) for j in images]
    return detection(images, white, COCO_BOXES, unit_of, half_samples(int(unit_of.max()) + 1, draws, seed), ())


@dataclass
class Count:
    """Of one score: the intervals, what endless patients score over the types of each set, and the scores of the sets themselves."""

    intervals: list[Interval] = field(default_factory=list)
    truths: list[float] = field(default_factory=list)

    @property
    def covered(self) -> float:
        """Share of the intervals that hold what endless patients score."""
        return float(np.mean([i.low <= t <= i.high for i, t in zip(self.intervals, self.truths, strict=True)]))

    @property
    def covered_own_size(self) -> float:
        """Share that hold the mean score of sets of so many patients, which is higher: few cells of a type look better than many."""
        mean = np.mean([i.value for i in self.intervals])
        return float(np.mean([i.low <= mean <= i.high for i in self.intervals]))

    @property
    def inside(self) -> float:
        """Share whose value lies inside and not at an end."""
        return float(np.mean([i.low < i.value < i.high for i in self.intervals]))

    @property
    def width(self) -> float:
        return float(np.mean([i.high - i.low for i in self.intervals]))

    @property
    def too_good(self) -> float:
        """By how much the mean score of the sets lies above that of endless patients."""
        return float(np.mean([i.value for i in self.intervals]) - np.mean(self.truths))


def simulate(world: World, patients: int, simulations: int, draws: int, seed: int = 7, endless: int = 1500) -> dict[str, Count]:
    """So many sets of patients, each with its intervals, beside the score of `endless` patients; by the names of the intervals."""
    truth = scores(set_of(world, endless, np.random.default_rng(seed))[0])
    counts: dict[str, Count] = {}
    for number, (images, unit_of) in enumerate(_sets(world, patients, simulations, seed)):
        held = {int(c) for j in images for c in j.truth_classes}
        for name, interval in intervals(images, unit_of, draws, number).items():
            if name in truth:
                one = counts.setdefault(name, Count())
                one.intervals.append(interval)
                of = [ap for code, ap in truth[name].items() if name.startswith("wbc") or code in held]
                one.truths.append(float(np.mean(of)))
    return counts


def _sets(world: World, patients: int, simulations: int, seed: int) -> Iterator[tuple[list[Judged], Int64]]:
    for number in range(simulations):
        yield set_of(world, patients, np.random.default_rng((seed, number)))


def main() -> None:
    """Print the table that docs/bundles.md has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=13)
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--mix", type=float, default=World.mix)
    given = parser.parse_args()
    counts = simulate(World(mix=given.mix), given.patients, given.simulations, given.draws)
    sys.stdout.write(
        "| score | holds endless patients' | holds sets of this size | value inside | mean width | sets score higher by |\n"
    )
    sys.stdout.write("|---|---:|---:|---:|---:|---:|\n")
    for name, one in counts.items():
        shares = " | ".join(f"{100 * share:.1f} %" for share in (one.covered, one.covered_own_size, one.inside))
        sys.stdout.write(f"| {name} | {shares} | {one.width:.3f} | {one.too_good:.3f} |\n")


if __name__ == "__main__":
    main()
