"""The film in words: sentences on the most frequent types and their attributes, as in the AttriDet paper's Fig. 3; never a verdict."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from device.language import _, in_use, ngettext
from device.slide.doubt import FOREIGN, sensitivity, zero_limit
from device.slide.model import Cell, ReviewState, Slide, SlideState
from device.slide.picture_state import PictureState, count_of
from device.slide.tally import NRBC, Differential, DifferentialRow, ReviewedDifferential
from device.slide.verdict import ARTEFACT
from engines.naming import NamingInfo
from engines.pages import NOTICE
from engines.taxonomy import MIXED, Taxonomy

CLEAR_MAJORITY = 0.6
"""Share of a type's cells that must agree before an attribute is stated; below it is "mixed"."""
FEW_CELLS = 100
"""Under this many white blood cells per cents are too uncertain to stand without a word (ICSH asks for 200)."""
MANY_UNIDENTIFIED_PERCENT = 10.0
_MOST_TYPES, _LEAST_PERCENT, _LEAST_CELLS = 3, 5.0, 3  # types that are described; the others are only named


LooksOf = Callable[[int | str], dict[str, str]]
"""What a cell is told as → the words that its kind's cells agree on, as of `attribute_majorities`."""


def describe(
    slide: Slide,
    differential: Differential,
    taxonomy: Taxonomy,
    naming: NamingInfo | None = None,
    looks_of: LooksOf | None = None,
) -> tuple[str, ...]:
    """Sentences about the film, the last always NOTICE. `differential` is that of the slide's cells, `naming` the layer that named
    them. looks_of: how they look, where that is known already."""

    def looks(told: int | str) -> dict[str, str]:
        return attribute_majorities([cell for cell in slide.cells if slide.told(cell) == told], taxonomy)

    reviewed = isinstance(differential, ReviewedDifferential) and slide.review_state is ReviewState.REVIEWED
    sentences = []
    if slide.state is SlideState.ABORTED:
        reason = slide.abort_reason or _("no reason was given")
        sentences.append(_("The slide was not finished ({reason}).").format(reason=reason))
    state = PictureState.of(slide)
    sentences += [*([_(FOREIGN)] if slide.foreign else []), *state.sentences()]
    if not slide.fields:
        return (*sentences, _("No field was counted, so nothing can be said of this film."), _(NOTICE))
    if not differential.white_cells:
        where = count_of(len(slide.fields), "field")
        none = _("No white blood cells were found in {fields}.").format(fields=where)
        sentences += (none, _("That does not mean that the film has none."))
        return (*sentences, *_left_out(differential, reviewed), _(NOTICE))
    if differential.white_cells < FEW_CELLS:
        few = ngettext(
            "Only {n} white blood cell was counted: per cents of so few are uncertain.",
            "Only {n} white blood cells were counted: per cents of so few are uncertain.",
            differential.white_cells,
        )
        sentences.append(few.format(n=differential.white_cells))
    sentences += _types(slide, differential, taxonomy, state.at_least, looks_of or looks)
    sentences += _blasts(slide, differential, taxonomy, naming)
    if reviewed and isinstance(differential, ReviewedDifferential):
        sentences += _after_review(differential)
    return (*sentences, *_left_out(differential, reviewed), _(NOTICE))


def attribute_majorities(cells: Sequence[Cell], taxonomy: Taxonomy) -> dict[str, str]:
    """Attribute key to the value on which at least CLEAR_MAJORITY of `cells` agree, or "mixed"; left out if unknown in half of them."""
    words = Counter(item for cell in cells for item in cell.attribute_words(taxonomy).items())
    return majorities(len(cells), words)


def majorities(cells: int, words: Mapping[tuple[str, str], int]) -> dict[str, str]:
    """The same of so many cells, of which the attributes (key, word) were counted."""
    by_key: dict[str, Counter[str]] = {}
    for (key, word), count in words.items():
        if count:
            by_key.setdefault(key, Counter())[word] += count
    found = {}
    for key, seen in by_key.items():
        word, count = seen.most_common(1)[0]
        if 2 * seen.total() > cells:
            found[key] = word if count >= CLEAR_MAJORITY * seen.total() else MIXED
    return found


def _types(slide: Slide, differential: Differential, taxonomy: Taxonomy, at_least: str, looks_of: LooksOf) -> list[str]:
    rows = differential.by_count()
    total = _("{cells} in {fields}").format(
        cells=at_least + count_of(differential.white_cells, "white blood cell"), fields=count_of(len(slide.fields), "field")
    )
    if not rows:
        return [_("Of {total}, none could be named with confidence.").format(total=total)]
    sentences = []
    described = [rows[0], *(r for r in rows[1:_MOST_TYPES] if r.percent >= _LEAST_PERCENT and r.count >= _LEAST_CELLS)]
    for place, row in enumerate(described):
        looks = _looks(looks_of(row.told), taxonomy) if row.count >= _LEAST_CELLS else ""
        words = _("{share} are {types}").format(share=_share(row.percent), types=_plural(row, taxonomy)) + (
            f" ({looks})" if looks else ""
        )
        words = _("Of {total}, {words}.").format(total=total, words=words) if place == 0 else _("{words}.").format(words=words)
        sentences.append(f"{words[0].upper()}{words[1:]}")
    others = rows[len(described) :]
    if others:
        sentences.append(_("Also seen: {types}.").format(types=_list(others, taxonomy)))
    return sentences


