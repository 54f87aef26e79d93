"""Which key says which class: never two the same, never a command's, and the same for every taxonomy, however long."""

from __future__ import annotations

import pytest

from device.desk.review_keys import COMMANDS, class_keys
from device.desk.review_pages import legend
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy


def test_the_keys_of_the_shipped_taxonomy_stay_what_people_have_learned() -> None:
    said = {entry.verdict: entry.key for entry in legend(LEUKEMIA_ATTRI)}
    assert said == {
        "Myeloblast": "1",
        "Lymphoblast": "2",
        "Promonocyte": "3",
        "Monoblast": "4",
        "Abnormal promyelocyte": "5",
        "blasts": "0",
        "Neutrophil": "T",
        "Atypical lymphocyte": "Y",
        "Lymphocyte": "L",
        "Myelocyte": "M",
        "Monocyte": "O",
        "Metamyelocyte": "D",
        "Eosinophil": "E",
        "Basophil": "P",
        "nrbc": "R",
        "smudge": "S",
        "others": "W",
        "artefact": "X",
        "not_classed": "N",
    }


@pytest.mark.parametrize("classes", [1, 3, 9, 12, 40])
def test_no_two_classes_share_a_key_and_none_takes_a_command(classes: int) -> None:
    blasts = [f"Blast {'abcdefghijklmnopqrstuvwxyz'[i % 26]}{i}" for i in range(classes)]
    others = [f"{'NQAX'[i % 4]}cell {i}" for i in range(classes)]
    keys = class_keys(blasts, "uncertain", others, ["other"])
    assert len(set(keys.values())) == len(keys)
    assert not set(keys.values()) & set(COMMANDS)
    assert keys["uncertain"] == "0"
    assert len(keys) == min(2 * classes + 2, 10 + 26 - len(COMMANDS))


def test_a_name_without_a_latin_letter_has_a_key_too() -> None:
    keys = class_keys([], "u", ["\u0646\u06cc\u0648\u0679\u0631\u0648\u0641\u0644", "Neutrophil"])
    assert set(keys) == {"u", "\u0646\u06cc\u0648\u0679\u0631\u0648\u0641\u0644", "Neutrophil"}


def test_what_has_no_key_left_can_still_be_pressed() -> None:
    taxonomy = Taxonomy(tuple(f"Kind {i}" for i in range(60)), LEUKEMIA_ATTRI.attributes, artefact="Kind 0", blasts=("Kind 1",))
    entries = legend(taxonomy)
    assert {entry.verdict for entry in entries} >= {f"Kind {i}" for i in range(1, 60)}
    assert any(not entry.key for entry in entries)
    assert [entry.key for entry in entries if entry.verdict == "artefact"] == ["X"]
