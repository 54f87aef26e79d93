"""Checksums of fields and slides, by which a value that changed on the disk shows.

They guard against accidents (flipped bits, lost pages, a hand in the database), not against somebody who makes new ones. docs/record.md
defines the form, which never changes. `fields.checksum` is "1 CELLS WHOLE", `slides.checksum` is "1 FIELDS KEYFRAMES HEADER WHOLE";
each but the 1 is 64 hexadecimal digits. FIELDS and KEYFRAMES are sums, modulo 2^256, over all of the slide's, so that one more field
costs the same however long the slide is. "" is in rows of versions before: of these nothing is known. Transactions are the caller's.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from device.review import journal
from device.store import reviews
from device.store.faults import is_no_text

FORM = "1"
_FIELD = (
    "slide_id, field_index, captured_at, source, width_px, height_px, focus, undone, limit_met, faults, naming_fault, chart, "
    "film_x_px, film_y_px, picture, non_finite"
)
_CELL = (
    "slide_id, field_index, position, counted, class_index, score, identified, x1_px, y1_px, x2_px, y2_px, attributes, told_group, "
    "probability, blast_probability, distance, cell_id, provisional"
)
_SLIDE = (
    "sequence, slide_id, device_id, boot_id, started_at, time_trusted, state, finished_at, abort_reason, review_state, "
    "fields_undone, calibration, source, blank_views, skipped, naming, film_foreign, specimen, operator, target_cells, lost_rests, "
    "revision, reviewer, signed_at, duration_s, first_blast"
)
_MODEL = (
    "name, version, digest, runtime, precision, input_height, input_width, score_threshold, identify_threshold, taxonomy"  # of models
)
_SIZE = 1 << 256


@dataclass(frozen=True)
class Checked:
    """What checksums say of one slide. faults: one line for each part that is not as it was written; fields: damaged ones by index.

    checked: False where the slide was begun by a version that kept none. unchecked: fields of such. counts: whether what was counted
    is damaged, and not only its review, summaries or map.
    """

    slide_id: str
    checked: bool
    faults: tuple[str, ...] = ()
    fields: tuple[int, ...] = ()
    unchecked: int = 0
    counts: bool = False

    @property
    def words(self) -> str:
        """One line: what is damaged, or what is not known."""
        if self.faults:
            return "; ".join(self.faults)
        if not self.checked:
            return "not checked: begun by a version without checksums"
        return f"not checked in {self.unchecked} fields" if self.unchecked else ""


class _Sums(NamedTuple):
    """A slide's checksum, taken apart."""

    fields: int
    keyframes: int
    header: str
    whole: str


def begin(db: sqlite3.Connection, slide_id: str) -> None:
    """The checksum of a slide that was just inserted."""
    _write(db, slide_id, _Sums(0, 0, "-", "-"))
    _seal(db, slide_id)


@contextmanager
def changing(db: sqlite3.Connection, slide_id: str) -> Iterator[None]:
    """Bring the slide's checksum up to what is changed within. One that does not hold before stays as it is: damage is never made good
    by writing on."""
    holds = _holds(db, slide_id)
    yield
    if holds:
        _seal(db, slide_id)


@contextmanager
def changing_field(db: sqlite3.Connection, slide_id: str, index: int) -> Iterator[None]:
    """A field with its cells and crops is written, or put in the place of the one with its index, within."""
    before = _field_checksum(db, slide_id, index)
    yield
    cells = _cells_digest(db, slide_id, index)
    whole = _write_field(db, slide_id, index, cells)
    _add(db, slide_id, fields=whole - _last(before))


@contextmanager
def changing_rows(db: sqlite3.Connection, slide_id: str, indices: Iterable[int]) -> Iterator[None]:
    """Only the rows of these fields are changed within, not their cells. A row that is damaged already keeps its checksum."""
    held = dict[int, tuple[str, str]]()
    for index in indices:
        checksum = _field_checksum(db, slide_id, index)
        cells = checksum.split(" ")[1] if checksum else ""
        if cells and checksum == f"{FORM} {cells} {_field_digest(db, slide_id, index, cells)}":
            held[index] = cells, checksum
    yield
    change = sum(_write_field(db, slide_id, index, cells) - _last(before) for index, (cells, before) in held.items())
    _add(db, slide_id, fields=change)


@contextmanager
def changing_keyframes(db: sqlite3.Connection, slide_id: str, numbers: Sequence[int]) -> Iterator[None]:
    """Keyframes of these numbers are added or replaced within."""
    before = sum(_keyframes(db, slide_id, numbers))
    yield
    _add(db, slide_id, keyframes=sum(_keyframes(db, slide_id, numbers)) - before)


