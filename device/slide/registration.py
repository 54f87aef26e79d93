"""Where on the film each frame lies, from the pictures alone.

Every frame is matched with the one before and then with the nearest keyframes of ground already visited, which takes the drift out. A
keyframe is made wherever the resting stage is far from all others. Where a frame shows too little of what was seen before, the place
is lost until the stage rests: visited ground is then looked for in all keyframes, and found again, or a new chart begins, a piece of
film of its own. Charts that turn out to show the same ground are merged. Only shifts are looked for: a stage does not turn.
Places are kept in px of the small picture and handed out in px of the frame. No wall clock; used by one thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from device.slide.acceptance import ENOUGH, Acceptance
from device.slide.correlation import Correlator, Match, Spectrum, compressed
from device.slide.keyframes import Key, Keyframe, KeyframeMap, encode, frame_size
from device.slide.model import Place
from device.slide.motion import WIDTH_PX, FieldPicture, small_size
from device.slide.search import Search, Searches

KEYFRAME_SHARE = 0.35
"""Of the width: a resting stage farther than this from all keyframes makes one."""
_NEAR, _FAR = 0.04, 0.16  # shares of the width that a keyframe is looked for around the place that the way here gives; _FAR in doubt
_LOOSE_SHARE = 0.5  # after a step with less in common keyframes are looked for in _FAR until one confirms the place at rest
_DOUBTFUL_SHARE, _DOUBTFUL_SPREAD = 0.6, 6
# A step with less in common and a wider peak leaves the place in doubt: smear hides where along the way it is. Of 389 quick steps these
# are all 22 that were more than a quarter of a cell off, and one in ten of the others.
_LEAST_SHARE = 0.2  # a keyframe with less in common is not asked
_CLEAR_SHARE = 0.3  # a keyframe with more in common, as sharp as the resting frame, must be recognised ...
_CONTRADICTIONS = 3  # ... or else, after so many frames, the place is not believed
_PATIENCE = 12  # so many resting frames a place in doubt may wait to be confirmed: they may be out of focus
_CHECKED = 6  # pairs of keyframes that are asked before two charts are joined
_SHARPER = 1.25  # a keyframe is replaced by a picture of the same place with so much more contrast: it was out of focus
_SAME_PLACE = 0.04
_POOR = 0.35  # of the contrast that most rests of the slide exceed once: below, there is little but dust (at rest: .82 and more)
_RESTS = 9  # so many rests say what is usual; where most are poor, poor film it is


@dataclass(frozen=True)
class Merge:
    """`old_chart` turned out to be a part of `into_chart`: all its places move by (dx_px, dy_px) and bear the other's number."""

    old_chart: int
    into_chart: int
    dx_px: float
    dy_px: float

    def moved(self, place: Place) -> Place:
        """A place of the old chart on the other."""
        return Place(self.into_chart, place.x_px + self.dx_px, place.y_px + self.dy_px)


@dataclass(frozen=True)
class Fix:
    """Where a frame lies. place: None while lost or in doubt; state: tracking, lost, found again, new chart; sure: likeness less the
    least one that is believed; merged: charts joined since the frame before, in order, with effect for all places handed out earlier.
    """

    place: Place | None
    state: str
    sure: float
    merged: tuple[Merge, ...] = ()


Point = tuple[float, float]


@dataclass(frozen=True, eq=False)
class _Placed:
    """A frame whose place is known; position in px of the small picture."""

    spectrum: Spectrum
    chart: int
    position: Point


