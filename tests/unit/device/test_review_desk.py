"""The review at the screen by keys, presses and drags: what is entered in the journal, and where the person then is."""

from __future__ import annotations

import itertools
import random

import pytest
from reviewing import Sitting, drag, painted, press

from device import language
from device.desk.review_desk import LOOK_S
from device.display.inputs import key
from device.display.pages_review import ComparePage, FieldPage, GalleryPage, SignPage
from device.errors import StoreError
from device.review.journal import Act, verify
from device.slide.model import SlideState

TOLD = ["Myeloblast", "Neutrophil", "blasts", "", "Lymphocyte", "artefact", "Neutrophil", "Promonocyte", "others", "Myelocyte"]


def sitting(told: list[str] | None = None, charts: int = 1) -> Sitting:
    return Sitting(*painted(TOLD if told is None else told, charts))


def page(one: Sitting) -> GalleryPage:
    shown = one.desk.page
    assert isinstance(shown, GalleryPage)
    return shown


def acts(one: Sitting) -> list[Act]:
    return [entry.act for entry in one.kept.entries]


def test_blasts_come_first_one_group_to_a_page_and_the_first_is_large() -> None:
    one = sitting()
    assert page(one).head.title == "Blasts and equivalents"
    assert {cell.told for cell in page(one).cells} == {"Myeloblast", "blasts", "Promonocyte"}
    assert [cell.sure for cell in page(one).cells] == sorted(cell.sure for cell in page(one).cells if cell.sure is not None)
    assert page(one).current is page(one).cells[0]
    titles = []
    for _ in range(12):
        titles.append(page(one).head.title)
        one.do("PAGEDOWN")
    assert titles[0] == "Blasts and equivalents"
    assert list(dict.fromkeys(titles))[-1].startswith("All other cells")
    assert page(one).head.said == "This is the last group: G to sign."


def test_a_blast_is_opened_when_it_was_shown_for_long_enough_and_not_before() -> None:
    one = Sitting(*painted(["Myeloblast", "Myeloblast", "Neutrophil"]))
    assert acts(one) == [Act.OPENED]
    one.desk.take([key("RIGHT")])
    one.now_s += LOOK_S / 2
    one.desk.take([])
    assert acts(one) == [Act.OPENED]
    one.now_s += LOOK_S
    one.desk.take([])
    assert acts(one) == [Act.OPENED, Act.OPENED]


def test_keys_that_come_faster_than_an_eye_wait_and_none_is_lost() -> None:
    one = Sitting(*painted(["Myeloblast"] * 5 + ["Neutrophil"]))
    one.desk.take([key("SPACE")] * 5)
    named = [entry for entry in one.kept.entries if entry.act is Act.NAMED]
    assert len(named) == 1  # of the first, which had been looked at; the second has only just appeared
    for _ in range(30):
        one.now_s += LOOK_S / 2
        one.desk.take([])
    blasts = [cell for cell in one.desk.review.cells.values() if cell.must_open]
    assert all(cell.opened and cell.cell.verdict for cell in blasts)


def test_a_selection_opens_nothing() -> None:
    one = Sitting(*painted(["Myeloblast"] * 6 + ["Neutrophil"]))
    one.do("+RIGHT", "+RIGHT", "+RIGHT", "1")
    opened = {entry.cell_id for entry in one.kept.entries if entry.act is Act.OPENED}
    assert sum(entry.act is Act.NAMED for entry in one.kept.entries) == 4
    assert len(opened) == 2  # the first, alone at the beginning, and the one that stands alone at the end
    assert any(blocker.kind == "blasts" for blocker in one.desk.review.blockers())


def test_a_class_key_names_the_cell_and_goes_on_and_undo_comes_back() -> None:
    one = sitting()
    first = page(one).current
    assert first is not None
    one.do("L")
    assert one.desk.review.cells[first.cell_id].said == "Lymphocyte"
    assert page(one).current is not None
    assert page(one).current.cell_id != first.cell_id
    assert first.cell_id in {cell.cell_id for cell in page(one).cells}  # it does not jump away under the hand
    one.do("U")
    assert one.desk.spot.cell_id == first.cell_id
    assert one.desk.review.cells[first.cell_id].said == first.told


