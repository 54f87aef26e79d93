"""Makes the pages of a review: what is to be shown, as plain values, from the review as it stands and where the person is in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import median

from device.desk.review_keys import class_keys
from device.desk.review_order import Batch
from device.display.pages_review import Head, LegendEntry, Scale, Shown, SignRow
from device.language import _
from device.review.review import Review, ReviewCell
from device.slide.bank import MARGIN_SHARE, crop_jpeg
from device.slide.doubt import zero_words
from device.slide.model import Cell, Field, SlideState
from device.slide.verdict import ARTEFACT, BLASTS, NOT_CLASSED, is_blast, name_of, verdicts
from engines.detections import Image
from engines.taxonomy import Taxonomy

_CROP_QUALITY = 90
_COMMON_SHARE = 0.9
"""So many cells are shown with their whole margin; larger ones are cut at their margin."""


def legend(taxonomy: Taxonomy) -> tuple[LegendEntry, ...]:
    """All that can be said of a cell, with its key: blasts first, then the other classes, what only a person says, X and N last."""
    words = [word for word in verdicts(taxonomy) if word not in (ARTEFACT, NOT_CLASSED)]
    groups = [group.key for group in taxonomy.told_groups]
    blasts = [word for word in words if is_blast(word, taxonomy) and word != BLASTS]
    others = [word for word in words if word not in blasts and word not in groups]
    names = {word: name_of(word, taxonomy) for word in words}
    keys = class_keys(
        [names[word] for word in blasts],
        names[BLASTS],
        [names[word] for word in others],
        [names[word] for word in groups if word != BLASTS],
    )
    ordered = [*blasts, BLASTS, *others, *(word for word in groups if word != BLASTS)]
    short = {group.key: group.short for group in taxonomy.told_groups}
    entries = [LegendEntry(keys.get(names[word], ""), word, _(short.get(word) or names[word])) for word in ordered]
    not_classed = LegendEntry("N", NOT_CLASSED, _(name_of(NOT_CLASSED, taxonomy)))
    return (*entries, LegendEntry("X", ARTEFACT, _("Not a cell")), not_classed)


def scale_of(review: Review, um_per_px: float | None) -> Scale:
    """One scale for all crops of the slide."""
    sides = sorted(max(x2 - x1, y2 - y1) for x1, y1, x2, y2 in (cell.box_px for cell in _white(review)))
    common = sides[min(len(sides) - 1, int(_COMMON_SHARE * len(sides)))] if sides else 100.0
    return Scale(max(16, round(common * (1 + 2 * MARGIN_SHARE))), um_per_px)


def median_box(review: Review) -> tuple[float, float]:
    """Width and height of the box that a missed cell gets."""
    cells = _white(review)
    if not cells:
        return 100.0, 100.0
    sizes = [((x2 - x1), (y2 - y1)) for x1, y1, x2, y2 in (cell.box_px for cell in cells)]
    side = (median(w for w, _h in sizes) + median(h for _w, h in sizes)) / 2
    return side, side


def _white(review: Review) -> list[Cell]:
    cells = list(review.counted.cells)
    return [cell for cell in cells if not review.taxonomy.is_artefact(cell.class_index)] or cells


@dataclass
class Cells:
    """The cells of one review as pages show them; each is made anew only when what is said of it changed."""

    counted: dict[int, Cell] = field(default_factory=dict)
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    _shown: dict[int, Shown] = field(default_factory=dict)
    _cut: dict[int, Cell] = field(default_factory=dict)

    @classmethod
    def of(cls, review: Review) -> Cells:
        slide = review.counted
        return cls({cell.cell_id: cell for cell in slide.cells}, {one.index: one.size_px for one in slide.fields})

    def shown(self, one: ReviewCell, picture: Image | None = None) -> Shown:
        """`one` for a page. picture: of its field, from which the crop of an added cell is cut."""
        cell = self.counted.get(one.cell_id) or self._with_crop(one, picture)
        made = Shown(
            cell,
            one.said_before,
            one.field_index,
            self.sizes[one.field_index],
            None if one.added else one.certainty,
            one.cell.verdict,
            one.opened,
            one.must_open,
        )
        before = self._shown.get(one.cell_id)
        if before is not None and _same(before, made):
            return before
        self._shown[one.cell_id] = made
        return made

    def knows(self, one: ReviewCell) -> bool:
        """Whether its crop is here already."""
        return one.cell_id in self.counted or (one.cell_id in self._cut and self._cut[one.cell_id].box_px == one.cell.box_px)

    def _with_crop(self, one: ReviewCell, picture: Image | None) -> Cell:
        if not self.knows(one):
            crop = b"" if picture is None else crop_jpeg(picture, one.cell.box_px, _CROP_QUALITY)
            self._cut[one.cell_id] = replace(one.cell, crop_jpeg=crop)
        return self._cut[one.cell_id]


def _same(a: Shown, b: Shown) -> bool:
    return (a.cell, a.told, a.verdict, a.opened, a.must_open) == (b.cell, b.told, b.verdict, b.opened, b.must_open)


def head_of(review: Review, title: str, about: str, made_by: str, said: str = "", level: str = "ok") -> Head:
    """The head of any page of this review."""
    slide = review.slide
    signed = slide.state is SlideState.SIGNED
    blockers = () if signed else tuple(one.words[:1].upper() + one.words[1:] for one in review.blockers())
    reviewer = slide.reviewer if signed else review.who
    return Head(slide.slide_id, title, about, blockers, slide.specimen, reviewer, made_by, signed, said, level)


def about_batch(review: Review, batch: Batch, at: int, groups: int, page: int) -> str:
    """How far a group is done: of blasts how many were opened, of others how many a person has named."""
    cells = [review.cells[one] for one in batch.cell_ids if one in review.cells]
    parts = [_("group {n} of {groups}").format(n=at + 1, groups=groups)]
    if batch.pages > 1:
        parts.append(_("page {n} of {pages}").format(n=page + 1, pages=batch.pages))
    if batch.key[0] == "blasts":
        must = [cell for cell in cells if cell.must_open]
        parts.append(_("{n} of {all} opened").format(n=sum(cell.opened for cell in must), all=len(must)))
    parts.append(_("{n} of {all} decided").format(n=sum(bool(cell.cell.verdict) for cell in cells), all=len(cells)))
    return " · ".join(parts)


def sign_rows(review: Review) -> tuple[SignRow, ...]:
    """Before and after, row by row, what was seen in neither left out; what is no white cell below."""
    before, after = review.differential_before, review.differential
    rows = []
    for old, new in zip(before.rows, after.rows, strict=True):
        if old.count or new.count:
            told = review.taxonomy.classes[new.told] if isinstance(new.told, int) else new.told
            name = _(name_of(told, review.taxonomy))
            rows.append(SignRow(name, old.count, new.count, old.percent, new.percent, new.blast))
    if before.unidentified or after.unidentified:
        shares = before.unidentified_percent, after.unidentified_percent
        rows.append(SignRow(_("Unidentified"), before.unidentified, after.unidentified, *shares))
    rows += apart_rows(review)
    return tuple(rows)


def apart_rows(review: Review) -> list[SignRow]:
    """What a person counts apart, for 100 white cells; of artefacts and of what is not classed the number alone."""
    rows = []
    for old, new in zip(review.differential_before.apart, review.differential.apart, strict=True):
        if old.count or new.count:
            name = _(name_of(new.key, review.taxonomy))
            per_100 = "" if new.per_100 is None or new.key in (ARTEFACT, NOT_CLASSED) else f"{new.per_100:.1f}"
            note = _("{n} per 100 cells").format(n=per_100) if per_100 else _("not counted")
            rows.append(SignRow(name, old.count, new.count, note=note))
    return rows


def why_no_picture(one: Field) -> str:
    """What stands in the place of a field whose picture is not there."""
    if one.picture:
        return _("The picture of field {n} is no longer there.").format(n=one.index)
    return _("No picture of field {n} was kept; see record.pictures in the configuration.").format(n=one.index)


def notes_of(review: Review) -> tuple[str, ...]:
    """What has to be known beside the numbers, in sentences."""
    after, out = review.differential, []
    if after.blasts or after.white_cells == after.unidentified:
        low, high = after.blast_range
        said = _("Blasts and equivalents: {n} of {cells}, 95 % range {low} to {high} %.")
        out.append(said.format(n=after.blasts, cells=after.white_cells, low=f"{low:.1f}", high=f"{high:.1f}"))
    else:
        out.append(_("No blasts or equivalents: {open}.").format(open=zero_words(after.white_cells - after.unidentified)))
    if after.correct_white_count:
        out.append(_("5 or more nucleated red cells per 100 white cells: the analyser's white cell count needs correcting."))
    beyond = [one.name for one in review.differences() if one.beyond]
    if beyond:
        out.append(_("The two readers differ by more than chance in: {names}.").format(names=", ".join(beyond)))
    return tuple(out)
