"""Slides, fields, cells and crops as rows, and rows as slides again. Transactions are the caller's."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TypeVar

import numpy as np
from pydantic import ValidationError

from device.camera.base import SkippedPicture
from device.camera.quality import PictureFault
from device.mqtt.message import Part
from device.mqtt.payloads import CalibrationProvenance, SourceProvenance
from device.mqtt.provenance import Provenance
from device.review.journal import Entry
from device.review.review import Review
from device.slide.cells import is_foreign
from device.slide.keyframes import Keyframe
from device.slide.model import OPEN_STATES, Cell, Field, Place, ReviewState, Slide, SlideState
from device.slide.registration import Merge
from device.store import checksums, reviews, sound
from engines.naming import NamingInfo
from engines.runtime.base import EngineInfo
from engines.taxonomy import Taxonomy

_P = TypeVar("_P", bound=Part)
_MODEL_COLUMNS = ("name", "version", "digest", "runtime", "precision", "score_threshold")  # named as in EngineInfo
_CELL_COLUMNS = (
    "class_index, score, identified, x1_px, y1_px, x2_px, y2_px, attributes, told_group, probability, blast_probability, distance, "
    "cell_id, provisional"
)
_SIGNATURE = ("state", "review_state", "revision", "reviewer", "signed_at")
_OLD_LIMIT = 300
"""Boxes a frame in every network whose slides are in records that do not say whether the limit was met."""


@dataclass(frozen=True, eq=False)
class StoredSlide:
    """A slide as it was recorded.

    slide: as it was counted, with the state and the signature that it has now; `reviewed` is the same as a person says it is. summary:
    the payload that was written to the outbox last, None while open. review: the journal of its review. damage: what of it is not as it
    was written, where somebody has looked (`Store.check_slide`).
    """

    slide: Slide
    provenance: Provenance
    summary: bytes | None
    review: tuple[Entry, ...] = ()
    damage: str = ""

    @property
    def reviewing(self) -> Review:
        """The review as it stands."""
        return Review(self.slide, self.provenance.model.taxonomy, self.review)

    @property
    def reviewed(self) -> Slide:
        """The slide with the verdicts of its review applied and the added cells, signed or not; without a review as it was counted."""
        return self.reviewing.slide if self.review else self.slide


def insert_slide(db: sqlite3.Connection, slide: Slide, provenance: Provenance) -> None:
    """The header of a new slide; nothing happens if the slide is there already."""
    row = {
        "slide_id": slide.slide_id,
        "device_id": provenance.device_id,
        "boot_id": provenance.boot_id,
        "started_at": slide.started_at.isoformat(),
        "time_trusted": int(provenance.time_trusted),
        "model_id": _model_id(db, provenance),
        "calibration": _part_text(provenance.calibration),
        "source": _part_text(provenance.source),
        "specimen": slide.specimen,
        "operator": slide.operator,
        "naming": json.dumps({} if provenance.model.naming is None else asdict(provenance.model.naming), sort_keys=True),
    }
    if _insert(db, "slides", row | _state(slide), "ON CONFLICT (slide_id) DO NOTHING"):
        checksums.begin(db, slide.slide_id)


def put_field(db: sqlite3.Connection, slide_id: str, field: Field) -> None:
    """Insert a field with its cells, or replace the one with its index; cells without a crop keep the one they have. Idempotent."""
    with checksums.changing_field(db, slide_id, field.index):
        _put_field(db, slide_id, field)


def _put_field(db: sqlite3.Connection, slide_id: str, field: Field) -> None:
    crops = _crops(db, slide_id, field)
    db.execute("DELETE FROM fields WHERE slide_id = ? AND field_index = ?", (slide_id, field.index))
    row = {
        "slide_id": slide_id,
        "field_index": field.index,
        "captured_at": field.captured_at.isoformat(),
        "source": field.source,
        "width_px": field.size_px[0],
        "height_px": field.size_px[1],
        "focus": field.focus,
        "limit_met": int(field.limit_met),
        "faults": None if field.faults is None else json.dumps([fault.value for fault in field.faults]),
        "naming_fault": field.naming_fault,
        "chart": None if field.place is None else field.place.chart,
        "film_x_px": None if field.place is None else field.place.x_px,
        "film_y_px": None if field.place is None else field.place.y_px,
        "picture": field.picture,
        "non_finite": field.non_finite,
    }
    sightings = [*((cell, 1) for cell in field.cells), *((cell, 0) for cell in field.seen)]
    _insert(db, "fields", row)
    db.executemany(
        f"INSERT INTO cells (slide_id, field_index, position, counted, {_CELL_COLUMNS}) VALUES ({', '.join('?' * 18)})",
        ((slide_id, field.index, at, counted, *_cell_values(cell)) for at, (cell, counted) in enumerate(sightings)),
    )
    db.executemany(
        "INSERT INTO crops (slide_id, field_index, position, jpeg) VALUES (?, ?, ?, ?)",
        (
            (slide_id, field.index, at, crop)
            for at, (cell, _) in enumerate(sightings)
            if (crop := cell.crop_jpeg or crops.get(cell.cell_id, b""))
        ),
    )


def _crops(db: sqlite3.Connection, slide_id: str, field: Field) -> dict[int, bytes]:
    """Crops by cell id that a field has in the record, where some of its cells bring none."""
    if all(cell.crop_jpeg for cell in (*field.cells, *field.seen)):
        return {}
    kept = "SELECT cell_id, jpeg FROM cells JOIN crops USING (slide_id, field_index, position)"
    rows = db.execute(f"{kept} WHERE slide_id = ? AND field_index = ? AND cell_id > 0", (slide_id, field.index))
    return dict(rows.fetchall())


def move_chart(db: sqlite3.Connection, slide_id: str, merge: Merge) -> None:
    """Two charts are one: the places of the old one's fields. Nothing happens if none bears its number any more."""
    chosen = "slide_id = ? AND chart = ?", (slide_id, merge.old_chart)
    moved = [index for (index,) in db.execute(f"SELECT field_index FROM fields WHERE {chosen[0]}", chosen[1])]
    with checksums.changing_rows(db, slide_id, moved):
        db.execute(
            f"UPDATE fields SET chart = ?, film_x_px = film_x_px + ?, film_y_px = film_y_px + ? WHERE {chosen[0]}",
            (merge.into_chart, merge.dx_px, merge.dy_px, *chosen[1]),
        )


