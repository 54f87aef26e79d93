"""Lists of class names near TXT labels, which say what the numbers in them mean: data.yaml, classes.txt, obj.names, notes.json.

Numbers are mapped to the taxonomy by name. Nothing of the labels themselves is read here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from engines.data.faults import Fault, Kind, Place, Report
from engines.data.layout import visible_files
from engines.data.vocabulary import class_code, nearest_class
from engines.taxonomy import Taxonomy

LINES = frozenset({"classes.txt", "predefined_classes.txt", "_darknet.labels"})
"""Files of one name a line, besides all that end with .names."""


@dataclass(frozen=True, eq=False)
class ClassNumbers:
    """What the numbers of some TXT labels mean: names by number, as the files say; the taxonomy's order where there is no file."""

    taxonomy: Taxonomy
    files: tuple[Path, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)

    def code(self, number: float, place: Place, report: Report) -> int | None:
        """The taxonomy's code of a number; None, and reported, where it means no class."""
        known = self.names or dict(enumerate(self.taxonomy.classes))
        name = known.get(int(number)) if number.is_integer() else None
        code = class_code(name, self.taxonomy)
        if name is None:
            said = f"{self.files[0].name} names" if self.files else "there are"
            report(Fault(Kind.UNKNOWN_CLASS, place, f"class {number:g}; {said} {min(known)} to {max(known)}"))
        elif code is None:
            words = f"class {number:g} is '{name}' in {self.files[0]}, which is no class{nearest_class(name, self.taxonomy)}"
            report(Fault(Kind.UNKNOWN_CLASS, place, words))
        return code

    @property
    def in_order(self) -> bool:
        """Whether the numbers are the taxonomy's own."""
        return all(class_code(name, self.taxonomy) == number for number, name in self.names.items())

    def to_dict(self) -> dict[str, Any]:
        """Plain form for machines: the files, and for each number its name there and the taxonomy's, None where it has none."""
        return {
            "files": [str(file) for file in self.files],
            "numbers": {n: {"name": name, "class": self.meaning(n)} for n, name in self.names.items()},
        }

    def meaning(self, number: int) -> str | None:
        """The taxonomy's name of the class that a list names; None where it has no such class."""
        code = class_code(self.names[number], self.taxonomy)
        return None if code is None else self.taxonomy.classes[code]


def class_numbers(folder: Path, top: Path, taxonomy: Taxonomy, report: Report) -> ClassNumbers:
    """What the lists in the label folder and in the folders above it, up to `top`, say; lists that disagree are reported."""
    names: dict[int, str] = {}
    said_in: dict[int, Path] = {}
    files = []
    above = (parent for parent in folder.parents if parent == top or top in parent.parents)
    for place in (folder, *above):
        for file in visible_files(place):
            found = _names(file, report)
            for number, name in found.items():
                other = names.setdefault(number, name)
                if class_code(other, taxonomy) != class_code(name, taxonomy) or (
                    class_code(name, taxonomy) is None and other.casefold() != name.casefold()
                ):
                    words = f"names class {number} {name!r}, {said_in[number]} {other!r}; remove the list that is wrong"
                    report(Fault(Kind.CLASS_LIST, Place(file), words))
                    break
                said_in.setdefault(number, file)
            files += [file] if found else []
    return ClassNumbers(taxonomy, tuple(files), names)


def is_class_list(file: Path) -> bool:
    """Whether a file of one name a line, which may lie among TXT labels."""
    return file.name.casefold() in LINES or file.suffix.casefold() == ".names"


def _names(file: Path, report: Report) -> dict[int, str]:
    """Names by number in one file; empty where it is no class list."""
    try:
        if is_class_list(file):
            lines = file.read_text(encoding="utf-8-sig").rstrip().splitlines()
            return {number: line.strip() for number, line in enumerate(lines)}
        if file.suffix.casefold() in (".yaml", ".yml"):
            data = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
            names = data.get("names") if isinstance(data, dict) else None
            pairs = enumerate(names) if isinstance(names, list) else names.items() if isinstance(names, dict) else ()
            return {int(number): "None" if name is None else str(name) for number, name in pairs}
        if file.name.casefold() == "notes.json":
            data = json.loads(file.read_text(encoding="utf-8-sig"))
            return {int(one["id"]): str(one["name"]) for one in data.get("categories", ())}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        words = f"cannot be read as a list of class names: {' '.join(str(error).split())}; mend or remove it"
        report(Fault(Kind.CLASS_LIST, Place(file), words))
    return {}
