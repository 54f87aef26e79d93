"""Whatever is done in whatever order: what must be in the way of a signature is, and the journal replayed is the review."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from device.review.journal import Act, Entry, verify
from device.review.review import Review
from device.slide.model import Slide
from device.slide.session import RefusedError
from device.slide.tally import reviewed, tally
from device.slide.verdict import is_blast, said, verdicts
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.review import A_BLAST_PERHAPS, BEGUN, slide

WORDS = st.sampled_from(["Lymphocyte", "Neutrophil", "Myeloblast", "Promonocyte", "blasts", "others", "None", "", A_BLAST_PERHAPS])
VERDICTS = st.sampled_from(verdicts(LEUKEMIA_ATTRI))
BOX = (1500.0, 900.0, 1580.0, 980.0)


class Model(RuleBasedStateMachine):
    """Beside the review a plain model of it, kept by hand: what is said of each cell, which were opened, which charts accepted."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = frozenset[str]()

    @initialize(words=st.lists(WORDS, min_size=1, max_size=6), easy=st.booleans(), islands=st.booleans(), many=st.booleans())
    def begin(self, words: list[str], easy: bool, islands: bool, many: bool) -> None:
        """easy: nothing is in the way at first, so that signatures and corrections come about in many runs."""
        first, islands = (("Lymphocyte", "Neutrophil"), False) if easy else ((*words, "Myeloblast"), islands)
        fields = [first, ("Lymphocyte",) * (100 if many else 2), ("Monocyte", "Basophil")]
        self.slide: Slide = slide(*fields, charts=(1, 2, 1) if islands else (1, 1, 1))
        self.review = Review(self.slide, LEUKEMIA_ATTRI, who="AB", now=lambda: BEGUN + timedelta(hours=1))
        self.first = {cell.cell_id: said(cell, LEUKEMIA_ATTRI) for cell in self.slide.cells}
        self.says = dict(self.first)
        self.opened: set[int] = set()
        self.charts: set[str] = set()
        self.steps: list[tuple[dict[int, str], set[str]]] = []
        self.signed = False
        self.ever_blast = {cell_id for cell_id, word in self.first.items() if is_blast(word, LEUKEMIA_ATTRI)}

    def do(self, act: Any) -> bool:
        """Whether it was done; the review then has its entries."""
        try:
            entries = act()
        except RefusedError:
            return False
        self.review = self.review.after(entries)
        return bool(entries)

    def change(self, act: Any) -> bool:
        before = dict(self.says), set(self.charts)
        done = self.do(act)
        if done:
            self.steps.append(before)
        return done

    @rule(data=st.data())
    def opens(self, data: st.DataObject) -> None:
        cell_id = data.draw(st.sampled_from(sorted(self.says)))
        self.do(lambda: self.review.open(cell_id))
        if not self.signed:
            self.opened.add(cell_id)

    @rule(data=st.data(), verdict=VERDICTS)
    def names(self, data: st.DataObject, verdict: str) -> None:
        chosen = data.draw(st.lists(st.sampled_from(sorted(self.says)), min_size=1, max_size=4))
        if self.change(lambda: self.review.name(chosen, verdict)):
            self.says |= dict.fromkeys(chosen, verdict)

    @rule(verdict=VERDICTS)
    def accepts_all_of_a_group(self, verdict: str) -> None:
        """All blasts at one go: that opens none of them."""
        chosen = [cell.cell_id for cell in self.review.groups()[0].cells]
        if self.change(lambda: self.review.name(chosen, verdict)):
            self.says |= dict.fromkeys(chosen, verdict)

    @rule(verdict=VERDICTS)
    def adds(self, verdict: str) -> None:
        if self.change(lambda: self.review.add(1, BOX, verdict)):
            self.says[self.review.entries[-1].cell_id] = verdict

    @rule(chart=st.integers(1, 3))
    def acknowledges(self, chart: int) -> None:
        if self.change(lambda: self.review.acknowledge(chart)):
            self.charts.add(str(chart))

    @rule()
    def undoes(self) -> None:
        if self.do(self.review.undo):
            self.says, self.charts = self.steps.pop()

    @rule(who=st.sampled_from(["AB", "CD"]), why=st.sampled_from(["", "leucopenia"]))
    def signs(self, who: str, why: str) -> None:
        wrong = self.what_is_in_the_way(why)
        was_signed, done = self.signed, self.do(lambda: self.review.sign(who, why))
        if not was_signed:
            assert done == (not wrong), wrong
            self.signed = done
            self.steps = [] if done else self.steps

    @precondition(lambda self: self.signed)
    @rule()
    def reopens(self) -> None:
        assert self.do(lambda: self.review.reopen("an error was found"))
        self.signed = False

    def what_is_in_the_way(self, why: str) -> list[str]:
        blasts = {
            i for i, word in self.says.items() if is_blast(word, LEUKEMIA_ATTRI) or is_blast(self.first.get(i, ""), LEUKEMIA_ATTRI)
        }
        islands = {str(field.place.chart) for field in self.slide.fields if field.place}
        main = max(islands, key=lambda chart: sum(len(f.cells) for f in self.slide.fields if f.place and str(f.place.chart) == chart))
        persons = {one.key for one in LEUKEMIA_ATTRI.person_classes}
        white = sum(word not in persons for word in self.says.values())
        found = {
            "unidentified": "" in self.says.values(),
            "unopened blast": bool(blasts - self.opened),
            "chart": bool(islands - {main} - self.charts),
            "few": white < 100 and not why,
        }
        return [what for what, there in found.items() if there]

    @invariant()
    def the_counts_are_those_of_the_model(self) -> None:
        if not hasattr(self, "review"):
            return
        counted = reviewed(self.review.slide, LEUKEMIA_ATTRI)
        words = Counter(self.says.values())
        names = {group.key: group.name for group in LEUKEMIA_ATTRI.told_groups}
        for word in verdicts(LEUKEMIA_ATTRI):
            person = LEUKEMIA_ATTRI.person_class(word)
            assert (counted.aside(word).count if person else counted.count(names.get(word, word))) == words[word]
        assert counted.unidentified == words[""]
        assert counted.white_cells + sum(row.count for row in counted.apart) == len(self.says)

    @invariant()
    def the_journal_replayed_is_the_review_and_what_was_counted_stays(self) -> None:
        if not hasattr(self, "review"):
            return
        again = Review(self.slide, LEUKEMIA_ATTRI, self.review.entries)
        assert again.differential == self.review.differential
        assert again.differential_before == reviewed(self.slide, LEUKEMIA_ATTRI)
        assert verify(self.review.entries, self.slide.slide_id) == []
        assert sum(len(group.cells) for group in self.review.groups()) == len(self.says)

    def teardown(self) -> None:
        """Undoing all gives the slide as it was counted, if it was never signed."""
        if not hasattr(self, "review") or any(entry.act is Act.SIGNED for entry in self.review.entries):
            return
        while self.do(self.review.undo):
            pass
        assert self.review.differential == self.review.differential_before
        assert tally(self.review.slide, LEUKEMIA_ATTRI) == tally(self.slide, LEUKEMIA_ATTRI)
        assert {cell.cell_id: cell.said for cell in self.review.cells.values()} == self.first


