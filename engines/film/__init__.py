"""Rendered Giemsa-stained blood film with its truth: a seeded drawing of slides for development, tests and demonstration.

    film = Film(seed=7, case="AML")
    image, truth = film.view((800.0, 600.0), Microscope("L", "C2", 100), noise_seed=1)

What it is not: data of patients, or evidence of how anything performs on them. Shapes, colours and frequencies come from
textbook descriptions and from looking at public images; a figure measured on rendered film is about the rendered film only.
"""

from engines.film.dataset import write_dataset
from engines.film.labels import labels, require_drawable
from engines.film.morphology import CASES
from engines.film.optics import Microscope
from engines.film.slide import FieldTruth, Film

__all__ = ["CASES", "FieldTruth", "Film", "Microscope", "labels", "require_drawable", "write_dataset"]
