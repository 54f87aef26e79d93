"""Concepts: the attributes of which a type is made, as numbers from 0 to 1; what labels say of them, and what is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional

from engines.errors import DataError
from engines.taxonomy import Attribute, Taxonomy
from engines.taxonomy.model import plain


@dataclass(frozen=True)
class Concepts:
    """Attributes of a taxonomy as concepts: one number for one of two values (the second's probability), else one for each value.

    columns: places of the attributes in the taxonomy, in its order.
    """

    taxonomy: Taxonomy
    columns: tuple[int, ...]

    @classmethod
    def two_valued(cls, taxonomy: Taxonomy) -> Concepts:
        """The attributes of two values: of LeukemiaAttri's seven all but Cell Size."""
        return cls(taxonomy, tuple(n for n, a in enumerate(taxonomy.attributes) if len(a.values) == 2))

    @classmethod
    def every(cls, taxonomy: Taxonomy) -> Concepts:
        """All attributes."""
        return cls(taxonomy, tuple(range(len(taxonomy.attributes))))

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        return tuple(self.taxonomy.attributes[n] for n in self.columns)

    @property
    def widths(self) -> tuple[int, ...]:
        """How many numbers each concept is."""
        return tuple(1 if len(a.values) == 2 else len(a.values) for a in self.attributes)

    @property
    def width(self) -> int:
        return sum(self.widths)

    @property
    def places(self) -> tuple[slice, ...]:
        """Where each concept's numbers stand."""
        ends = list(accumulate(self.widths))
        return tuple(map(slice, [0, *ends], ends))

    def labelled(self, attributes: Tensor) -> Tensor:
        """Concepts (K, width) as labels (K, A) state them: 0 or 1; what they do not state is told by nothing, 1 / values."""
        parts = []
        for column, attribute in zip(self.columns, self.attributes, strict=True):
            label, values = attributes[:, column], len(attribute.values)
            one_hot = functional.one_hot(label.clamp(min=0), values).to(torch.float32)
            stated = torch.where((label >= 0)[:, None], one_hot, one_hot.new_tensor(1 / values))
            parts.append(stated[:, 1:] if values == 2 else stated)
        return torch.cat(parts, 1)

    def values(self, logits: Tensor) -> Tensor:
        """Concepts (K, width) from logits: sigmoid, and softmax within an attribute of more values."""
        parts = [logits[:, place] for place in self.places]
        return torch.cat([p.sigmoid() if p.shape[1] == 1 else p.softmax(1) for p in parts], 1)

    def loss(self, logits: Tensor, attributes: Tensor) -> Tensor:
        """Mean cross-entropy over what labels (K, A) state; an unknown attribute gives no gradient, a cell of class None none at all.

        Binary cross-entropy for two values, categorical for more. 0 with its graph where nothing is stated.
        """
        losses = [logits.sum() * 0]
        stated = 0
        for column, place in zip(self.columns, self.places, strict=True):
            label = attributes[:, column]
            known = label >= 0
            stated += int(known.sum())
            if place.stop - place.start == 1:
                wanted = label[known].to(logits.dtype)
                losses.append(functional.binary_cross_entropy_with_logits(logits[known, place.start], wanted, reduction="sum"))
            else:
                losses.append(functional.cross_entropy(logits[known, place], label[known], reduction="sum"))
        return torch.stack(losses).sum() / max(stated, 1)

    def probabilities(self, values: Tensor) -> Tensor:
        """Attribute probabilities (K, n_logits) from concepts (K, width); NaN for an attribute that is none."""
        out = values.new_full((len(values), self.taxonomy.n_logits), float("nan"))
        groups = self.taxonomy.groups
        for column, place in zip(self.columns, self.places, strict=True):
            part = values[:, place]
            out[:, groups[column]] = torch.cat([1 - part, part], 1) if part.shape[1] == 1 else part
        return out

    def corrected(self, values: Tensor, said: Mapping[str, str]) -> Tensor:
        """Concepts (K, width) as a person corrects them: `said` has a value's name for each attribute that is wrong.

        Attributes by key or name, values by name, in any spelling. Raises DataError naming what there is.
        """
        out = values.clone()
        for word, value in said.items():
            number, code = self._meant(word, value)
            place = self.places[number]
            if place.stop - place.start == 1:
                out[:, place] = float(code)
            else:
                out[:, place] = functional.one_hot(torch.tensor(code), place.stop - place.start).to(out)
        return out

    def keyed(self, said: Mapping[str, str]) -> dict[str, str]:
        """The same corrections by attribute key and value as the taxonomy spells them."""
        meant = [self._meant(word, value) for word, value in said.items()]
        return {self.attributes[n].key: self.attributes[n].values[code] for n, code in meant}

    def _meant(self, word: str, value: str) -> tuple[int, int]:
        names = [{plain(a.key), plain(a.name)} for a in self.attributes]
        number = next((n for n, some in enumerate(names) if plain(word) in some), None)
        if number is None:
            raise DataError(f"'{word}': no concept of this network; there are {', '.join(a.key for a in self.attributes)}")
        attribute = self.attributes[number]
        values = [plain(one) for one in attribute.values]
        if plain(value) not in values:
            raise DataError(f"'{value}': no value of {attribute.name}; there are {', '.join(attribute.values)}")
        return number, values.index(plain(value))


def parse_said(said: Sequence[str]) -> dict[str, str]:
    """Corrections from words such as "nucleolus=prominent". Raises DataError for what is none."""
    found = {}
    for text in said:
        word, equals, value = text.partition("=")
        if not equals or not word.strip() or not value.strip():
            raise DataError(f"'{text}': write ATTRIBUTE=VALUE, such as nucleolus=prominent")
        found[word.strip()] = value.strip()
    return found
