"""What weights were trained on, as checkpoints, weights and manifests keep it: each data folder, its patients, by which command."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

LABELLED, UNLABELLED = "labelled", "unlabelled"
"""Roles of a data folder: its labels were learnt from, or its pictures alone (the target of an adaptation)."""
SINCE_5 = ("role", "split", "cells", "patients", "names_sha256")
"""What `DataSeen` has since schema 5 of manifests."""


class Record(BaseModel):
    """Base of what is stored: frozen; an unknown key is an error, and so is a value of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DataSeen(Record):
    """One source of pictures that the weights were trained on: its name, licence and number of pictures.

    role: `LABELLED`, `UNLABELLED`, or empty where nobody kept it. split, cells, patients, names_sha256 (hex, over the sorted file
    names, one a line): of the pictures that were shown; empty and 0 where nobody kept them, or no name gives a patient.
    """

    name: str
    licence: str
    images: int = Field(ge=0)
    note: str = ""
    role: str = ""
    split: str = ""
    cells: int = Field(default=0, ge=0)
    patients: tuple[str, ...] = Field(default=(), strict=False)
    names_sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")

    @property
    def place(self) -> str:
        """Name and split for people."""
        return f"{self.name}/{self.split}" if self.split else self.name


class Training(Record):
    """Where the weights come from. `command` is what was typed; `data` empty and `command` empty: not trained."""

    data: tuple[DataSeen, ...] = Field(strict=False)
    seed: int | None
    command: str
    epochs: int | None = None
    note: str = ""


def data_of(record: Mapping[str, Any]) -> tuple[DataSeen, ...]:
    """All data that a checkpoint or a file of weights names: its own run's, then of the runs before it; each once.

    A checkpoint has them under `seen` and `seen_before`; what older versions wrote, and files of weights, under `data`.
    """
    keys = ("seen", "seen_before") if "seen" in record else ("data",)
    return once(_seen(one) for key in keys for one in record.get(key) or ())


def once(data: Iterable[DataSeen]) -> tuple[DataSeen, ...]:
    """Each source once, in order; one of which only the name is known goes where the same name is known better."""
    found = list(dict.fromkeys(data))
    known = {one.name for one in found if one.role}
    return tuple(one for one in found if one.role or one.images or one.name not in known)


def _seen(plain: Any) -> DataSeen:
    if isinstance(plain, Mapping):
        try:
            return DataSeen.model_validate(dict(plain))
        except ValidationError:  # of another program's making: its name is all that is taken
            return DataSeen(name=str(plain.get("name", "?")), licence="not stated", images=0)
    return DataSeen(name=str(plain), licence="not stated", images=0)