def _looks(words: Mapping[str, str], taxonomy: Taxonomy) -> str:
    """ "large cells with open chromatin, irregular nuclei and scanty, slightly basophilic cytoplasm without vacuoles" """
    parts: dict[str, list[str]] = defaultdict(list)
    for attribute in taxonomy.attributes:
        word = words.get(attribute.key, "")
        phrase = _(dict(attribute.phrases).get(word, ""))
        if phrase and attribute.part:
            parts[attribute.part].append(phrase)
        elif word:
            parts["besides"].append(f"{_(attribute.name).lower()}: {_(word)}")
    features = list(parts["feature"])
    if parts["cytoplasm"] or parts["cytoplasm-end"]:
        adjectives, ends = ", ".join(parts["cytoplasm"]), _(" and ").join(parts["cytoplasm-end"])
        features.append(" ".join(_("{adjectives} cytoplasm {ends}").format(adjectives=adjectives, ends=ends).split()))
    text = ", ".join(parts["cells"]) or (_("cells") if features else "")
    if features:
        joined = _("{some} and {last}").format(some=", ".join(features[:-1]), last=features[-1]) if len(features) > 1 else features[0]
        text = _("{cells} with {features}").format(cells=text, features=joined)
    return "; ".join(part for part in (text, *parts["besides"]) if part)


def _blasts(slide: Slide, differential: Differential, taxonomy: Taxonomy, naming: NamingInfo | None) -> list[str]:
    if not differential.blasts:
        where = count_of(len(slide.fields), "field")
        none = _("Of blasts and blast equivalents none were identified in {fields}; that does not exclude them: {limit}.")
        return [none.format(fields=where, limit=zero_limit(differential)), sensitivity(naming, slide.foreign)]
    rows = [r for r in differential.by_count() if r.blast]
    low, high = differential.blast_range
    words = _("Blasts and blast equivalents make up {share} ({blasts} of {cells}, 95 % range {low} to {high} %): {types}.")
    numbers = {"blasts": differential.blasts, "cells": differential.white_cells, "low": f"{low:.0f}", "high": f"{high:.0f}"}
    return [words.format(share=_share(differential.blast_percent), types=_list(rows, taxonomy), **numbers)]


def _left_out(differential: Differential, reviewed: bool) -> list[str]:
    """What has no name or is no cell. reviewed: a person told smudge cells from artefacts, and they stand in another sentence."""
    sentences = []
    unidentified = differential.unidentified
    if unidentified:
        words = _("{cells} ({share}) could not be named with confidence.")
        if differential.unidentified_percent >= MANY_UNIDENTIFIED_PERCENT:
            words = _(
                "{cells} ({share}) could not be named with confidence, which is many: look at them before relying on the per cents."
            )
        sentences.append(words.format(cells=count_of(unidentified, "cell"), share=_share(differential.unidentified_percent)))
    if differential.artefacts:
        words = _("Left out of the count: {artefacts} (smudged cells, stain).")
        if reviewed:
            words = _("Left out of the count: {artefacts} (stain, debris).")
        sentences.append(words.format(artefacts=count_of(differential.artefacts, "artefact")))
    return sentences


def _after_review(differential: ReviewedDifferential) -> list[str]:
    """What a person said is no white cell, and what follows from the counts that they signed."""
    sentences = []
    apart = [row for row in differential.apart if row.count and row.key != ARTEFACT]
    if apart:
        told = ", ".join(
            f"{_(row.name).lower()} {row.count}" + ("" if row.per_100 is None else f" ({row.per_100:.1f})") for row in apart
        )
        sentences.append(_("Not in the per cents, and in brackets for 100 white blood cells: {told}.").format(told=told))
    if differential.correct_white_count:
        words = _("An analyser's white cell count needs correcting for nucleated red cells: WBC x 100 / (100 + {n:.1f}).")
        sentences.append(words.format(n=differential.per_100(NRBC)))
    if spanned := differential.undecided_percents:
        limits = _(" and ").join(f"{limit:g} %" for limit in spanned)
        sentences.append(_("The 95 % range of the blasts spans {limits}: counting on would tell more.").format(limits=limits))
    return sentences


def _list(rows: Sequence[DifferentialRow], taxonomy: Taxonomy) -> str:
    return ", ".join(f"{_plural(r, taxonomy)} {_share(r.percent)}" for r in rows)


def _share(value: float) -> str:
    return _("under 1 %") if value < 1 else f"{value:.0f} %"


def _plural(row: DifferentialRow, taxonomy: Taxonomy) -> str:
    """Within a sentence, as a plural; names that begin with an abbreviation ("NK cell") keep their capitals."""
    name = _(row.name)
    given = taxonomy.group(row.told).plural if isinstance(row.told, str) else taxonomy.types[row.told].plural
    lowered = name if name[1:2].isupper() else name[:1].lower() + name[1:]
    return _(given) or (lowered if lowered.endswith("s") or in_use() != "en" else lowered + "s")