class Registration:
    """Follows the frames of one camera over one slide. width_px: of its frames, where the pictures do not say."""

    def __init__(self, width_px: int = 1920) -> None:
        self._width_px = width_px
        self._position: Point | None = None
        self._last: Spectrum | None = None
        self._placed: _Placed | None = None  # the last frame whose place was known
        self._mode: tuple[int, int] | None = None
        self.forget()

    def forget(self) -> None:
        """Begin anew, as for another slide."""
        self._maps: dict[tuple[int, int], KeyframeMap] = {}
        self._searches = Searches()
        self._chart = 0  # the present chart; 0 before the first
        self._charts = 0  # the last chart given
        self._keyframes = 0  # the last number given
        self._sizes: dict[int, tuple[int, int]] = {}  # chart → (width, height) of its frames
        self._changed: set[int] = set()
        self._mode = None
        self._lose()
        self._loose = self._doubt = False
        self._unconfirmed = 0
        self._resting = False
        self._contrasts: deque[float] = deque(maxlen=_RESTS)  # of the last rests, in shares of the light

    def observe(self, picture: FieldPicture, resting: bool) -> Fix:
        """Take in the next frame. resting: the stage stands still (motion.RestDetector)."""
        self._searches.next_frame()
        if picture.blank or self._poor(picture, resting):
            self._position, self._known = None, False
            return Fix(None, "lost", -1.0, self._merge())
        here = self._map_of(picture)
        now = here.full.spectrum(compressed(picture.band, picture.contrast))
        state = "tracking" if self._known else "found again"
        if self._step(here, now):
            self._refine(here, now, resting, picture.contrast)
        else:
            self._position = None
        if resting and self._position is None:
            state = self._find(here, now, picture.contrast)
        elif resting and self._position is not None and not self._doubt:
            self._keep(here, now, picture.contrast)
        merged = self._merge()
        self._last = now
        self._known = self._position is not None and not self._doubt
        if self._position is None or self._doubt:
            return Fix(None, "lost", self._sure, merged)
        self._placed = _Placed(now, self._chart, self._position)
        return Fix(self._place(here, *self._position), state, self._sure, merged)

    def overlap(self, first: Place, second: Place) -> float:
        """The share of the frame that fields at both places have in common, 0 to 1; 0 on different charts."""
        if first.chart != second.chart:
            return 0.0
        width, height = self._sizes.get(first.chart, (self._width_px, self._width_px * 9 / 16))
        x, y = abs(first.x_px - second.x_px) / width, abs(first.y_px - second.y_px) / height
        return max(0.0, 1 - x) * max(0.0, 1 - y)

    def keyframes(self) -> tuple[Keyframe, ...]:
        """All keyframes, as they are stored: with them another Registration finds visited ground (`restore`)."""
        return tuple(here.stored(key) for here in self._maps.values() for key in here)

    def changed_keyframes(self) -> tuple[Keyframe, ...]:
        """Those that were added or changed since the last call."""
        changed, self._changed = self._changed, set()
        return tuple(here.stored(here[number]) for number in sorted(changed) for here in self._maps.values() if number in here)

    @property
    def acceptance(self) -> Acceptance | None:
        """How likeness is judged in the present camera mode, and whether the slide has taught it yet; None before the first frame."""
        return self._maps[self._mode].acceptance if self._mode else None

    def restore(self, keyframes: Iterable[Keyframe]) -> None:
        """Begin anew on a slide of which these are the keyframes: the place is lost until visited ground is seen at rest.

        KeyframeError (and nothing known) if one cannot be read.
        """
        self.forget()
        try:
            for keyframe in keyframes:
                size = frame_size(keyframe.picture)
                self._map(size).restore(keyframe)
                self._sizes[keyframe.chart] = size
                self._charts = max(self._charts, keyframe.chart)
                self._keyframes = max(self._keyframes, keyframe.number)
            for here in self._maps.values():
                for number in here.numbers()[:: max(1, len(here) // (2 * ENOUGH))]:
                    here.learn(here[number])
        except Exception:
            self.forget()
            raise

    def _lose(self) -> None:
        self._position = self._last = self._placed = None
        self._known = False
        self._sure = -1.0

    def _map(self, size_px: tuple[int, int]) -> KeyframeMap:
        if size_px not in self._maps:
            width, height = small_size(size_px)
            self._maps[size_px] = KeyframeMap(Correlator((height, width)), size_px)
        return self._maps[size_px]

    def _map_of(self, picture: FieldPicture) -> KeyframeMap:
        """The keyframes of this camera mode; a change of it is a change of scale, after which nothing can be followed."""
        height, width = picture.band.shape
        size = picture.size_px if all(picture.size_px) else (self._width_px, round(height * self._width_px / width))
        if size != self._mode:
            self._mode = size
            self._lose()
        return self._map(size)

    def _poor(self, picture: FieldPicture, resting: bool) -> bool:
        """Whether a frame shows so much less than the slide's rests do that only dust could tell its place: empty film."""
        contrast = picture.contrast / (picture.level or 1.0)  # whatever the lamp does
        if resting and not self._resting:
            self._contrasts.append(contrast)
        self._resting = resting
        return bool(self._contrasts) and contrast < _POOR * float(np.quantile(self._contrasts, 0.75))

    def _step(self, here: KeyframeMap, now: Spectrum) -> bool:
        """Follow the frame from the last one, or from the last whose place was known; False if neither shows the same ground."""
        if self._last is not None and self._position is not None:
            match = here.full.match(self._last, now)
            self._sure = match.margin
            if match.accepted:
                self._position = self._position[0] - match.x, self._position[1] - match.y
                self._loose |= match.share < _LOOSE_SHARE
                self._doubt |= _is_doubtful(match)
                return True
        before = self._placed
        if before is not None and before.spectrum is not self._last:
            match = here.full.match(before.spectrum, now)
            self._sure = max(self._sure, match.margin) if self._position is not None else match.margin
            if match.accepted and match.evidence >= here.acceptance.far(1):  # out of nowhere: more is asked than of a step
                self._chart, self._position = before.chart, (before.position[0] - match.x, before.position[1] - match.y)
                self._loose, self._doubt, self._unconfirmed = match.share < _LOOSE_SHARE, _is_doubtful(match), 0
                return True
        return False

    def _refine(self, here: KeyframeMap, now: Spectrum, resting: bool, contrast: float) -> None:
        """Take the place from the better of the two nearest keyframes, where one of them knows it.

        A place in doubt is given up where no keyframe can confirm it at rest; one that should be confirmed and is not comes in doubt.
        """
        assert self._position is not None
        x, y = self._position
        reach = round((_FAR if self._loose or self._doubt else _NEAR) * WIDTH_PX)
        near = [key for _, key in here.near(self._chart, x, y) if here.full.share(key.x - x, key.y - y) > _LEAST_SHARE][:2]
        best: tuple[Match, Key] | None = None
        contradicted = False
        for key in near:
            match = here.full.match_near(here.spectrum(key), now, key.x - x, key.y - y, reach)
            if match.accepted and (best is None or match.evidence > best[0].evidence):
                best = match, key
            clear = here.full.share(key.x - x, key.y - y) > _CLEAR_SHARE and _alike(contrast, key.contrast)
            contradicted |= clear and not match.accepted
        if best is not None:
            match, key = best
            self._position = key.x - match.x, key.y - match.y
            self._sure = match.margin
            if resting:
                self._loose, self._doubt, self._unconfirmed = False, False, 0
        elif resting and (self._doubt or contradicted):
            self._doubt = True
            self._unconfirmed += 1
            if not near or self._unconfirmed > (_CONTRADICTIONS if contradicted else _PATIENCE):
                self._position = None

    def _find(self, here: KeyframeMap, now: Spectrum, contrast: float) -> str:
        """Look for a resting frame on visited ground; what cannot be looked at now is looked at while the stage goes on."""
        search = Search(here, now, here.numbers()[::-1])  # the last first: nobody goes far
        found = self._searches.now(search)
        self._loose, self._doubt, self._unconfirmed = False, False, 0
        if found is not None:
            key, match = found
            self._chart, self._position, self._sure = key.chart, (key.x - match.x, key.y - match.y), match.margin
            self._keep(here, now, contrast)
            return "found again"
        self._charts += 1
        self._chart, self._position = self._charts, (0.0, 0.0)
        self._sizes[self._chart] = here.size_px
        self._put(here, now, contrast)
        if search.left:
            self._searches.add(self._keyframes, search)
        return "new chart"

    def _keep(self, here: KeyframeMap, now: Spectrum, contrast: float) -> None:
        """Make a keyframe of a resting frame far from all others, or put it in the place of one that was out of focus."""
        assert self._position is not None
        near = here.near(self._chart, *self._position)
        number = None
        if near and near[0][0] <= KEYFRAME_SHARE * WIDTH_PX:
            if near[0][0] > _SAME_PLACE * WIDTH_PX or contrast < _SHARPER * near[0][1].contrast:
                return
            number = near[0][1].number
        self._put(here, now, contrast, number)
        others = here.numbers(without_chart=self._chart)
        if others:
            self._searches.add(number or self._keyframes, Search(here, now, others[::-1]))

    def _put(self, here: KeyframeMap, now: Spectrum, contrast: float, number: int | None = None) -> None:
        assert self._position is not None
        if number is None:
            self._keyframes += 1
            number = self._keyframes
        key = Key(number, self._chart, *self._position, contrast, encode(now.band))
        known = number in here
        here.put(key)
        if not known:
            here.learn(key)
        self._changed.add(number)

    def _merge(self) -> tuple[Merge, ...]:
        """Go on with the keyframes that are still looked for on other charts, and join the charts of those found."""
        found = self._searches.advance()
        if found is None:
            return ()
        number, here, other, match = found
        key = here[number]
        old, into = key.chart, other.chart
        dx, dy = other.x - match.x - key.x, other.y - match.y - key.y  # moves the keyframe's chart onto the other's
        if old == into or not self._agrees(here, key, into, dx, dy):
            return ()
        if (here.size_of(old), -old) > (here.size_of(into), -into):  # the larger piece stays where it is
            old, into, dx, dy = into, old, -dx, -dy
        self._changed.update(moved.number for moved in here.move_chart(old, into, dx, dy))
        if self._chart == old and self._position is not None:
            self._chart, self._position = into, (self._position[0] + dx, self._position[1] + dy)
        if self._placed is not None and self._placed.chart == old:
            x, y = self._placed.position
            self._placed = _Placed(self._placed.spectrum, into, (x + dx, y + dy))
        scale_x, scale_y = self._scale(here)
        return (Merge(old, into, dx * scale_x, dy * scale_y),)

    def _agrees(self, here: KeyframeMap, key: Key, into: int, dx: float, dy: float) -> bool:
        """Whether the keyframes around `key` are recognised on the other chart where the shift puts them, rather than not."""
        votes = 0
        for _, beside in here.near(key.chart, key.x, key.y)[:_CHECKED]:
            x, y = beside.x + dx, beside.y + dy
            there = next((k for _, k in here.near(into, x, y)), None)
            if beside is key or there is None or not _alike(beside.contrast, there.contrast):
                continue
            if here.full.share(there.x - x, there.y - y) > _CLEAR_SHARE:
                reach = round(_FAR * WIDTH_PX)
                match = here.full.match_near(here.spectrum(there), here.spectrum(beside), there.x - x, there.y - y, reach)
                votes += 1 if match.accepted else -1
        return votes >= 0

    def _scale(self, here: KeyframeMap) -> tuple[float, float]:
        height, width = here.full.shape
        return here.size_px[0] / width, here.size_px[1] / height

    def _place(self, here: KeyframeMap, x: float, y: float) -> Place:
        scale_x, scale_y = self._scale(here)
        return Place(self._chart, x * scale_x, y * scale_y)


def _is_doubtful(step: Match) -> bool:
    return step.share < _DOUBTFUL_SHARE and step.spread >= _DOUBTFUL_SPREAD


def _alike(contrast: float, other: float) -> bool:
    """Whether two pictures are about equally sharp, by their contrasts."""
    return contrast < _SHARPER * other and other < _SHARPER * contrast