TestOrders = Model.TestCase
TestOrders.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def test_in_every_order_of_all_other_acts_a_blast_that_nobody_opened_forbids_the_signature() -> None:
    """All 720 orders of six acts, a signature tried by two persons after each of them."""
    of = slide(("Lymphocyte", ""), ("Myeloblast", "Promonocyte"), ("Monocyte",), charts=(1, 1, 2))
    start = Review(of, LEUKEMIA_ATTRI, who="AB")
    blast = 3
    acts: tuple[Callable[[Review], list[Entry]], ...] = (
        lambda review: review.name([2], "Monocyte"),
        lambda review: review.acknowledge(2),
        lambda review: review.open(4),
        lambda review: review.name([1, blast, 4, 5], "Lymphocyte"),
        lambda review: review.name([blast], "artefact"),
        lambda review: review.undo(),
    )
    tried = 0
    for order in itertools.permutations(acts):
        review = start
        for act in order:
            with suppress(RefusedError):
                review = review.after(act(review))
            for who in ("AB", "CD"):
                with pytest.raises(RefusedError, match="blast"):
                    review.sign(who, "a reason")
                tried += 1
    assert tried == 720 * 6 * 2


@pytest.mark.parametrize("left", ["blast", "unidentified", "chart"])
def test_with_one_thing_left_every_other_act_in_every_order_does_not_help(left: str) -> None:
    """All orders of all other acts, by the search above, and here by hand: everything done but one, then signed by each person."""
    of = slide(("Lymphocyte",) * 100, ("Myeloblast", ""), ("Monocyte",), charts=(1, 1, 2))
    review = Review(of, LEUKEMIA_ATTRI, who="AB")
    acts = {
        "blast": lambda: review.open(101),
        "unidentified": lambda: review.name([102], "Monocyte"),
        "chart": lambda: review.acknowledge(2),
    }
    for what, act in acts.items():
        if what != left:
            review = review.after(act())
    review = review.after(review.name(range(1, 101), "Lymphocyte"))
    for who in ("AB", "CD"):
        with pytest.raises(RefusedError):
            review.sign(who, "a reason")
    review = review.after(acts[left]())
    assert review.after(review.sign("AB")).slide.revision == 1