def sent_holds(db: sqlite3.Connection, slide_id: str) -> bool:
    """Whether what was handed over of the slide, and its header, are as they were written; True where that is not known. Its fields are
    not read, so that it takes no time."""
    row = db.execute("SELECT checksum FROM slides WHERE slide_id = ?", (slide_id,)).fetchone()
    return (row is not None and row[0] == "") or _holds(db, slide_id)


def check(db: sqlite3.Connection, slide_id: str) -> Checked:
    """Compare all of a slide with its checksums; reads every row of it."""
    try:
        return _check(db, slide_id)
    except sqlite3.OperationalError as error:
        if not is_no_text(error):
            raise
        return Checked(slide_id, checked=True, faults=("a text is not UTF-8",), counts=True)
    except UnicodeEncodeError:
        return Checked(slide_id, checked=True, faults=("its id is damaged",), counts=True)


def _check(db: sqlite3.Connection, slide_id: str) -> Checked:
    row = db.execute("SELECT checksum FROM slides WHERE slide_id = ?", (slide_id,)).fetchone()
    if row is None:
        return Checked(slide_id, checked=True, faults=("the slide is not there",), counts=True)
    damaged, total, unchecked = list[int](), 0, 0
    fields = db.execute("SELECT field_index, checksum FROM fields WHERE slide_id = ? ORDER BY field_index", (slide_id,)).fetchall()
    for index, checksum in fields:
        total += _last(checksum)
        if not checksum:
            unchecked += 1
            continue
        cells = _cells_digest(db, slide_id, index)
        if checksum != f"{FORM} {cells} {_field_digest(db, slide_id, index, cells)}":
            damaged.append(index)
    faults = [f"field {index} is not as it was written" for index in damaged]
    faults += [f"review: {words}" for words in journal.verify(reviews.load(db, slide_id), slide_id)]
    if not row[0]:
        return Checked(slide_id, False, tuple(faults), tuple(damaged), unchecked, bool(damaged))
    if (sums := _parts(row[0])) is None:
        faults.insert(0, "its checksum is damaged")
        return Checked(slide_id, True, tuple(faults), tuple(damaged), unchecked, counts=True)
    header, whole = _slide_digests(db, slide_id, sums)
    if sums.header != header:
        faults.insert(0, "header or model is not as it was written")
    elif sums.whole != whole:
        faults.insert(0, "a summary or the end of the review is not as it was written")
    missing = sums.fields != total % _SIZE and not damaged
    if missing:
        faults.append("a field is missing or does not belong")
    if sums.keyframes != sum(_keyframes(db, slide_id)) % _SIZE:
        faults.append("the map of the film is not as it was written")
    return Checked(slide_id, True, tuple(faults), tuple(damaged), unchecked, bool(damaged) or missing or sums.header != header)


def _field_checksum(db: sqlite3.Connection, slide_id: str, index: int) -> str:
    """ "" where there is no such field, or one of a version without checksums."""
    row = db.execute("SELECT checksum FROM fields WHERE slide_id = ? AND field_index = ?", (slide_id, index)).fetchone()
    return "" if row is None else str(row[0])


def _write_field(db: sqlite3.Connection, slide_id: str, index: int, cells: str) -> int:
    """Write a field's checksum; what it adds to its slide's sum."""
    whole = _field_digest(db, slide_id, index, cells)
    row = f"{FORM} {cells} {whole}", slide_id, index
    db.execute("UPDATE fields SET checksum = ? WHERE slide_id = ? AND field_index = ?", row)
    return int(whole, 16)


def _parts(checksum: str) -> _Sums | None:
    """None where there is none, or it is damaged."""
    try:
        words = checksum.split(" ")  # damage may make bytes of a text
        return _Sums(int(words[1], 16), int(words[2], 16), words[3], words[4]) if len(words) == 5 and words[0] == FORM else None
    except (ValueError, TypeError):
        return None


def _last(checksum: str) -> int:
    """What a field adds to its slide's sum: 0 without a checksum, or with one that is damaged."""
    try:
        return int(checksum.split(" ")[2], 16)
    except (IndexError, ValueError, TypeError):
        return 0


def _add(db: sqlite3.Connection, slide_id: str, fields: int = 0, keyframes: int = 0) -> None:
    row = db.execute("SELECT checksum FROM slides WHERE slide_id = ?", (slide_id,)).fetchone()
    if row is not None and (parts := _parts(row[0])) is not None and (fields or keyframes):
        _write(db, slide_id, parts._replace(fields=(parts.fields + fields) % _SIZE, keyframes=(parts.keyframes + keyframes) % _SIZE))


