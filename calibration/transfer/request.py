"""What a transfer of labels is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from engines.options import TAXONOMY, Option, Request


@dataclass(frozen=True, kw_only=True)
class TransferRequest(Request):
    """The options of `transfer_labels`. source, target: folders of pictures; rotation: ignored with any_rotation."""

    source: Annotated[Path, Option("Pictures with labels: the published layout, or a plain folder.", name="--from")]
    target: Annotated[Path, Option("Pictures of the same fields that are to bear these labels.", name="--to")]
    out: Annotated[Path, Option("New folder: Images, labels, report, status.csv, manual.csv.")]
    taxonomy: Annotated[Path | None, TAXONOMY] = None
    via: Annotated[Path | None, Option("Pictures between the two, such as 40x between 100x and 10x, for pairs that fail directly.")] = (
        None
    )
    pairs: Annotated[
        Path | None, Option("CSV with the columns source,target. Without it names pair: patient_field_... on both sides.")
    ] = None
    every_pair: Annotated[bool, Option("Try every source with every target.")] = False
    from_split: Annotated[str | None, Option("Only this split of --from.")] = None
    to_split: Annotated[str | None, Option("Only this split of --to.")] = None
    scale: Annotated[float | None, Option("Target px of a source px; default: the median of the pairs.", low=0.01, high=100)] = None
    rotation: Annotated[float, Option("How far the target is turned, in degrees.", low=-180, high=180)] = 0.0
    any_rotation: Annotated[bool, Option("Take pairs however they are turned.")] = False
    label_check: Annotated[bool, Option("Refuse labels that do not lie on stained nuclei.", off="--no-label-check")] = True
    copy: Annotated[bool, Option("Copy the pictures instead of linking them.")] = False
    grey_out: Annotated[bool, Option("Paint grey what no source has labelled, so that no trainer learns it.")] = False
    pictures: Annotated[int, Option("Draw at most so many pairs.", low=0)] = 60

    @property
    def rotation_deg(self) -> float | None:
        """How far the target is turned; None for any angle."""
        return None if self.any_rotation else self.rotation
