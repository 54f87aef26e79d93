"""The film in words: sentences on the most frequent types and their attributes, as in the AttriDet paper's Fig. 3; never a verdict."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from device.slide.doubt import FOREIGN, sensitivity, zero_limit
from device.slide.model import Cell, Slide, SlideState
from device.slide.picture_state import PictureState, count_of
from device.slide.tally import Differential, DifferentialRow
from engines.naming import NamingInfo
from engines.pages import NOTICE
from engines.taxonomy import MIXED, Taxonomy

CLEAR_MAJORITY = 0.6
"""Share of a type's cells that must agree before an attribute is stated; below it is "mixed"."""
FEW_CELLS = 100
"""Under this many white blood cells per cents are too uncertain to stand without a word (ICSH asks for 200)."""
MANY_UNIDENTIFIED_PERCENT = 10.0
_MOST_TYPES, _LEAST_PERCENT, _LEAST_CELLS = 3, 5.0, 3  # types that are described; the others are only named


def describe(slide: Slide, differential: Differential, taxonomy: Taxonomy, naming: NamingInfo | None = None) -> tuple[str, ...]:
    """Sentences about the film, the last always NOTICE. `differential` is that of the slide's cells, `naming` the layer that named
    them."""
    sentences = []
    if slide.state is SlideState.ABORTED:
        sentences.append(f"The slide was not finished ({slide.abort_reason or 'no reason was given'}).")
    state = PictureState.of(slide)
    sentences += [*([FOREIGN] if slide.foreign else []), *state.sentences()]
    if not slide.fields:
        return (*sentences, "No field was counted, so nothing can be said of this film.", NOTICE)
    if not differential.white_cells:
        where = count_of(len(slide.fields), "field")
        sentences += (f"No white blood cells were found in {where}.", "That does not mean that the film has none.")
        return (*sentences, *_left_out(differential), NOTICE)
    if differential.white_cells < FEW_CELLS:
        counted = "was counted" if differential.white_cells == 1 else "were counted"
        sentences.append(f"Only {count_of(differential.white_cells, 'white blood cell')} {counted}: per cents of so few are uncertain.")
    sentences += _types(slide, differential, taxonomy, state.at_least)
    sentences += _blasts(slide, differential, taxonomy, naming)
    return (*sentences, *_left_out(differential), NOTICE)


def attribute_majorities(cells: Sequence[Cell], taxonomy: Taxonomy) -> dict[str, str]:
    """Attribute key to the value on which at least CLEAR_MAJORITY of `cells` agree, or "mixed"; left out if unknown in half of them."""
    counts: dict[str, Counter[str]] = {}
    for cell in cells:
        for key, word in cell.attribute_words(taxonomy).items():
            counts.setdefault(key, Counter())[word] += 1
    words = {}
    for key, seen in counts.items():
        word, count = seen.most_common(1)[0]
        if 2 * seen.total() > len(cells):
            words[key] = word if count >= CLEAR_MAJORITY * seen.total() else MIXED
    return words


def _types(slide: Slide, differential: Differential, taxonomy: Taxonomy, at_least: str) -> list[str]:
    rows = differential.by_count()
    total = f"{at_least}{count_of(differential.white_cells, 'white blood cell')} in {count_of(len(slide.fields), 'field')}"
    if not rows:
        return [f"Of {total}, none could be named with confidence."]
    sentences = []
    described = [rows[0], *(r for r in rows[1:_MOST_TYPES] if r.percent >= _LEAST_PERCENT and r.count >= _LEAST_CELLS)]
    for place, row in enumerate(described):
        cells = [c for c in slide.cells if slide.told(c) == row.told]
        looks = _looks(attribute_majorities(cells, taxonomy), taxonomy) if row.count >= _LEAST_CELLS else ""
        said = f"{_share(row.percent)} are {_plural(row, taxonomy)}" + (f" ({looks})" if looks else "")
        sentences.append(f"Of {total}, {said}." if place == 0 else f"{said[0].upper()}{said[1:]}.")
    others = rows[len(described) :]
    if others:
        sentences.append(f"Also seen: {_list(others, taxonomy)}.")
    return sentences


def _looks(words: Mapping[str, str], taxonomy: Taxonomy) -> str:
    """ "large cells with open chromatin, irregular nuclei and scanty, slightly basophilic cytoplasm without vacuoles" """
    parts: dict[str, list[str]] = defaultdict(list)
    for attribute in taxonomy.attributes:
        word = words.get(attribute.key, "")
        phrase = dict(attribute.phrases).get(word, "")
        if phrase and attribute.part:
            parts[attribute.part].append(phrase)
        elif word:
            parts["besides"].append(f"{attribute.name.lower()}: {word}")
    features = list(parts["feature"])
    if parts["cytoplasm"] or parts["cytoplasm-end"]:
        adjectives, ends = ", ".join(parts["cytoplasm"]), " and ".join(parts["cytoplasm-end"])
        features.append(" ".join(word for word in (adjectives, "cytoplasm", ends) if word))
    text = ", ".join(parts["cells"]) or ("cells" if features else "")
    if features:
        text += " with " + (f"{', '.join(features[:-1])} and {features[-1]}" if len(features) > 1 else features[0])
    return "; ".join(part for part in (text, *parts["besides"]) if part)


def _blasts(slide: Slide, differential: Differential, taxonomy: Taxonomy, naming: NamingInfo | None) -> list[str]:
    if not differential.blasts:
        where = count_of(len(slide.fields), "field")
        none = f"Of blasts and blast equivalents none were identified in {where}; that does not exclude them"
        return [f"{none}: {zero_limit(differential)}.", sensitivity(naming, slide.foreign)]
    rows = [r for r in differential.by_count() if r.blast]
    low, high = differential.blast_range
    total = f"{differential.blasts} of {differential.white_cells}, 95 % range {low:.0f} to {high:.0f} %"
    return [f"Blasts and blast equivalents make up {_share(differential.blast_percent)} ({total}): {_list(rows, taxonomy)}."]


def _left_out(differential: Differential) -> list[str]:
    sentences = []
    unidentified = differential.unidentified
    if unidentified:
        named = f"{count_of(unidentified, 'cell')} ({_share(differential.unidentified_percent)}) could not be named with confidence"
        many = differential.unidentified_percent >= MANY_UNIDENTIFIED_PERCENT
        sentences.append(f"{named}{', which is many: look at them before relying on the per cents' if many else ''}.")
    if differential.artefacts:
        sentences.append(f"Left out of the count: {count_of(differential.artefacts, 'artefact')} (smudged cells, stain).")
    return sentences


def _list(rows: Sequence[DifferentialRow], taxonomy: Taxonomy) -> str:
    return ", ".join(f"{_plural(r, taxonomy)} {_share(r.percent)}" for r in rows)


def _share(value: float) -> str:
    return "under 1 %" if value < 1 else f"{value:.0f} %"


def _plural(row: DifferentialRow, taxonomy: Taxonomy) -> str:
    """Within a sentence, as a plural; names that begin with an abbreviation ("NK cell") keep their capitals."""
    name = row.name
    given = taxonomy.group(row.told).plural if isinstance(row.told, str) else taxonomy.types[row.told].plural
    lowered = name if name[1:2].isupper() else name[:1].lower() + name[1:]
    return given or (lowered if lowered.endswith("s") else lowered + "s")