def _write(db: sqlite3.Connection, slide_id: str, sums: _Sums) -> None:
    checksum = f"{FORM} {sums.fields:064x} {sums.keyframes:064x} {sums.header} {sums.whole}"
    db.execute("UPDATE slides SET checksum = ? WHERE slide_id = ?", (checksum, slide_id))


def _seal(db: sqlite3.Connection, slide_id: str) -> None:
    parts = _parts(db.execute("SELECT checksum FROM slides WHERE slide_id = ?", (slide_id,)).fetchone()[0])
    if parts is not None and (digests := _slide_digests(db, slide_id, parts)) != (parts.header, parts.whole):
        _write(db, slide_id, _Sums(parts.fields, parts.keyframes, *digests))


def _holds(db: sqlite3.Connection, slide_id: str) -> bool:
    """Whether the slide's own row, its model, summaries and the head of its review are as they were written."""
    try:
        row = db.execute("SELECT checksum FROM slides WHERE slide_id = ?", (slide_id,)).fetchone()
        parts = None if row is None else _parts(row[0])
        return parts is not None and _slide_digests(db, slide_id, parts) == (parts.header, parts.whole)
    except sqlite3.OperationalError as error:
        if not is_no_text(error):
            raise
        return False


def _rows(db: sqlite3.Connection, asked: str, given: tuple[object, ...]) -> list[list[object]]:
    return [list(row) for row in db.execute(asked, given)]


def _digest(content: object) -> str:
    """SHA-256 of the content as JSON without spaces, in ASCII; a real as the shortest decimal that gives the same double."""
    return sha256(json.dumps(content, separators=(",", ":"), default=repr).encode()).hexdigest()


def _of_bytes(content: bytes | None) -> str | None:
    return None if content is None else sha256(content).hexdigest()


def _cells_digest(db: sqlite3.Connection, slide_id: str, index: int) -> str:
    # its keys too: SQLite trusts the order of rows and returns one whose key is damaged
    asked = f"SELECT {_CELL}, jpeg FROM cells LEFT JOIN crops USING (slide_id, field_index, position) "
    rows = db.execute(f"{asked} WHERE slide_id = ? AND field_index = ? ORDER BY position", (slide_id, index))
    return _digest([[*row[:-1], _of_bytes(row[-1])] for row in map(tuple, rows)])


def _field_digest(db: sqlite3.Connection, slide_id: str, index: int, cells: str) -> str:
    return _digest([*_rows(db, f"SELECT {_FIELD} FROM fields WHERE slide_id = ? AND field_index = ?", (slide_id, index)), cells])


def _keyframes(db: sqlite3.Connection, slide_id: str, numbers: Sequence[int] | None = None) -> Iterator[int]:
    asked = "SELECT slide_id, number, chart, x_px, y_px, picture FROM keyframes WHERE slide_id = ?"
    given = [(slide_id,)] if numbers is None else [(slide_id, number) for number in numbers]
    for one in given:
        for row in map(tuple, db.execute(asked if numbers is None else f"{asked} AND number = ?", one)):
            yield int(_digest([*row[:-1], _of_bytes(row[-1])]), 16)


def _slide_digests(db: sqlite3.Connection, slide_id: str, sums: _Sums) -> tuple[str, str]:
    """Of what was counted and by whom, and with that of all else of the slide."""
    header = _rows(db, f"SELECT {_SLIDE} FROM slides WHERE slide_id = ?", (slide_id,))
    model = _rows(db, f"SELECT {_MODEL} FROM models WHERE model_id = (SELECT model_id FROM slides WHERE slide_id = ?)", (slide_id,))
    (last,) = db.execute("SELECT summary FROM slides WHERE slide_id = ?", (slide_id,)).fetchone()
    summaries = db.execute("SELECT revision, created_at, payload FROM summaries WHERE slide_id = ? ORDER BY revision", (slide_id,))
    sent = [[revision, at, _of_bytes(payload)] for revision, at, payload in summaries]
    head = _rows(db, "SELECT number, digest FROM review WHERE slide_id = ? ORDER BY number DESC LIMIT 1", (slide_id,))
    counted = _digest([header, model])
    acts = db.execute("SELECT number, told FROM review WHERE slide_id = ? AND told IS NOT NULL ORDER BY number", (slide_id,))
    told = [[number, _of_bytes(payload)] for number, payload in acts]
    rest = [sent, head, told] if told else [sent, head]
    return counted, _digest([counted, f"{sums.fields:064x}", f"{sums.keyframes:064x}", _of_bytes(last), *rest])