def test_undo_goes_back_to_the_beginning() -> None:
    one = sitting()
    one.do("SPACE", "L", "X", "PAGEDOWN", "N", "PAGEDOWN", "+SPACE", "+SPACE")
    named = sum(bool(cell.cell.verdict) for cell in one.desk.review.cells.values())
    assert named >= 5
    one.do(*["U"] * 9)
    assert not any(cell.cell.verdict for cell in one.desk.review.cells.values())
    assert one.desk.page.head.said == "Nothing to take back in this review."
    assert one.desk.page.head.level == "warn"
    assert verify(one.kept.entries, one.desk.review.slide.slide_id) == []


def test_an_unidentified_cell_cannot_be_taken_as_told() -> None:
    one = Sitting(*painted(["", "", "Neutrophil"]))
    one.do("SPACE")
    assert "unidentified" in one.desk.page.head.said
    assert Act.NAMED not in acts(one)
    one.do("T")
    assert one.desk.review.differential.unidentified == 1


def test_a_page_of_others_is_accepted_at_once_and_blasts_are_not() -> None:
    one = Sitting(*painted(["Myeloblast"] * 2 + ["Neutrophil"] * 3))
    one.do("+SPACE")
    assert Act.NAMED not in acts(one)
    assert one.desk.page.head.level == "warn"
    one.do("PAGEDOWN", "ACCEPT")
    assert sum(entry.act is Act.NAMED for entry in one.kept.entries) == 3
    assert len({entry.step for entry in one.kept.entries if entry.act is Act.NAMED}) == 1  # one undo takes all of it back


def test_arrows_move_and_select_and_stay_on_the_page() -> None:
    one = Sitting(*painted(["Neutrophil"] * 20))
    ids = [cell.cell_id for cell in page(one).cells]
    one.do("DOWN", "RIGHT", "UP", "UP", "END", "HOME", "LEFT")
    assert page(one).at == 0
    one.do("+DOWN", "+RIGHT")
    assert page(one).selected == frozenset(ids[:10])
    one.do("E")
    assert [one.desk.review.cells[i].said for i in ids[:11]] == ["Eosinophil"] * 10 + ["Neutrophil"]
    assert not page(one).selected


def test_a_press_chooses_a_class_of_the_legend_names_and_a_drag_does_both() -> None:
    one = Sitting(*painted(["Neutrophil"] * 6))
    ids = [cell.cell_id for cell in page(one).cells]
    one.do(press(f"cell {ids[3]}"), press("class Monocyte"))
    assert one.desk.review.cells[ids[3]].said == "Monocyte"
    one.do(drag(f"cell {ids[5]}", "class smudge"))
    assert one.desk.review.cells[ids[5]].said == "smudge"
    one.do(press(f"cell {ids[0]}"), press(f"cell {ids[2]}", shift=True))
    assert page(one).selected == {ids[0], ids[2]}
    one.do(drag(f"cell {ids[0]}", "class Basophil"))
    assert [one.desk.review.cells[i].said for i in ids[:3]] == ["Basophil", "Neutrophil", "Basophil"]
    one.do(drag(f"cell {ids[1]}", f"cell {ids[4]}"))
    assert page(one).selected == set(ids[1:5])
    one.do(press("Q"))
    assert not page(one).selected
    assert not one.desk.closed


def test_the_field_shows_the_cell_and_a_missed_one_is_added_there() -> None:
    one = sitting()
    one.do("RETURN")
    field = one.desk.page
    assert isinstance(field, FieldPage)
    assert field.photo is not None
    assert field.current in field.cells
    one.do("I", press("picture", (0.5, 0.02)))
    field = one.desk.page
    assert isinstance(field, FieldPage)
    assert field.adding is not None
    x1, y1, x2, _ = field.adding
    assert (x1 + x2) / 2 == pytest.approx(480)
    assert y1 == 0  # as far inside as it goes
    one.do("DOWN", "LEFT", "P")
    added = one.kept.entries[-1]
    assert (added.act, added.said, added.field_index) == (Act.ADDED, "Basophil", field.cells[0].field_index)
    assert added.box_px[0] == pytest.approx(x1 - (x2 - x1) / 2)
    field = one.desk.page
    assert isinstance(field, FieldPage)
    assert field.current is not None
    assert field.current.added
    assert field.current.cell.crop_jpeg  # cut from the field's picture
    one.do("U")
    assert added.cell_id not in one.desk.review.cells
    one.do("RETURN")
    assert page(one).head.title == "Blasts and equivalents"


