"""The taxonomy's file: what is read from it, what fills the gaps of a short one, and every kind of fault with its line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engines.bundle import Bundle
from engines.errors import DataError
from engines.network import AttriDet, copy_fitting
from engines.taxonomy import LEUKEMIA_ATTRI, Attribute, PersonClass, Taxonomy, TxtLayout, read_taxonomy
from engines.taxonomy.model import SHIPPED
from engines.training.agreement import must_agree
from engines.yaml_lines import read_document

ZOO = Path(__file__).parents[3] / "engines" / "zoo"
RODS = """  - key: auer_rods
    name: Auer Rods
    values: [absent, present]
"""


def with_lines(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """The shipped file with each first text replaced by the second."""
    text = SHIPPED.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    file = tmp_path / "own.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_shipped_file_is_the_default() -> None:
    assert read_taxonomy(SHIPPED) == read_taxonomy() == LEUKEMIA_ATTRI
    assert LEUKEMIA_ATTRI.n_logits == 15 and LEUKEMIA_ATTRI.blast_codes == (1, 2, 5, 6, 9)
    assert [(one.name, one.columns) for one in LEUKEMIA_ATTRI.txt_layouts] == [
        ("boxes-5", 5),
        ("published-11", 11),
        ("published-12", 12),
    ]
    assert LEUKEMIA_ATTRI.widest_layout.name == "published-12"


def test_a_bundle_carries_the_whole_taxonomy_and_older_ones_are_filled(tmp_path: Path) -> None:
    assert Taxonomy.from_dict(json.loads(json.dumps(LEUKEMIA_ATTRI.to_dict()))) == LEUKEMIA_ATTRI
    for name in ("attridet-n", "attridet-n-int8"):
        assert Bundle.open(ZOO / name, verify=False).taxonomy == LEUKEMIA_ATTRI
    whole = LEUKEMIA_ATTRI.to_dict()
    short = {key: whole[key] for key in ("classes", "artefact", "blasts")}  # as in the bundles up to 1.2.0
    short["attributes"] = [{key: one[key] for key in ("key", "name", "values")} for one in whole["attributes"]]
    assert Taxonomy.from_dict(short) == LEUKEMIA_ATTRI
    file = tmp_path / "taxonomy.json"
    file.write_text(json.dumps(LEUKEMIA_ATTRI.to_dict()))
    assert read_taxonomy(file) == LEUKEMIA_ATTRI  # what a manifest says is a file too


def test_a_type_and_an_attribute_more(tmp_path: Path) -> None:
    plasma = 'code: BAS, colour: "847AFF", marker: disc}\n'
    file = with_lines(tmp_path, (plasma, plasma + "  - name: Plasma cell\n"), ("# Attributes behind", RODS + "\n# Attributes behind"))
    taxonomy = read_taxonomy(file)
    assert taxonomy.classes == (*LEUKEMIA_ATTRI.classes, "Plasma cell")
    assert taxonomy.attributes == (*LEUKEMIA_ATTRI.attributes, Attribute("auer_rods", "Auer Rods", ("absent", "present")))
    assert taxonomy.txt_layouts == LEUKEMIA_ATTRI.txt_layouts


def test_what_only_a_person_says_is_there_in_every_taxonomy_and_can_be_added_to(tmp_path: Path, repository: Path) -> None:
    keys = ["nrbc", "smudge", "artefact", "not_classed"]
    assert [one.key for one in LEUKEMIA_ATTRI.person_classes] == keys
    short = Taxonomy(("Cell", "Blast"), LEUKEMIA_ATTRI.attributes)
    assert short.person_classes == LEUKEMIA_ATTRI.person_classes
    assert (short.members("abnormal"), short.members("equivalents")) == ((), ())  # it has none of these classes
    more = (repository / "docs/taxonomy.md").read_text(encoding="utf-8").split("```yaml\nperson_classes:\n")[1].split("```")[0]
    own = read_taxonomy(with_lines(tmp_path, ("person_classes:\n", "person_classes:\n" + more)))
    assert [one.key for one in own.person_classes] == ["megakaryocyte", *keys]
    assert own.person_class("megakaryocyte") == PersonClass(
        "megakaryocyte", "Megakaryocyte", "megakaryocytes", "MEG", "5CB8FF", "cross"
    )
    assert own.person_class("Megakaryocyte") is None


def test_the_groups_of_the_review_are_of_classes_that_there_are() -> None:
    assert LEUKEMIA_ATTRI.members("equivalents") == ("Promonocyte", "Abnormal promyelocyte")
    assert set(LEUKEMIA_ATTRI.members("equivalents")) < set(LEUKEMIA_ATTRI.members("blasts"))
    assert LEUKEMIA_ATTRI.members("abnormal") == ("Atypical lymphocyte", "Myelocyte", "Metamyelocyte")
    assert LEUKEMIA_ATTRI.members("lymphoid") == ()


def test_layouts_that_say_nothing_of_the_attributes_are_none_of_theirs() -> None:
    own = (Attribute("granules", "Granules", ("few", "many")),)
    assert [one.columns for one in replace(LEUKEMIA_ATTRI, attributes=own).txt_layouts] == [5]
    with pytest.raises(ValueError, match="two ways"):
        Taxonomy(("Cell",), own, txt_layouts=(TxtLayout("a", ("granules",)), TxtLayout("b", ("granules",))))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("artefact: None", "artefact: Debris", "artefact: no class 'Debris'"),
        ("artefact: None", "artifact: None", "artifact: no key 'artifact'; did you mean 'artefact'?"),
        ("    noun: cell\n", "    nuon: cell\n", "attributes.0.nuon: no key 'nuon'; did you mean 'noun'?"),
        ("blasts: [Myeloblast,", "blasts: [Myelobalst,", "blasts name no class: Myelobalst"),
        ("[absent, prominent]", "[no, prominent]", "attributes.6.values: False is no text; put it in quotes"),
        ("[absent, prominent]", "[absent]", "at least two values"),
        ("code: MON", "code: NEU", "classes.10.code: 'neu' stands for Neutrophil already"),
        ('colour: "36DAFF"', 'colour: "36DAF"', "classes.8.colour: '36DAF' is no colour"),
        ('colour: "FFAA88"', 'colour: "pink"', "told_groups.0.colour: 'pink' is no colour"),
        ("marker: disc\n\n", "marker: cross\n\n", "told_groups.1.marker: no marker 'cross'; there are"),
        ('code: "WC?"', "code: WC", "told_groups.1.code: 'WC' is no code; write 2 or 3 capital letters or digits and a question mark"),
        ("key: others", "key: blasts", "told_groups.1.key: 'blasts' is none of blasts, others, or stands there twice"),
        ("key: nrbc", "key: NRBC", "person_classes.0.key: 'NRBC' is no key"),
        ("key: nrbc", "key: smudge", "person_classes.1.key: 'smudge' is a class, a group, or stands there twice"),
        ("key: nrbc", "key: blasts", "person_classes.0.key: 'blasts' is a class, a group, or stands there twice"),
        ("key: nrbc, name: Nucleated red cell", "key: erythroblast", "person_classes.0: lacks 'name'"),
        ("code: SMU", "code: S", "person_classes.1.code: 'S' is no code"),
        ("code: SMU", "cod: SMU", "person_classes.1.cod: no key 'cod'; did you mean 'code'?"),
        ('colour: "36DAFF"', "colour: 363636", "classes.8.colour: 363636 is no text; put it in quotes"),
        ("marker: triangle", "marker: tringle", "did you mean 'triangle'?"),
        ("name: Monocyte", "name: mono-blast", "classes.10.name: 'monoblast' stands for Monoblast already"),
        ("name: Monocyte", "name: Monoblast", "class names must be unique"),
        ("  - {name: Monocyte, ", "  - {nmae: Monocyte, ", "classes.10.nmae: no key 'nmae'; did you mean 'name'?"),
        ("name: Cytoplasm\n", "name: Nucleus\n", "attributes.4.key: 'nucleus' stands for nucleolus already"),
        ("key: cytoplasm\n", "key: Cyto plasm\n", "attributes.4.key: 'Cyto plasm' is no key"),
        ("telling: {scanty: 5}", "telling: {scant: 5}", "attributes.4.telling: no value 'scant'; did you mean 'scanty'?"),
        ("telling: {scanty: 5}", "telling: {scanty: most}", "attributes.4.telling.scanty: 'most' is no rank"),
        ("part: feature", "part: features", "did you mean 'feature'?"),
        ("published-12: [cell_size,", "published-12: [cel_size,", "txt_layouts.published-12: no attribute 'cel_size'; did you mean"),
        ("boxes-5: []", "boxes-5: []\n  own-11: [skip, skip, skip, skip, skip, cell_size]", "11 columns as in own-11"),
        ("attribute_cnn: [", "attribute_cnn: [nuclear, ", "attribute_cnn: no attribute 'nuclear'"),
        ("    name: Cell Size\n", "", "attributes.0: lacks 'name'"),
    ],
)
def test_a_fault_names_its_line_and_the_way_out(tmp_path: Path, old: str, new: str, words: str) -> None:
    file = with_lines(tmp_path, (old, new))
    with pytest.raises(DataError) as caught:
        read_taxonomy(file)
    message = str(caught.value)
    assert words in message and caught.value.exit_code == 2
    line = int(message.removeprefix(f"{file}:").partition(":")[0])
    key = message.removeprefix(f"{file}:{line}: ").partition(":")[0].split(".")
    assert line == read_document(file.read_text(encoding="utf-8")).line(tuple(key))
    assert line > 1


def test_what_is_no_taxonomy_file(tmp_path: Path) -> None:
    file = tmp_path / "none.yaml"
    for content, words in (
        (None, "cannot be read"),
        (b"", "no taxonomy"),
        (b"\xff", "not UTF-8"),
        (b"- a\n", "no taxonomy"),
        (b"[", ":1:"),
    ):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(DataError, match=words):
            read_taxonomy(file)


def test_a_run_is_not_resumed_with_another_taxonomy() -> None:
    other = replace(LEUKEMIA_ATTRI, classes=(*LEUKEMIA_ATTRI.classes[:12], "Basophil", "Eosinophil"))
    words = replace(LEUKEMIA_ATTRI, types=(replace(LEUKEMIA_ATTRI.types[1], code="MBL"),))
    there = {"taxonomy": LEUKEMIA_ATTRI.to_dict()}
    must_agree(Path("last.pt"), there, {"taxonomy": words.to_dict()})
    with pytest.raises(DataError, match=r"last.pt: was trained with another taxonomy\. .*--initial"):
        must_agree(Path("last.pt"), there, {"taxonomy": other.to_dict()})


def test_weights_are_taken_over_by_the_names_of_classes_and_values() -> None:
    """Order and number differ: what both know is the same row, what is new begins anew and is named."""
    torch.manual_seed(0)
    rods = Attribute("auer_rods", "Auer Rods", ("absent", "present"))
    turned = replace(
        LEUKEMIA_ATTRI, classes=("Plasma cell", *LEUKEMIA_ATTRI.classes[::-1]), attributes=(rods, *LEUKEMIA_ATTRI.attributes[::-1])
    )
    start, model = AttriDet("n"), AttriDet("n", turned, variances=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    left = copy_fitting(model, start)
    assert left == ["model.24.m, class Plasma cell", "attribute_head.fc3, attribute Auer Rods"]
    given, now = start.state_dict(), model.state_dict()
    for level in range(3):
        theirs, ours, was = (
            state[f"model.24.m.{level}.weight"].view(3, -1, *given[f"model.24.m.{level}.weight"].shape[1:])
            for state in (given, now, before)
        )
        assert torch.equal(ours[:, :5], theirs[:, :5])
        assert torch.equal(ours[:, 5], was[:, 5]) and torch.equal(ours[:, 20:], was[:, 20:])  # plasma cells, variances
        assert torch.equal(ours[:, 6:20], theirs[:, 5:].flip(1))
    bias = now["attribute_head.fc3.bias"]
    assert torch.equal(bias[:2], before["attribute_head.fc3.bias"][:2])
    for attribute, group in zip(LEUKEMIA_ATTRI.attributes, LEUKEMIA_ATTRI.groups, strict=True):
        place = [a.key for a in turned.attributes].index(attribute.key)
        assert torch.equal(bias[turned.groups[place]], given["attribute_head.fc3.bias"][group])
    assert torch.equal(now["attribute_head.conv1.weight"], given["attribute_head.conv1.weight"])