def put_keyframes(db: sqlite3.Connection, slide_id: str, keyframes: Sequence[Keyframe]) -> None:
    """Insert keyframes, or replace those with their numbers."""
    with checksums.changing_keyframes(db, slide_id, list({each.number: None for each in keyframes})):
        db.executemany(
            "INSERT OR REPLACE INTO keyframes (slide_id, number, chart, x_px, y_px, picture) VALUES (?, ?, ?, ?, ?, ?)",
            ((slide_id, each.number, each.chart, each.x_px, each.y_px, each.picture) for each in keyframes),
        )


def undo_field(db: sqlite3.Connection, slide_id: str, index: int) -> None:
    """Flag a field as undone; its cells and crops stay. Nothing happens if there is no such field, or it is undone already."""
    where = "slide_id = ? AND field_index = ? AND undone = 0"
    with checksums.changing_rows(db, slide_id, (index,)):
        undone = db.execute(f"UPDATE fields SET undone = 1 WHERE {where}", (slide_id, index)).rowcount
    db.execute("UPDATE slides SET fields_undone = fields_undone + ? WHERE slide_id = ?", (undone, slide_id))


def sync(db: sqlite3.Connection, slide: Slide) -> None:
    """Bring the record up to the slide as it stands: state, fields that are missing or were replaced, fields that were undone.

    A field is taken as unchanged if it was captured at the same moment (the replacing frame always is a later one) and the same cells
    are counted by it.
    """
    rows = db.execute("SELECT field_index, captured_at FROM fields WHERE slide_id = ? AND undone = 0", (slide.slide_id,))
    stored: dict[int, str] = dict(rows.fetchall())
    counted = defaultdict[int, list[int]](list)
    for index, cell_id in db.execute(
        "SELECT field_index, cell_id FROM cells WHERE slide_id = ? AND counted = 1 ORDER BY field_index, position", (slide.slide_id,)
    ):
        counted[index].append(cell_id)
    for field in slide.fields:
        same = counted[field.index] == [cell.cell_id for cell in field.cells]
        if stored.pop(field.index, None) != field.captured_at.isoformat() or not same:
            put_field(db, slide.slide_id, field)
    for index in stored:
        undo_field(db, slide.slide_id, index)
    put_state(db, slide)