def test_bare_is_bare_and_fields_without_cells_can_be_looked_at() -> None:
    slide, pictures = painted(["Myeloblast"] * 30)
    one = Sitting(slide, pictures)
    one.do("B")
    field = one.desk.page
    assert isinstance(field, FieldPage)
    assert field.bare
    seen = set()
    for _ in range(4):
        one.do("PAGEDOWN")
        assert isinstance(one.desk.page, FieldPage)
        seen.add(one.desk.spot.field_index)
    assert len(seen) >= 2
    assert one.desk.page.head.said == "This is the last field."


def test_without_a_stored_picture_nothing_can_be_added_and_the_page_says_why() -> None:
    slide, _ = painted(TOLD)
    one = Sitting(slide, {})
    one.do("RETURN")
    field = one.desk.page
    assert isinstance(field, FieldPage)
    assert field.photo is None
    assert "no longer there" in field.why
    one.do("I")
    assert one.desk.page.head.level == "warn"
    assert one.desk.spot.adding is None


def test_two_cells_side_by_side() -> None:
    one = Sitting(*painted(["Neutrophil"] * 4))
    ids = [cell.cell_id for cell in page(one).cells]
    one.do("+RIGHT", "V")
    pair = one.desk.page
    assert isinstance(pair, ComparePage)
    assert [cell.cell_id for cell in pair.pair] == ids[:2]
    one.do("RIGHT", "E", "V")
    assert one.desk.review.cells[ids[1]].said == "Eosinophil"
    assert page(one).cells[1].verdict == "Eosinophil"
    one.do("+RIGHT", "+RIGHT", "V")
    assert isinstance(one.desk.page, GalleryPage)
    assert "Two cells" in one.desk.page.head.said


def test_signing_is_refused_until_all_is_done_and_then_signs() -> None:
    one = Sitting(*painted([*TOLD * 12, "Myeloblast"], charts=2))
    one.do("G")
    assert isinstance(one.desk.page, SignPage)
    assert len(one.desk.page.head.blockers) == 3
    one.do("RETURN")
    assert one.desk.page.head.said.startswith("Cannot be signed")
    assert one.desk.review.slide.state is SlideState.REVIEW
    one.do("ESCAPE")
    for _ in range(600):
        if not one.desk.review.blockers() or [b.kind for b in one.desk.review.blockers()] == ["charts"]:
            break
        cell = one.desk.review.cells[one.desk.spot.cell_id]
        one.do("SPACE" if cell.said else "O")
    one.do("K", "G", "RETURN")
    assert one.desk.review.slide.state is SlideState.SIGNED
    assert one.desk.review.slide.reviewer == "AB"
    assert one.desk.page.head.signed
    one.do("ESCAPE", "L")
    assert one.desk.page.head.said == "The slide is signed; reopen it for a correction."
    one.do("C")
    assert one.desk.asked == "correct"


def test_so_few_cells_need_a_reason_which_is_typed() -> None:
    one = Sitting(*painted(["Neutrophil"] * 4))
    one.do("+SPACE", "G", "RETURN")
    assert one.desk.review.slide.state is SlideState.REVIEW
    for letter in "leucopenia, q":
        one.do(key(letter.upper()) if letter not in ", " else press("nothing"))
    signing = one.desk.page
    assert isinstance(signing, SignPage)
    assert signing.reason == "leucopeniaq"
    one.do("BACKSPACE", "RETURN")
    assert one.kept.entries[-1].act is Act.SIGNED
    assert one.kept.entries[-1].why == "leucopenia"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[:6])
def test_one_unopened_blast_is_enough_to_refuse_in_every_order(order: tuple[int, ...]) -> None:
    """Whatever else is done, with one blast never alone on the screen no signature is had."""
    told = ["Myeloblast", "Promonocyte", "blasts", *["Neutrophil"] * 110]
    one = Sitting(*painted(told))
    ids = [cell.cell_id for cell in page(one).cells]
    closed = ids[order[0]] if order[0] else ids[1]  # not the one that is current at the start
    for cell_id in (ids[i] for i in order):
        if cell_id != closed:
            one.do(press(f"cell {cell_id}"))
    one.desk.take([press(f"cell {closed}"), press(f"cell {ids[0]}")])  # passed, not looked at
    one.do("PAGEDOWN", "+SPACE", "+SPACE", "+SPACE", "G", "RETURN")
    assert one.desk.review.slide.state is SlideState.REVIEW
    assert [blocker.kind for blocker in one.desk.review.blockers()] == ["blasts"]


