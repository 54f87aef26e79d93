"""What becomes of a slide's events: the record on disk and, in the closing transaction, the summary for the broker.

The order of writes and their failures are the journal's; tables are the store's; the summary's form is mqtt.payloads'.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path

from calibration.profile import CalibrationProfile
from device.clock import Clock, time_trusted
from device.errors import StoreError
from device.language import N_, _
from device.mqtt.message import one_line
from device.mqtt.payloads import CalibrationProvenance
from device.review.review import Review
from device.settings.config import Config
from device.slide.changes import FieldsChanged, Undone
from device.slide.ending import nothing_counted
from device.slide.keyframes import Keyframe
from device.slide.model import Field, Slide, SlideState
from device.slide.session import RefusedError
from device.slide.tally import tally
from device.store import OutboxMessage, Provenance, Store, StoredSlide
from device.store.checks import Check
from device.store.faults import UnreadableError
from device.store.journal import Journal, Write
from device.store.messages import SlideMessages
from device.store.pictures import FieldPictures
from device.store.quality import CHECK, REFERENCE, judge, passed_on
from device.store.quarantine import Kind
from device.store.reviewing import KeptReview
from device.store.spare import bring_back, folders, in_words, is_memory, keep

log = logging.getLogger(__name__)


_NOT_TRUSTED = "its time was not to be trusted before"
EMPTY = "nothing was counted"
"""Why a slide ends as aborted that has no white cell."""


@dataclass(frozen=True)
class LeftOpen:
    """What the appliance finds when it starts. resumed: the slide to be taken up; None: none was open, or none can be counted on.
    keyframes, last_cell_id: of that slide (`SlideSession.restore`). closed: those that were put to review, or aborted where empty."""

    resumed: Slide | None = None
    keyframes: tuple[Keyframe, ...] = ()
    last_cell_id: int = 0
    closed: tuple[Slide, ...] = ()


def _same_engine(before: Provenance, now: Provenance) -> bool:
    """Whether cells of both can stand in one count: same network, thresholds and names, same microscope, same kind of source."""

    def of(made: Provenance) -> tuple[object, ...]:
        model, scale, source = made.model, made.calibration, made.source
        naming = None if model.naming is None else model.naming.digest
        optics = None if scale is None else (scale.profile, scale.version, scale.objective)
        return model.digest, model.score_threshold, made.identify_threshold, naming, optics, source and source.kind

    return before.calibration is not None and of(before) == of(now)


class SlideRecord:
    """Carries a slide's events to the store through the journal. `sent` is called after a summary was put into the outbox.

    provenance: the run's; a slide's own has the scale of its frames and whether the clock could be believed when it was begun.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        config: Config,
        profile: CalibrationProfile,
        provenance: Provenance,
        clock: Clock,
        sent: Callable[[], None],
    ) -> None:
        self._store, self.journal, self._clock, self._sent = store, journal, clock, sent
        self._config, self._profile, self._provenance = config, profile, provenance
        self.pictures = FieldPictures(config.record_path, journal.free_mb, config.record.min_free_mb)
        journal.beside = lambda: self.pictures.reason
        journal.aside, journal.put_aside = self._left_out, self._quarantined
        self._lost = set[tuple[str, int]]()  # fields that the record would not take
        self._clock_told = ""
        self._known_passed: date | None = None
        self._known_asked: date | None = None
        self._messages = SlideMessages(store, config, clock)
        self._blast_told = ""  # id of the slide of which a first blast was put into the outbox

    def _provenance_of(self, slide: Slide, width_px: int) -> Provenance:
        calibration = CalibrationProvenance.of(self._profile, self._config.microscope.objective, width_px)
        trusted = time_trusted(slide.started_at) and not slide.clock_fault
        return replace(self._provenance, calibration=calibration, time_trusted=trusted)

    def started(self, slide: Slide, width_px: int) -> None:
        """A slide was opened; frames are `width_px` wide."""
        provenance = self._provenance_of(slide, width_px)
        self.journal.add(f"slide {slide.slide_id}", partial(self._store.start_slide, slide, provenance))
        self.journal.damaged = ""
        self.pictures.forget()
        self.prune_pictures()

    def counted(self, slide: Slide, event: FieldsChanged) -> None:
        """A field was counted, or a better sight of cells took the place of an earlier one: all that changed is one transaction. The
        field's picture is kept before the row that names it.
        """
        self._check_clock(slide)
        if event.field is not None and event.image is not None and self._config.record.pictures:
            self.pictures.keep(slide.slide_id, event.field.index, event.image)
        fields = tuple(self._with_picture(slide, field) for field in event.fields)
        what = ", ".join(str(field.index) for field in fields) or "map"
        merged, keyframes, blast = event.merged, event.keyframes, self._first_blast(slide, event)
        put = partial(self._store.put_fields, slide.slide_id, fields, slide, merged, keyframes, blast)
        self.journal.add(f"field {what} of {slide.slide_id}", put, self._sent if blast is not None else str)

    def _first_blast(self, slide: Slide, event: FieldsChanged) -> OutboxMessage | None:
        """The message that the slide has a blast, where this is the first time; the record lets it pass once a slide."""
        if self._blast_told == slide.slide_id:
            return None
        try:
            message = self._messages.first_blast(slide, event.fields, self._provenance)
        except Exception:  # the count does not wait for it
            log.exception("no event is sent of slide %s", slide.slide_id)
            return None
        self._blast_told = slide.slide_id if message is not None else self._blast_told
        return message

    def _with_picture(self, slide: Slide, field: Field) -> Field:
        return replace(field, picture=self.pictures.name_of(slide.slide_id, field.index, field.picture))

    def undone(self, slide: Slide, undone: Undone) -> None:
        """A field was taken back; it stays in the record, marked."""
        index = undone.field.index
        others = tuple(self._with_picture(slide, field) for field in undone.others)
        self.journal.add(f"undo of field {index}", partial(self._store.undo_field, slide.slide_id, index, others))

    def checked(self, slide_id: str, passed: bool, result: Mapping[str, object]) -> None:
        """A check was made: the known slide of the day, or what a person said of objective or slide."""
        at = self._clock.now()
        self.journal.add("a check", partial(self._store.put_check, Check(at, slide_id, passed, dict(result))))

    def changed(self, slide: Slide) -> None:
        """The slide was paused, goes on, was opened again or has another target."""
        self._check_clock(slide)
        self.journal.damaged = ""  # a person has gone on
        self.journal.add(f"state of {slide.slide_id}", partial(self._store.put_state, slide))

    def closed(self, slide: Slide, width_px: int) -> None:
        """The slide was finished or aborted: its state and the summary's outbox row are one transaction."""
        kept = tuple(self._with_picture(slide, each) for each in slide.fields if (slide.slide_id, each.index) not in self._lost)
        slide = replace(slide, fields=kept)
        self._close(slide, self._message_or_none(slide, self._provenance_of(slide, width_px)))
        self._check_known(slide)
        self._check_clock(slide)

    def _check_clock(self, slide: Slide) -> None:
        """Keep, once a slide, why its time is not to be trusted."""
        if slide.clock_fault not in ("", _NOT_TRUSTED) and slide.slide_id != self._clock_told:
            self._clock_told = slide.slide_id
            self.checked(slide.slide_id, False, {"check": "clock", "why": slide.clock_fault})

    def _check_known(self, slide: Slide) -> None:
        """Judge a finished count of the known slide, and keep the verdict."""
        known = self._config.quality.specimen
        if known is None or slide.specimen != known or slide.state is not SlideState.REVIEW:
            return
        counted, at = tally(slide, self._provenance.model.taxonomy), self._clock.now()

        def check() -> None:
            references = self._store.checks(REFERENCE, 1)
            verdict = judge(slide, counted, references[0].result if references else None, self._config.quality)
            self._store.put_check(Check(at, slide.slide_id, verdict.passed, verdict.result))
            for fault in verdict.faults:
                log.warning("the known slide: %s", fault)
            if verdict.passed:
                self._known_passed = at.date()

        self.journal.add(f"check by {slide.slide_id}", check)

    def known_slide_due(self) -> bool:
        """A known slide is configured, and none of its counts was passed today (UTC)."""
        today = self._clock.now().date()
        if self._config.quality.specimen is None or self._known_passed == today:
            return False
        if self._known_asked != today:  # once a day from the record, as after a restart; then only what is counted here can change it
            self._known_asked = today
            with suppress(StoreError):  # a record that cannot be read is told by the journal
                if passed_on(self._store.checks(CHECK, 20), today):
                    self._known_passed = today
        return self._known_passed != today

    def _close(self, slide: Slide, message: OutboxMessage | None) -> None:
        def after() -> None:
            if message is not None:
                self._sent()
            if slide.slide_id in self._slides_aside():
                self.journal.damaged = slide.slide_id

        self.journal.add(f"end of {slide.slide_id}", partial(self._store.close_slide, slide, message), after)

    def _slides_aside(self) -> set[str]:
        """Slides that were put aside; none where the record does not answer, which is told by itself."""
        with suppress(StoreError):
            return {row.name for row in self._store.quarantine(kind="slide")}
        return set()

    def open_review(self, slide_id: str, who: str = "") -> tuple[Review, KeptReview]:
        """A finished or signed slide for review, also an earlier one, with its crops; and where what a person does to it is kept.

        Raises RefusedError while something of the slide is not on the disk yet, or if it is open or aborted; StoreError.
        """
        if not self.journal.flush():
            raise RefusedError(_("the slide is not saved yet: {reason}").format(reason=self.journal.status.reason))
        stored = self._store.slide(slide_id, with_crops=True)
        if stored.slide.state not in (SlideState.REVIEW, SlideState.SIGNED):
            raise RefusedError(_("the slide is {state}: only a finished one is reviewed").format(state=stored.slide.state.value))
        if (checked := self._store.check_slide(slide_id)).counts:  # a changed review shows by its chain
            self.damaged(slide_id, checked.words)
            raise RefusedError(_("the slide is damaged in the record: restore a backup, or count it again"))
        review = Review(stored.slide, stored.provenance.model.taxonomy, stored.review, who=who, now=self._clock.now)
        return review, KeptReview(self._store, self.journal, stored.provenance, self._messages, self._sent)

    def finished(self, limit: int = 50) -> tuple[Slide, ...]:
        """The newest slides that wait for their review or are signed, newest first, as they were counted, without crops. StoreError."""
        read, damaged = self._store.readable(self._store.finished_ids(limit))
        for error in damaged:
            self.damaged(error.slide_id, error.why)
        return tuple(stored.slide for stored in read)

    def _quarantined(self) -> int:
        """How much was put aside; 0 where the record does not answer, which is told by itself."""
        try:
            return self._store.quarantined()
        except StoreError:
            return 0

    def damaged(self, slide_id: str, why: str) -> None:
        """Name a slide that cannot be believed in the log and on the list of what was put aside: once."""
        try:
            new = self._store.put_aside_row("slide", slide_id, why)
        except StoreError as error:
            log.error("slide %s is damaged (%s), and that cannot be written down: %s", one_line(slide_id), why, error)
        else:
            if new:
                log.error("slide %s is damaged and was put aside (%s): `leukoscope verify` tells what", one_line(slide_id), why)

    def prune_pictures(self) -> None:
        """Remove field pictures of slides that were signed, or aborted, longer ago than is configured."""
        moment = self._clock.now() - timedelta(days=self._config.record.keep_pictures_days)
        try:
            gone = self.pictures.prune(self._store.done_before(moment))
        except StoreError as error:
            log.error("old pictures of fields are not removed: %s", error)
        else:
            if gone:
                log.info("pictures of %d slides removed, signed or aborted before %s", gone, moment.date().isoformat())

    def slides_of(self, specimen: str) -> int:
        """How many slides of this specimen the record holds already; 0 where it cannot be read."""
        try:
            return self._store.of_specimen(specimen)
        except StoreError as error:
            log.error("it is not known whether this specimen had a slide: %s", error)
            return 0

    def left_open(self) -> LeftOpen:
        """The slide that was open when the appliance stopped, to be taken up again; what cannot be is closed here for review."""
        left, closed = LeftOpen(), list[Slide]()
        bring_back(self._store, folders(self._config.device.state_dir))
        known = self._slides_aside()
        for stored in self._store.unfinished():
            slide_id = stored.slide.slide_id
            try:
                if left.resumed is None and not closed and _same_engine(stored.provenance, self._provenance):
                    doubt = "" if stored.provenance.time_trusted else _NOT_TRUSTED
                    place = self._keyframes(slide_id), self._store.last_cell_id(slide_id)
                    left = LeftOpen(replace(stored.slide, clock_fault=doubt), *place)
                else:
                    closed.append(self._put_to_review(stored))
            except UnreadableError as error:
                self.damaged(slide_id, str(error))
            except StoreError:
                raise
            except Exception as error:  # whatever is amiss with this one, the others go on
                self.damaged(slide_id, f"{type(error).__name__} when it was taken up")
        self.journal.damaged = ", ".join(sorted(self._slides_aside() - known)) or self.journal.damaged
        return replace(left, closed=tuple(closed))

    def _keyframes(self, slide_id: str) -> tuple[Keyframe, ...]:
        """Of the slide; none where they cannot be read: its place on the film is lost, its count is not."""
        try:
            return self._store.keyframes(slide_id)
        except StoreError as error:
            log.error("the place of slide %s on the film is lost: %s", slide_id, error)
            return ()

    def last_finished(self) -> LeftOpen:
        """The newest slide of the record, if it was finished and can be counted on by what counts now; RefusedError where it cannot."""
        cannot = N_("cannot reopen: {why}")
        if not self.journal.flush():
            raise RefusedError(cannot, why=self.journal.status.reason)
        try:
            newest = self._store.slides(1)
            if not newest:
                raise RefusedError(cannot, why=N_("no slide was finished"))
            (stored,) = newest
            slide_id, state = stored.slide.slide_id, stored.slide.state
            if state is not SlideState.REVIEW or stored.slide.revision:
                why = N_("the slide was aborted") if state is SlideState.ABORTED else N_("the slide is signed")
                raise RefusedError(cannot, why=why)
            if not _same_engine(stored.provenance, self._provenance):
                raise RefusedError(cannot, why=N_("it was counted by another engine, microscope or kind of source"))
            if (checked := self._store.check_slide(slide_id)).faults:
                self.damaged(slide_id, checked.words)
                raise RefusedError(cannot, why=N_("it is damaged in the record"))
            return LeftOpen(stored.slide, self._keyframes(slide_id), self._store.last_cell_id(slide_id))
        except StoreError as error:
            raise RefusedError(cannot, why=str(error)) from error

    def _put_to_review(self, stored: StoredSlide) -> Slide:
        """Close a slide that cannot be counted on, with the last that is known of it: its last field, or its start."""
        slide = stored.slide
        end = max(slide.started_at, slide.fields[-1].captured_at) if slide.fields else slide.started_at
        empty = nothing_counted(tally(slide, stored.provenance.model.taxonomy))
        state, why = (SlideState.ABORTED, EMPTY) if empty else (SlideState.REVIEW, "")
        ended = replace(slide, state=state, finished_at=end, abort_reason=why)
        self._close(ended, self._message_or_none(ended, stored.provenance))
        log.warning("slide %s was left open: closed with %d fields, %s", slide.slide_id, len(slide.fields), state.value)
        return ended

    def settle(self, patience_s: float) -> bool:
        """Write what waits at the end of a run, and go on trying for so long; what the disk refuses lies elsewhere meanwhile, for the
        next start. False if something is not in the record."""
        if self.journal.settle(min(patience_s, 1.0)):
            return True
        kept = self.keep_elsewhere()
        if not self.journal.settle(patience_s):
            return False
        if kept is not None:
            with suppress(OSError):
                kept.unlink()
        return True

    def keep_elsewhere(self) -> Path | None:
        """Keep what is not on the disk in a file elsewhere, which the next start reads back; where, None if there is nothing to keep or
        no place for it. From any thread."""
        waiting = self.journal.waiting
        kept = keep(self._config.record_path, waiting, folders(self._config.device.state_dir))
        if kept is not None:
            until = ", as long as the power stays on" if is_memory(kept) else ""
            log.error("%d writes are kept in %s, and the next start makes them%s", len(waiting), kept, until)
        elif waiting:
            log.error("LOST unless the disk takes them in time: %s", ", ".join(write.what for write in waiting))
        return kept

    def put_aside(self, kind: Kind, name: str, why: str, content: bytes = b"") -> None:
        """Name in the record what could not be read, looked at or written, so that the rest goes on."""
        self.journal.add("what was put aside", partial(self._store.put_aside_row, kind, name, why, content))

    def _left_out(self, write: Write, why: str) -> None:
        """A write that the record will not take. Of several fields those are written that it takes."""
        act = write.act
        if isinstance(act, partial) and act.func.__name__ == self._store.put_fields.__name__:
            slide_id, fields, *_rest = act.args
            for field in fields:
                try:
                    self._store.put_fields(slide_id, (field,))
                except Exception:  # the one that is at fault; a disk that fails meanwhile is made up for when the slide is closed
                    self._lost.add((slide_id, field.index))
                    log.error("field %d of %s is not in the record, and will not be in its summary", field.index, slide_id)
        if write.what != "what was put aside":
            self.put_aside("write", f"{write.what}, {self._clock.now():%Y-%m-%d %H:%M:%S}", why, in_words(act))

    def _message_or_none(self, slide: Slide, provenance: Provenance) -> OutboxMessage | None:
        """The same; None too where the summary cannot be made: the slide's end is kept all the same."""
        try:
            return self._message(slide, provenance)
        except ValueError as error:  # another version wrote where its numbers came from
            log.error("no summary is sent: %s", error)
        except Exception as error:
            log.exception("no summary of slide %s is sent", slide.slide_id)
            self.put_aside("message", slide.slide_id, f"its summary cannot be made: {type(error).__name__}: {error}")
        return None

    def _message(self, slide: Slide, provenance: Provenance, review: Review | None = None) -> OutboxMessage | None:
        """The outbox row of a closed slide, or of its signature; None where the broker is off, or where nothing was counted."""
        return self._messages.summary(slide, provenance, review)