def marks_first_blast(db: sqlite3.Connection, slide_id: str, at: datetime) -> bool:
    """Mark that the slide's first blast is told; False where it was told before."""
    statement = "UPDATE slides SET first_blast = ? WHERE slide_id = ? AND first_blast = ''"
    return db.execute(statement, (at.isoformat(), slide_id)).rowcount == 1


def put_state(db: sqlite3.Connection, slide: Slide) -> None:
    """Bring the header up to the slide as it stands."""
    state = _state(slide)
    columns = ", ".join(f"{column} = :{column}" for column in state)
    db.execute(f"UPDATE slides SET {columns} WHERE slide_id = :slide_id", state | {"slide_id": slide.slide_id})


def keyframes(db: sqlite3.Connection, slide_id: str) -> tuple[Keyframe, ...]:
    """Of the slide, in the order of their numbers."""
    asked = "SELECT number, chart, x_px, y_px, picture FROM keyframes WHERE slide_id = ? ORDER BY number"
    return tuple(Keyframe(*row) for row in db.execute(asked, (slide_id,)))


def last_cell_id(db: sqlite3.Connection, slide_id: str) -> int:
    """The highest id that a cell of the slide was given, in undone fields too; 0 where there is none."""
    return int(db.execute("SELECT coalesce(max(cell_id), 0) FROM cells WHERE slide_id = ?", (slide_id,)).fetchone()[0])


def of_specimen(db: sqlite3.Connection, specimen: str) -> int:
    """How many slides bear this specimen's id, whatever the case of its letters; aborted ones do not count."""
    asked = "SELECT count(*) FROM slides WHERE specimen = ? COLLATE NOCASE AND state != ?"
    return int(db.execute(asked, (specimen, SlideState.ABORTED.value)).fetchone()[0])


def put_signature(db: sqlite3.Connection, slide: Slide) -> None:
    """What a signature, or opening the slide again, changes of its header."""
    changed = {key: value for key, value in _state(slide).items() if key in _SIGNATURE}
    columns = ", ".join(f"{column} = :{column}" for column in changed)
    db.execute(f"UPDATE slides SET {columns} WHERE slide_id = :slide_id", changed | {"slide_id": slide.slide_id})


def done_before(db: sqlite3.Connection, moment: datetime) -> tuple[str, ...]:
    """Ids of slides that are signed or aborted, and were so before `moment`."""
    states = SlideState.SIGNED.value, SlideState.ABORTED.value
    rows = db.execute("SELECT slide_id, coalesce(signed_at, finished_at) AS done FROM slides WHERE state IN (?, ?)", states)
    return tuple(slide_id for slide_id, done in rows if done and (at := sound.known_moment(done)) and at < moment)


def _state(slide: Slide) -> dict[str, object]:
    """The columns of a slide that change while it is open."""
    doubt: dict[str, object] = {"time_trusted": 0} if slide.clock_fault else {}
    return doubt | {
        "state": slide.state.value,
        "finished_at": None if slide.finished_at is None else slide.finished_at.isoformat(),
        "abort_reason": slide.abort_reason,
        "review_state": slide.review_state.value,
        "fields_undone": slide.fields_undone,
        "blank_views": slide.blank_views,
        "skipped": json.dumps(slide.skipped),
        "film_foreign": None if slide.foreign is None else int(slide.foreign),
        "target_cells": slide.target_cells,
        "lost_rests": slide.lost_rests,
        "revision": slide.revision,
        "reviewer": slide.reviewer,
        "signed_at": None if slide.signed_at is None else slide.signed_at.isoformat(),
        "duration_s": slide.duration_s,
    }


