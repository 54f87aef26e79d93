"""The review at the screen: what each key, press and drag does to the slide under review, and which page is shown.

Every change is an entry of the review's journal, kept at once; the pages are made anew from the review as it then stands. Nothing is
drawn here. A blast counts as opened when it has been the single current cell, shown large, for `LOOK_S`; what is pressed on it before
that waits, so that no key can pass it unseen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from device.desk.review_shown import Keeping, Pages
from device.desk.review_walk import as_laid_out
from device.display.inputs import Input, Kind
from device.display.pages_review import ReviewPages
from device.errors import StoreError
from device.language import _, ngettext
from device.review.journal import Entry
from device.review.review import Review
from device.slide.model import SlideState
from device.slide.session import RefusedError
from device.slide.verdict import is_blast, name_of

LOOK_S = 0.15
"""A blast must have been shown large for so long before what is pressed on it counts."""
_ARROWS = {"LEFT": (-1, 0), "RIGHT": (1, 0), "UP": (0, -1), "DOWN": (0, 1)}
_MOST_REASON = 120


class ReviewDesk(Pages):
    """One slide under review. review: with the person's initials; made_by: engine and layer in words; own: counting can go on."""

    def __init__(
        self,
        review: Review,
        keeping: Keeping,
        monotonic_s: Callable[[], float],
        *,
        made_by: str = "",
        um_per_px: float | None = None,
        own: bool = True,
    ) -> None:
        super().__init__(review, keeping, made_by=made_by, um_per_px=um_per_px, own=own)
        self._now = monotonic_s
        self._verdicts = {entry.key: entry.verdict for entry in self._legend if entry.key}
        self._waiting: deque[Input] = deque()
        self._since_s, self._stale = self._now(), True
        self._page: ReviewPages | None = None
        self.closed = False
        """The person has left the review."""
        self.asked = ""
        """What the person wants that is not the review's: "count on" or "correct"; whoever does it clears it."""

    @property
    def page(self) -> ReviewPages:
        """What is shown now; the same object as long as nothing changed."""
        if self._page is None or self._stale:
            self._page, self._stale = self.made_page(), False
        return self._page

    def take(self, inputs: Sequence[Input]) -> None:
        """Do what was asked, in order. What comes too early for a blast that was hardly seen waits for the next call."""
        self._waiting.extend(inputs)
        self._note_opened()
        while self._waiting and not self.closed:
            if self._is_hasty(self._waiting[0]):
                return
            self._said, self._level, self._stale = "", "ok", True
            before = self.spot.cell_id
            try:
                self._take(self._waiting.popleft())
            except (RefusedError, StoreError) as error:
                self._fail(error)
            if self.spot.cell_id != before:
                self._since_s = self._now()

    def correct(self, why: str) -> None:
        """Open the signed slide for a correction. Raises RefusedError or StoreError."""
        self._keep(self.review.reopen(why))
        self._say(_("Open for a correction; what was signed stays in the journal."))

    def tell(self, words: str, level: str) -> None:
        """Say something that is no answer to a key of the review."""
        self._say(words, level)

    # ---- looking

    def _must_be_seen(self) -> bool:
        cell = self.review.cells.get(self.spot.cell_id)
        return cell is not None and self._alone and cell.must_open and not cell.opened

    @property
    def _alone(self) -> bool:
        """Whether one cell is the current one, and shown large."""
        return self.spot.mode != "sign" and len(self.spot.selected) < 2 and self.spot.adding is None

    def _seen(self) -> bool:
        return not self._must_be_seen() or self._now() - self._since_s >= LOOK_S

    def _is_hasty(self, given: Input) -> bool:
        """Whether this says something of a blast, or that the current cell is one, before anybody can have looked at it."""
        if given.kind is Kind.DRAG or self._now() - self._since_s >= LOOK_S or not self._alone:
            return False
        verdict = self._verdicts.get(given.word) or given.word.removeprefix("class ")
        says = given.word in ("SPACE", "ACCEPT") or given.word in self._verdicts or given.word.startswith("class ")
        return says and (self._must_be_seen() or is_blast(verdict, self.review.taxonomy))

    def _note_opened(self) -> None:
        if self._must_be_seen() and self._seen() and self.review.slide.state is not SlideState.SIGNED:
            try:
                self._keep(self.review.open(self.spot.cell_id))
            except (RefusedError, StoreError) as error:
                self._fail(error)

    # ---- one input

    def _take(self, given: Input) -> None:
        word, spot = given.word, self.spot
        if given.kind is Kind.DRAG:
            self._drag(given)
        elif spot.mode == "sign":
            self._sign(given)
        elif word.startswith("class "):
            self._name(word.removeprefix("class "))
        elif word.startswith("cell "):
            self._press_cell(int(word.removeprefix("cell ")), given.shift)
        elif word == "picture":
            self._press_picture(given.at)
        elif word in self._verdicts and given.kind is Kind.KEY:
            self._name(self._verdicts[word])
        elif word == "U":
            self._undo()
        elif word == "I":
            self._begin_adding()
        elif spot.mode == "field":
            self._in_field(word)
        elif spot.mode == "compare":
            self._in_compare(word)
        else:
            self._in_gallery(word, given.shift)

    def _in_gallery(self, word: str, shift: bool) -> None:
        spot = self.spot
        match word:
            case "LEFT" | "RIGHT" | "UP" | "DOWN" | "HOME" | "END":
                self._move(word, shift)
            case "ACCEPT":
                self._accept_page()
            case "SPACE":
                self._accept_page() if shift else self._confirm()
            case "PAGEDOWN" | "TAB":
                self._turn(-1 if shift and word == "TAB" else 1)
            case "PAGEUP":
                self._turn(-1)
            case "RETURN" | "B":
                self._show_field(bare=word == "B")
            case "V":
                self._compare()
            case "K":
                self._acknowledge()
            case "G":
                spot.mode, spot.reason = "sign", ""
            case "C":
                self.asked = "correct" if self._is_signed else "count on"
            case "Q" | "ESCAPE" if spot.selected:
                spot.selected = frozenset()
            case "Q" | "ESCAPE":
                self.closed = True

    def _in_field(self, word: str) -> None:
        spot = self.spot
        if spot.adding is not None and word in _ARROWS:
            (dx, dy), step = _ARROWS[word], self._box[0] / 2
            x1, y1, x2, y2 = spot.adding
            self._place_box((x1 + x2) / 2 + dx * step, (y1 + y2) / 2 + dy * step)
            return
        match word:
            case "SPACE":
                self._confirm()
                self._to_field_of_current()
            case "LEFT" | "RIGHT" | "UP" | "DOWN":
                self._step(1 if as_laid_out(word) in ("RIGHT", "DOWN") else -1)
                self._to_field_of_current()
            case "PAGEDOWN" | "TAB" | "PAGEUP":
                self._turn_field(-1 if word == "PAGEUP" else 1)
            case "B":
                spot.bare = not spot.bare
            case "RETURN" | "Q" | "ESCAPE" if spot.adding is not None:
                spot.adding = None
            case "RETURN" | "Q" | "ESCAPE":
                spot.mode = "gallery"
                cell = self.review.cells.get(spot.cell_id)
                self._go_to(
                    spot.came_from if cell is None or cell.added else spot.cell_id
                )  # one that was added is no place in the order

    def _in_compare(self, word: str) -> None:
        spot = self.spot
        match as_laid_out(word):
            case "LEFT" | "UP":
                spot.cell_id = spot.pair[0]
            case "RIGHT" | "DOWN" | "TAB":
                spot.cell_id = spot.pair[1]
            case "SPACE":
                self._confirm(go_on=False)
                spot.cell_id = spot.pair[1]
            case "V" | "RETURN" | "Q" | "ESCAPE":
                spot.mode = "gallery"

    def _sign(self, given: Input) -> None:
        spot, word = self.spot, given.word
        wants_reason = self._wants_reason
        if word == "RETURN":
            self._keep(self.review.sign(self.review.who, spot.reason.strip()))
            self._say(_("Signed."))
        elif word == "ESCAPE" or (word == "Q" and not wants_reason):
            spot.mode = "gallery"
            if not self._is_signed and (left := self._left()):
                self._go_to(left)
        elif wants_reason and given.kind is Kind.KEY:
            if word == "BACKSPACE":
                spot.reason = spot.reason[:-1]
            elif given.text and len(spot.reason) < _MOST_REASON:
                spot.reason += given.text

    # ---- saying what cells are

    def _name(self, verdict: str, cell_ids: frozenset[int] | None = None) -> None:
        """Give the verdict to the box that is being added, to the selected cells, or to the current one and go on."""
        spot = self.spot
        if spot.adding is not None:
            new = self.review.add(spot.field_index, spot.adding, verdict)
            self._keep(new)
            spot.adding, spot.cell_id = None, new[0].cell_id
            self._say(_("Added: {name}.").format(name=_(name_of(verdict, self.review.taxonomy))))
            return
        ids = cell_ids or spot.selected or (frozenset({spot.cell_id}) if spot.cell_id else frozenset())
        if not ids:
            return
        self._keep(self.review.name(sorted(ids), verdict))
        if ids == {spot.cell_id} and self._must_be_seen() and self._seen():
            self._keep(self.review.open(spot.cell_id))  # it was looked at before it was called a blast
        words = ngettext("{n} cell: {name}.", "{n} cells: {name}.", len(ids))
        self._say(words.format(n=len(ids), name=_(name_of(verdict, self.review.taxonomy))))
        if len(ids) > 1:
            spot.selected = frozenset()
        elif spot.mode == "gallery" and ids == {spot.cell_id}:
            spot.selected = frozenset()
            self._step(1, turn=False)

    def _confirm(self, go_on: bool = True) -> None:
        """The current cell is what was told; one that nobody told stays as it is."""
        spot = self.spot
        spot.selected = frozenset()
        cell = self.review.cells.get(spot.cell_id)
        if cell is not None and not self._is_signed:
            if cell.said:
                self._keep(self.review.name([spot.cell_id], cell.said))
            else:
                self._say(_("The cell before is unidentified: a class or N must be said."), "warn")
        if go_on:
            self._step(1)

    def _accept_page(self) -> None:
        batch = self._batch
        if batch is None or not batch.accepts:
            raise RefusedError(_("these cells are looked at one by one: Space, or a class"))
        told: dict[str, list[int]] = {}
        page = [one for one in batch.page(self.spot.page) if one in self.review.cells]
        for one in page:
            cell = self.review.cells[one]
            if cell.said and not cell.cell.verdict and not cell.must_open:
                told.setdefault(cell.said, []).append(one)
        for verdict, ids in told.items():
            self._keep(self.review.name(ids, verdict))
        accepted = sum(map(len, told.values()))
        self._say(ngettext("{n} cell accepted.", "{n} cells accepted.", accepted).format(n=accepted))
        self.spot.selected = frozenset()
        self._turn(1)

    def _undo(self) -> None:
        new = self.review.undo()
        self._keep(new)
        cell_id = new[0].cell_id
        if self.spot.mode == "gallery" and cell_id in self.review.cells:
            self._go_to(cell_id)
        elif self.spot.cell_id not in self.review.cells:
            self._go_to(0)
        self._say(_("Taken back."))

    def _acknowledge(self) -> None:
        charts = self.review.charts_open
        if not charts:
            raise RefusedError(_("no piece of film is left unjoined"))
        for chart in charts:
            self._keep(self.review.acknowledge(chart))
        words = ngettext(
            "{n} unjoined piece of film accepted as it is.", "{n} unjoined pieces of film accepted as they are.", len(charts)
        )
        self._say(words.format(n=len(charts)))

    def _keep(self, new: Sequence[Entry]) -> None:
        if new:
            after = self.review.after(new)
            self._keeping.keep(after, new)
            self.review, self._stale = after, True

    def _fail(self, error: RefusedError | StoreError) -> None:
        words = str(error).rstrip(".")
        self._say(f"{words[:1].upper()}{words[1:]}.", "fail" if isinstance(error, StoreError) else "warn")

    def _say(self, words: str, level: str = "ok") -> None:
        self._said, self._level, self._stale = words, level, True

    # ---- mouse and finger

    def _press_cell(self, cell_id: int, shift: bool) -> None:
        spot = self.spot
        if cell_id not in self.review.cells:
            return
        if spot.mode == "gallery":
            if shift:
                chosen = spot.selected or frozenset({spot.cell_id})
                spot.selected = chosen ^ {cell_id} if cell_id != spot.cell_id else chosen
            else:
                spot.selected = frozenset()
        spot.cell_id = cell_id

    def _press_picture(self, at: tuple[float, float]) -> None:
        spot = self.spot
        width, height = self._fields[spot.field_index].size_px
        x, y = at[0] * width, at[1] * height
        if spot.adding is not None:
            self._place_box(x, y)
        else:
            spot.cell_id = self._cell_under(x, y) or spot.cell_id

    def _drag(self, given: Input) -> None:
        """A cell onto a class of the legend is that class; onto another cell, all between the two are selected."""
        if not given.word.startswith("cell "):
            return
        cell_id, spot = int(given.word.removeprefix("cell ")), self.spot
        if given.onto.startswith("class "):
            if not (cell_id in spot.selected and len(spot.selected) > 1):
                spot.selected = frozenset()
                if cell_id != spot.cell_id:
                    spot.cell_id = cell_id
            if self._must_be_seen() and spot.cell_id == cell_id:
                self._since_s = min(self._since_s, self._now() - LOOK_S)  # it was held under the finger all the way
                self._note_opened()
            self._name(given.onto.removeprefix("class "), spot.selected or frozenset({cell_id}))
        elif given.onto.startswith("cell ") and spot.mode == "gallery":
            page, other = self._page_cells, int(given.onto.removeprefix("cell "))
            if cell_id in page and other in page:
                first, last = sorted((page.index(cell_id), page.index(other)))
                spot.selected, spot.cell_id = frozenset(page[first : last + 1]), other

    def _compare(self) -> None:
        """The two selected cells; of one cell, it and the next on the page."""
        spot, page = self.spot, self._page_cells
        chosen = [one for one in page if one in spot.selected] or [spot.cell_id]
        if len(chosen) == 1 and chosen[0] in page:
            at = page.index(chosen[0])
            chosen += list(page[at + 1 : at + 2] or page[max(0, at - 1) : at])
        if len(chosen) != 2:
            raise RefusedError(_("two cells can be compared: select two with Shift and the arrows"))
        spot.mode, spot.pair, spot.cell_id, spot.selected = "compare", (chosen[0], chosen[1]), chosen[0], frozenset()

    def _begin_adding(self) -> None:
        if self._is_signed:
            raise RefusedError(_("the slide is signed; C opens it for a correction"))
        if self.spot.mode != "field":
            self._show_field()
        field = self._fields.get(self.spot.field_index)
        if field is None or self._photo(field) is None:
            raise RefusedError(_("a cell can be added on a stored picture only, and there is none of this field"))
        self._place_box(field.size_px[0] / 2, field.size_px[1] / 2)
        self._say(_("Press on the missed cell, or move the box by the arrows; then say its class."), "busy")
