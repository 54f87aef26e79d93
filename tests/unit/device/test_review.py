"""The review of a slide: order, acts, what is in the way of a signature, corrections, the journal's chain."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from device.review.journal import Act, Entry, chained, digest_of, verify
from device.review.review import Review
from device.slide.model import ReviewState, SlideState
from device.slide.session import RefusedError
from device.slide.tally import tally
from device.slide.verdict import numbered
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.review import A_BLAST_PERHAPS, BEGUN, ordinary, slide

BOX = (500.0, 500.0, 580.0, 580.0)


def review(of: object = None, *entries: Entry, who: str = "AB") -> Review:
    return Review(of or ordinary(), LEUKEMIA_ATTRI, entries, who=who, now=lambda: BEGUN + timedelta(hours=1))  # type: ignore[arg-type]


def ids(of: Review, said: str) -> list[int]:
    return [cell.cell_id for cell in of.cells.values() if cell.said == said]


def kinds(of: Review) -> list[str]:
    return [blocker.kind for blocker in of.blockers()]


def signed(of: Review, who: str = "", why: str = "") -> Review:
    return of.after(of.sign(who, why))


def test_all_cells_are_shown_in_the_order_of_review_the_least_certain_first() -> None:
    words = ("Neutrophil", "Myelocyte", "", A_BLAST_PERHAPS, "Lymphoblast", "blasts", "others", "None", "Promonocyte", "", "Eosinophil")
    groups = review(slide(words)).groups()
    assert [group.key for group in groups] == ["blasts", "perhaps", "unidentified", "abnormal", "rest"]
    assert [sorted(cell.said_before for cell in group.cells) for group in groups] == [
        ["Lymphoblast", "Promonocyte", "blasts"],
        [""],
        ["", ""],
        ["Myelocyte"],
        ["Eosinophil", "Neutrophil", "artefact", "others"],
    ]
    assert sum(len(group.cells) for group in groups) == len(words)
    for group in groups:
        assert [cell.certainty for cell in group.cells] == sorted(cell.certainty for cell in group.cells)


def test_a_cell_that_was_called_a_blast_stays_among_the_blasts() -> None:
    before = review(ordinary("Myeloblast"))
    (blast,) = ids(before, "Myeloblast")
    after = before.after(before.name([blast], "Lymphocyte"))
    assert [cell.cell_id for cell in after.groups()[0].cells] == [blast]
    assert kinds(after) == ["blasts"]  # naming it away is no opening


def test_an_ordinary_slide_can_be_signed_and_bears_the_signature() -> None:
    done = signed(review())
    assert (done.slide.state, done.slide.review_state) == (SlideState.SIGNED, ReviewState.REVIEWED)
    assert (done.slide.revision, done.slide.reviewer, done.slide.signed_at) == (1, "AB", BEGUN + timedelta(hours=1))
    assert [(one.revision, one.who, one.seconds) for one in done.signatures] == [(1, "AB", False)]


@pytest.mark.parametrize("said", ["Myeloblast", "Promonocyte", "blasts"])
def test_a_blast_must_be_opened_by_itself(said: str) -> None:
    before = review(ordinary(said))
    assert kinds(before) == ["blasts"]
    with pytest.raises(RefusedError, match="1 blast was not opened by itself"):
        before.sign()
    signed(before.after(before.open(ids(before, said)[0])))


def test_a_cell_that_a_person_calls_a_blast_must_be_opened_too_and_one_that_is_added() -> None:
    before = review()
    named = before.after(before.name([1, 2], "Monoblast"))
    assert [(blocker.kind, blocker.count) for blocker in named.blockers()] == [("blasts", 2)]
    added = before.after(before.add(1, BOX, "Myeloblast"))
    assert kinds(added) == ["blasts"]


def test_opening_twice_is_one_entry_and_no_undo_takes_it_back() -> None:
    before = review(ordinary("Myeloblast"))
    once = before.after(before.open(101))
    assert once.open(101) == []
    with pytest.raises(RefusedError, match="nothing to take back"):
        once.undo()


def test_unidentified_cells_must_be_named() -> None:
    before = review(ordinary("", A_BLAST_PERHAPS))
    with pytest.raises(RefusedError, match="2 cells are unidentified"):
        before.sign()
    named = before.after(before.name([101, 102], "not_classed"))
    assert named.blockers() == ()
    assert (named.differential.white_cells, named.differential.not_classed) == (100, 2)


def test_a_chart_that_was_never_joined_must_be_acknowledged() -> None:
    before = review(slide(("Lymphocyte",) * 100, ("Monocyte",) * 3, charts=(4, 7)))
    with pytest.raises(RefusedError, match="1 piece of film was never joined"):
        before.sign()
    with pytest.raises(RefusedError, match="no unjoined piece of film 4"):
        before.acknowledge(4)
    signed(before.after(before.acknowledge(7)))


def test_stored_pictures_are_no_pieces_of_film_that_the_way_was_lost_between() -> None:
    made = replace(slide(("Lymphocyte",) * 100, ("Monocyte",) * 3, charts=(4, 7)), lost_rests=0)
    assert (made.charts, made.separate_pictures, made.unjoined_charts, made.possible_doubles) == (2, True, (), 0)
    before = review(made)
    assert before.charts_open == () and before.blockers() == ()
    signed(before)


def test_few_cells_need_a_reason() -> None:
    before = review(ordinary(lymphocytes=99))
    with pytest.raises(RefusedError, match="only 99 white cells; give a reason"):
        before.sign()
    assert signed(before, why="leucopenia").entries[-1].why == "leucopenia"


def test_the_tubes_number_does_not_leave_the_device_with_a_reason() -> None:
    before = review(replace(ordinary(lymphocytes=9), specimen="H26-0471"))
    with pytest.raises(RefusedError, match="leave the specimen's number out"):
        before.sign(why="only little of h26-0471")
    assert "AB" not in repr(signed(before, why="little blood").entries)


def test_cells_outside_the_differential_do_not_make_up_for_few() -> None:
    before = review(ordinary(lymphocytes=105))
    after = before.after(before.name(range(1, 7), "smudge"))
    assert kinds(after) == ["few"]


def test_a_reason_for_few_cells_lifts_nothing_else() -> None:
    with pytest.raises(RefusedError, match="unidentified"):
        review(slide(("",))).sign(why="leucopenia")


@pytest.mark.parametrize("who", ["", "A", "ABCDE", "A B", "A1"])
def test_only_initials_sign(who: str) -> None:
    with pytest.raises(RefusedError, match="initials"):
        review(who="").sign(who)


@pytest.mark.parametrize("state", [SlideState.COUNTING, SlideState.PAUSED, SlideState.ABORTED])
def test_a_slide_that_is_not_finished_is_not_reviewed(state: SlideState) -> None:
    of = review(replace(ordinary("Myeloblast"), state=state))
    assert kinds(of) == ["state"]
    for act in (lambda: of.open(101), lambda: of.name([1], "Monocyte"), of.undo, of.sign, lambda: of.add(1, BOX, "Monocyte")):
        with pytest.raises(RefusedError):
            act()


def test_what_does_not_exist_is_refused_in_one_line() -> None:
    of = review()
    for act in (
        lambda: of.open(999),
        lambda: of.name([999], "Monocyte"),
        lambda: of.name([1], "Martian"),
        lambda: of.add(9, BOX, "Monocyte"),
        lambda: of.add(1, (0, 0, 5000, 10), "Monocyte"),
        lambda: of.add(1, (50, 50, 40, 60), "Monocyte"),
        lambda: of.note("  "),
        lambda: of.reopen("why"),
    ):
        with pytest.raises(RefusedError, match=r"^[^\n]+$"):
            act()


def test_an_undo_takes_back_all_of_a_step_and_is_itself_an_entry() -> None:
    before = review(ordinary(""))
    named = before.after(before.name([101, 1, 2], "Monocyte"))
    added = named.after(named.add(2, BOX, "Basophil"))
    assert tally(added.slide, LEUKEMIA_ATTRI).count("Basophil") == 1
    once = added.after(added.undo())
    twice = once.after(once.undo())
    assert [entry.act for entry in twice.entries] == [Act.NAMED] * 3 + [Act.ADDED, Act.UNDONE, Act.UNDONE]
    assert once.differential == named.differential
    assert twice.differential == before.differential
    with pytest.raises(RefusedError, match="nothing to take back"):
        twice.undo()


def test_an_added_cell_can_be_named_anew_and_its_id_is_never_given_twice() -> None:
    of = review()
    of = of.after(of.add(1, BOX, "Basophil"))
    of = of.after(of.name([101], "Eosinophil"))
    assert (of.cells[101].said, of.cells[101].added, of.cells[101].cell.box_px) == ("Eosinophil", True, BOX)
    of = of.after(of.undo())
    of = of.after(of.undo())
    assert 101 not in of.cells
    assert of.add(1, BOX, "Basophil")[0].cell_id == 102


def test_a_correction_is_a_second_revision_and_the_first_can_be_had_again() -> None:
    before = review(ordinary("Eosinophil"))
    first = signed(before.after(before.name([1], "Neutrophil")))
    with pytest.raises(RefusedError, match="reopen it"):
        first.name([101], "Basophil")
    with pytest.raises(RefusedError, match="say why"):
        first.reopen(" ")
    opened = first.after(first.reopen("wrong type"))
    assert (opened.slide.state, opened.slide.review_state, opened.slide.revision) == (SlideState.REVIEW, ReviewState.UNREVIEWED, 1)
    with pytest.raises(RefusedError, match="nothing to take back"):
        opened.undo()
    second = signed(opened.after(opened.name([101], "Basophil")))
    assert (second.slide.revision, second.differential.count("Basophil")) == (2, 1)
    assert second.at(first.entries[-1].number).differential.count("Eosinophil") == 1


def test_another_person_seconds_a_signature_and_the_same_one_cannot() -> None:
    first = signed(review())
    with pytest.raises(RefusedError, match="signed already"):
        first.sign("ab")
    second = signed(first, "CD")
    assert [(one.who, one.revision, one.seconds) for one in second.signatures] == [("AB", 1, False), ("CD", 1, True)]
    assert (second.slide.revision, second.slide.reviewer) == (1, "AB")


def test_two_readers_are_compared_by_the_limits_of_chance() -> None:
    first = signed(review(ordinary("Eosinophil", "Monocyte", lymphocytes=198)))
    other = first.by("CD")
    assert [(one.name, one.beyond) for one in other.differences()] == [
        ("Lymphocyte", False),
        ("Monocyte", False),
        ("Eosinophil", False),
    ]
    opened = other.after(other.reopen("second reader"))
    changed = opened.after(opened.name(range(1, 41), "Monocyte"))
    assert [one.name for one in changed.differences() if one.beyond] == ["Lymphocyte", "Monocyte"]
    assert changed.by("AB").differences() == ()


def test_a_stored_slide_that_bears_its_signature_is_reviewed_as_it_was_counted() -> None:
    done = signed(review(ordinary("")).after(review(ordinary("")).name([101], "Monocyte")))
    again = Review(replace(ordinary(""), state=SlideState.SIGNED, revision=1, reviewer="AB"), LEUKEMIA_ATTRI, done.entries)
    assert again.breaks == []
    assert (again.differential, again.slide.state, again.counted.state) == (done.differential, SlideState.SIGNED, SlideState.REVIEW)


# ---- the chain


def journal() -> Review:
    of = review(ordinary("Myeloblast", ""))
    of = of.after(of.open(101))
    of = of.after(of.name([102, 3], "Monocyte"))
    of = of.after(of.add(1, BOX, "Basophil"))
    return of.after(of.note("ok"))


def test_a_journal_as_it_was_written_holds() -> None:
    assert verify(journal().entries, "20261123-181512-4f9a2c") == []
    assert verify([]) == []


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize(
    "change",
    [
        {"who": "XX"},
        {"said": "Neutrophil"},
        {"said_before": "Neutrophil"},
        {"cell_id": 7},
        {"at": BEGUN},
        {"time_trusted": None},
        {"why": "because"},
        {"field_index": 2},
        {"box_px": (1.0, 2.0, 3.0, 4.0)},
        {"act": Act.SIGNED},
        {"step": 99},
        {"number": 77},
    ],
    ids=str,
)
def test_a_changed_entry_shows(at: int, change: dict[str, object]) -> None:
    entries = list(journal().entries)
    if "time_trusted" in change:
        change = {"time_trusted": not entries[at].time_trusted}
    entries[at] = replace(entries[at], **change)  # type: ignore[arg-type]
    assert verify(entries)
    rewritten = replace(entries[at], digest=digest_of(entries[at]))  # whoever mends the digest breaks the next one
    assert verify([*entries[:at], rewritten, *entries[at + 1 :]]) or at == len(entries) - 1


def test_entries_that_are_gone_swapped_or_of_another_slide_show() -> None:
    of = journal()
    entries = of.entries
    assert verify(entries[1:])
    assert verify((*entries[:2], *entries[3:]))
    assert verify((entries[1], entries[0], *entries[2:]))
    assert verify(entries, "20261123-181512-000000")
    with pytest.raises(RefusedError, match="changed from outside"):
        Review(replace(of.counted, slide_id="20261123-181512-000000"), LEUKEMIA_ATTRI, entries, who="AB").sign()


def test_a_journal_that_was_cut_before_the_signature_shows() -> None:
    done = signed(review())
    cut = Review(replace(ordinary(), state=SlideState.SIGNED, revision=1), LEUKEMIA_ATTRI, done.entries[:-1], who="AB")
    assert kinds(cut) == ["chain"]


def test_the_digest_does_not_depend_on_how_python_was_started() -> None:
    entry = chained(Entry(1, BEGUN, True, "AB", Act.NAMED, 3, "", "Monocyte", step=1), "00")
    assert entry.digest == digest_of(replace(entry, digest="anything"))
    assert entry.digest == "d535741f9d3b2a25581fe090ccd1b10b061c43baced582d258f588b21671aecc"


def test_cells_of_old_records_get_ids_and_keep_those_that_they_have() -> None:
    of = slide(("Lymphocyte",) * 3, ("Monocyte",), number_cells=False)
    assert [cell.cell_id for cell in numbered(of).cells] == [1, 2, 3, 4]
    once = numbered(of)
    assert numbered(once) is once