def _insert(db: sqlite3.Connection, table: str, row: dict[str, object], conflict: str = "") -> bool:
    """Whether a row was added."""
    row = {key: _text(value) if isinstance(value, str) else value for key, value in row.items()}
    columns, marks = ", ".join(row), ", ".join(f":{column}" for column in row)
    return db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks}) {conflict}", row).rowcount > 0


def _text(value: str) -> str:
    """As SQLite takes it: bytes of a file's name that are no UTF-8 become \\udcff, so that no row is lost by them."""
    return value.encode(errors="backslashreplace").decode()


def newest(db: sqlite3.Connection, limit: int, in_states: Iterable[SlideState] = ()) -> list[str]:
    """The ids of the newest `limit` slides (-1: of all) that are in one of these states, newest first; none named: of every slide, also
    one whose state is damaged."""
    states = [state.value for state in in_states]
    chosen = f"state IN ({', '.join('?' * len(states))})" if states else "1"
    return _ids(db, f"SELECT CAST(slide_id AS BLOB) FROM slides WHERE {chosen} ORDER BY sequence DESC LIMIT ?", (*states, limit))


def open_ids(db: sqlite3.Connection) -> list[str]:
    """The ids of slides that were not closed, newest first: also of those whose state is no word that is known."""
    closed = [state.value for state in SlideState if state not in OPEN_STATES]
    chosen = f"SELECT CAST(slide_id AS BLOB) FROM slides WHERE state NOT IN ({', '.join('?' * len(closed))}) ORDER BY sequence DESC"
    return _ids(db, chosen, closed)


def _ids(db: sqlite3.Connection, asked: str, given: Sequence[object]) -> list[str]:
    """Also an id whose bytes are damaged: it can be named, and reading its slide says what is wrong."""
    return [bytes(slide_id).decode(errors="surrogateescape") for (slide_id,) in db.execute(asked, given)]


def load(db: sqlite3.Connection, slide_id: str, with_crops: bool) -> StoredSlide | None:
    """The whole slide, or None if there is none of that id. Undone fields are only counted."""
    row = db.execute("SELECT * FROM slides LEFT JOIN models USING (model_id) WHERE slide_id = ?", (slide_id,)).fetchone()
    if row is None:
        return None
    sound.no_bytes(row, but="summary")
    taxonomy = Taxonomy.from_dict(json.loads(row["taxonomy"]))
    fields, state, foreign = _fields(db, slide_id, with_crops), SlideState(row["state"]), row["film_foreign"]
    sound.cells(fields, taxonomy)
    slide = Slide(
        slide_id=slide_id,
        started_at=sound.moment(row["started_at"]),
        state=state,
        finished_at=row["finished_at"] and sound.moment(row["finished_at"]),
        abort_reason=row["abort_reason"],
        fields=fields,
        fields_undone=row["fields_undone"],
        review_state=ReviewState(row["review_state"]),
        blank_views=row["blank_views"],
        skipped=tuple(SkippedPicture(*picture) for picture in json.loads(row["skipped"])),
        # written when the slide is closed; of one that a power cut left open its cells still tell
        foreign=is_foreign((c for f in fields for c in f.cells), taxonomy) if state in OPEN_STATES else foreign and bool(foreign),
        specimen=sound.line(row["specimen"]),
        operator=sound.line(row["operator"]),
        target_cells=row["target_cells"],
        lost_rests=row["lost_rests"],
        revision=row["revision"],
        reviewer=sound.line(row["reviewer"]),
        signed_at=row["signed_at"] and sound.moment(row["signed_at"]),
        duration_s=row["duration_s"],
    )
    same = {column: row[column] for column in _MODEL_COLUMNS}
    naming = NamingInfo(**{"said": "", "site": False, **given}) if (given := json.loads(row["naming"])) else None
    model = EngineInfo(input_hw=(row["input_height"], row["input_width"]), taxonomy=taxonomy, naming=naming, **same)
    provenance = Provenance(
        model,
        row["identify_threshold"],
        _part(CalibrationProvenance, row["calibration"]),
        _part(SourceProvenance, row["source"]),
        device_id=row["device_id"],
        boot_id=row["boot_id"],
        time_trusted=bool(row["time_trusted"]),
    )
    return StoredSlide(slide, provenance, row["summary"], reviews.load(db, slide_id))