def test_what_cannot_be_kept_is_said_and_not_shown_as_done() -> None:
    one = sitting()
    before = dict(one.desk.review.cells)
    one.kept.fault = StoreError("record /x: the disk is full; make room")
    one.do("L")
    assert one.desk.page.head.level == "fail"
    assert "disk is full" in one.desk.page.head.said
    assert {i: cell.said for i, cell in before.items()} == {i: cell.said for i, cell in one.desk.review.cells.items()}


def test_a_slide_without_cells_has_a_page_too() -> None:
    one = Sitting(*painted([]))
    one.do("SPACE", "L", "RIGHT", "RETURN", "RETURN", "V", "+SPACE", "PAGEDOWN", "I", "ESCAPE", "G", "RETURN", "ESCAPE")
    assert isinstance(one.desk.page, GalleryPage)
    one.do("Q")
    assert one.desk.closed


def test_no_sequence_of_keys_breaks_the_journal_or_the_page() -> None:
    """500 keys and presses at random: never an exception, always a page, and the chain holds."""
    rng = random.Random(4)
    one = Sitting(*painted(TOLD * 6, charts=2))
    words = ["LEFT", "RIGHT", "UP", "DOWN", "SPACE", "+SPACE", "+RIGHT", "RETURN", "V", "B", "I", "U", "K", "PAGEUP", "PAGEDOWN", "TAB"]
    words += ["+TAB", "HOME", "END", "G", "ESCAPE", "X", "N", "1", "0", "T", "L", "R", "Q", "CHARACTER", "F7"]
    for _ in range(500):
        ids = list(one.desk.review.cells)
        kind = rng.random()
        if kind < 0.7:
            one.do(rng.choice(words))
        elif kind < 0.8:
            one.do(press(f"cell {rng.choice(ids)}", shift=rng.random() < 0.5))
        elif kind < 0.9:
            one.do(drag(f"cell {rng.choice(ids)}", rng.choice(["class Monocyte", f"cell {rng.choice(ids)}", "U"])))
        else:
            one.do(press("picture", (rng.random(), rng.random())))
        one.desk.closed = False
        assert one.desk.page is one.desk.page
    assert verify(one.kept.entries, one.desk.review.slide.slide_id) == []
    assert [entry.number for entry in one.kept.entries] == list(range(1, len(one.kept.entries) + 1))


def test_leaving_the_signature_leads_to_the_first_cell_that_is_left() -> None:
    one = Sitting(*painted(["Myeloblast"] * 5 + ["Neutrophil", ""]))
    ids = [cell.cell_id for cell in page(one).cells]
    one.do("RIGHT", press(f"cell {ids[3]}"), "RIGHT", "PAGEDOWN", "G", "ESCAPE")
    assert one.desk.spot.cell_id == ids[2]
    one.do("G", "ESCAPE")
    assert one.desk.review.cells[one.desk.spot.cell_id].said == ""


def test_where_the_screen_is_read_from_the_right_the_left_arrow_goes_on() -> None:
    language.use("ur")
    try:
        one = Sitting(*painted(["Neutrophil"] * 20))
        one.do("LEFT", "LEFT", "RIGHT")
        assert page(one).at == 1
        one.do("+LEFT", "V", "LEFT")
        assert one.desk.spot.cell_id == one.desk.spot.pair[1]
    finally:
        language.use("en")


def test_a_second_reader_signs_what_stands() -> None:
    slide, pictures = painted(["Neutrophil"] * 110)
    one = Sitting(slide, pictures)
    one.do("+SPACE", "+SPACE", "+SPACE", "G", "RETURN")
    assert not one.desk.page.buttons[0].usable  # type: ignore[union-attr]
    other = Sitting(slide, pictures, who="CD", entries=one.kept.entries)
    other.do("G")
    assert other.desk.page.buttons[0].usable  # type: ignore[union-attr]
    other.do("RETURN")
    assert other.kept.entries[-1].act is Act.SECONDED
    assert not other.desk.page.buttons[0].usable  # type: ignore[union-attr]