def _fields(db: sqlite3.Connection, slide_id: str, with_crops: bool) -> tuple[Field, ...]:
    jpeg, join = ("jpeg", "LEFT JOIN crops USING (slide_id, field_index, position)") if with_crops else ("NULL", "")
    cells: dict[tuple[int, int], list[Cell]] = {}
    for index, counted, kind, score, identified, x1, y1, x2, y2, attributes, *names, provisional, crop in db.execute(
        f"""SELECT field_index, counted, {_CELL_COLUMNS}, {jpeg}
        FROM cells {join} WHERE slide_id = ? ORDER BY field_index, position""",
        (slide_id,),
    ):
        sound.no_bytes_among(kind, score, identified, x1, y1, x2, y2, *names)
        words = np.array(json.loads(attributes), np.float32)  # null becomes NaN
        rest = (crop or b"", *names, bool(provisional))
        cell = Cell(kind, score, bool(identified), (x1, y1, x2, y2), words, *rest)
        cells.setdefault((index, counted), []).append(cell)
    rows = db.execute("SELECT * FROM fields WHERE slide_id = ? AND undone = 0 ORDER BY field_index", (slide_id,))
    return tuple(
        _field(sound.no_bytes(row), *(tuple(cells.get((row["field_index"], counted), ())) for counted in (1, 0))) for row in rows
    )


def _field(row: sqlite3.Row, cells: tuple[Cell, ...], seen: tuple[Cell, ...]) -> Field:
    limit_met, faults, chart = row["limit_met"], row["faults"], row["chart"]
    return Field(
        row["field_index"],
        sound.moment(row["captured_at"]),
        row["source"],
        (row["width_px"], row["height_px"]),
        row["focus"],
        cells,
        len(cells) >= _OLD_LIMIT if limit_met is None else bool(limit_met),
        None if faults is None else tuple(PictureFault(fault) for fault in json.loads(faults)),
        row["naming_fault"],
        None if chart is None else Place(chart, row["film_x_px"], row["film_y_px"]),
        seen,
        row["picture"],
        row["non_finite"],
    )


def _model_id(db: sqlite3.Connection, provenance: Provenance) -> int:
    model = provenance.model
    row: dict[str, object] = {column: getattr(model, column) for column in _MODEL_COLUMNS} | {
        "input_height": model.input_hw[0],
        "input_width": model.input_hw[1],
        "identify_threshold": provenance.identify_threshold,
        "taxonomy": json.dumps(model.taxonomy.to_dict()),
    }
    _insert(db, "models", row, "ON CONFLICT DO NOTHING")
    where = " AND ".join(f"{column} = :{column}" for column in row)
    return int(db.execute(f"SELECT model_id FROM models WHERE {where}", row).fetchone()[0])


def _cell_values(cell: Cell) -> tuple[int | float | str | None, ...]:
    """Attributes as a JSON list: 9 significant digits give every float32 back exactly, null stands for unknown."""
    attributes = ", ".join("null" if np.isnan(value) else f"{value:.9g}" for value in cell.attributes.tolist())
    names = cell.group, cell.probability, cell.blast_probability, cell.distance, cell.cell_id, int(cell.provisional)
    return int(cell.class_index), float(cell.score), int(cell.identified), *map(float, cell.box_px), f"[{attributes}]", *names


def _part_text(part: Part | None) -> str:
    return "{}" if part is None else json.dumps(part.model_dump(mode="json"), allow_nan=False, sort_keys=True)


def _part(kind: type[_P], text: str) -> _P | None:
    """What the calibration profile or the camera said of itself; None for what another version wrote."""
    try:
        return kind.read(text)
    except ValidationError:
        return None
