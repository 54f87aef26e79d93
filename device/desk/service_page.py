"""The service page of the start page: this box, its sticks, an update and a support bundle, each asked for by keys. No slide is open.

Two presses and a third install: I, the bundle where there are several, Y. What root does with a request is told on the page.
"""

from __future__ import annotations

from dataclasses import dataclass

from device.box.progress import DONE, FAILED, RUNNING, WAITING
from device.box.sticks import Found
from device.desk.service_room import NOT_TAKEN, RESTART, SUPPORT, UPDATE, Offer, ServiceRoom, Standing, Task
from device.display.inputs import Input
from device.display.pages import AskPage, Choice, ServicePage, ServiceRow
from device.language import N_, RIGHT_TO_LEFT, _, in_use, number

KEY = "T"
"""Opens the page: This box."""
_BACK = ("Q", "ESCAPE")
_MOST_OFFERS = 6
_LITTLE_FREE = 1_000_000_000  # bytes; a bundle and a day's record want more
_LEVELS = {WAITING: "", RUNNING: "busy", DONE: "ok", FAILED: "fail"}
_NO_IMAGE = N_("This machine was not flashed with an image of ours: its package is updated as other packages are.")


@dataclass(frozen=True)
class ThisBox:
    """The page itself. fault: why the last request could not be made."""

    room: ServiceRoom
    fault: str = ""

    @property
    def page(self) -> ServicePage:
        standing = self.room.standing
        words = _(self.fault) if self.fault else "" if standing.box.flashed else _(_NO_IMAGE)
        return ServicePage(_("This box"), words, tuple(_rows(standing)), tuple(_choices(standing)))

    def take(self, given: Input) -> ThisBox | PickBundle | SureToInstall | None:
        """The next page; None: back to the start page."""
        if given.word in _BACK:
            return None
        standing = self.room.standing
        if given.word not in [choice.key for choice in _choices(standing)]:
            return self
        match given.word:
            case "I":
                offers = standing.offers[:_MOST_OFFERS]
                return SureToInstall(self.room, offers[0]) if len(offers) == 1 else PickBundle(self.room, offers)
            case "R":
                return ThisBox(self.room, self.room.ask(RESTART, {}))
            case "B":
                stick = _writable(standing)[0].stick
                return ThisBox(self.room, self.room.ask(SUPPORT, {"stick": stick.uuid or stick.device}))
            case _:
                return self


@dataclass(frozen=True)
class PickBundle:
    """Which of several bundles."""

    room: ServiceRoom
    offers: tuple[Offer, ...]

    @property
    def page(self) -> AskPage:
        listed = (Choice(str(count), f"{_apart(each.name)} ({each.where})") for count, each in enumerate(self.offers, 1))
        return AskPage(_("Which update?"), choices=(*listed, Choice("ESCAPE", _("Not now"))))

    def take(self, given: Input) -> ThisBox | PickBundle | SureToInstall:
        if given.word in _BACK:
            return ThisBox(self.room)
        if given.word.isdigit() and 1 <= int(given.word) <= len(self.offers):
            return SureToInstall(self.room, self.offers[int(given.word) - 1])
        return self


@dataclass(frozen=True)
class SureToInstall:
    """The press that installs."""

    room: ServiceRoom
    offer: Offer

    @property
    def page(self) -> AskPage:
        words = _("From {where}. It takes some minutes and goes into the other slot; this version goes on until the box is restarted.")
        choices = Choice("Y", _("Yes, install it")), Choice("ESCAPE", _("Not now"))
        return AskPage(_("Install {name}?").format(name=_apart(self.offer.name)), words.format(where=self.offer.where), choices=choices)

    def take(self, given: Input) -> ThisBox | SureToInstall:
        if given.word in _BACK:
            return ThisBox(self.room)
        if given.word != "Y":
            return self
        if self.offer not in self.room.standing.offers:
            return ThisBox(self.room, N_("The stick was pulled, or the offer was withdrawn. Nothing was asked for."))
        return ThisBox(self.room, self.room.ask(UPDATE, dict(self.offer.request)))


ServiceDialog = ThisBox | PickBundle | SureToInstall


def _choices(standing: Standing) -> list[Choice]:
    """What can be done now, and nothing else."""
    made = []
    update, busy = standing.update, standing.update.busy or standing.restart.busy
    if update.can and standing.offers and not busy:
        one = len(standing.offers) == 1
        words = _("Install {name}").format(name=_apart(standing.offers[0].name)) if one else _("Install an update")
        made.append(Choice("I", words))
    if standing.restart.can and not busy and not standing.support.busy and standing.installed:
        made.append(Choice("R", _("Restart into the new version")))
    if standing.support.can and _writable(standing) and not standing.support.busy:
        made.append(Choice("B", _("Support bundle to the stick")))
    return [*made, Choice("Q", _("Back"))]


def _writable(standing: Standing) -> list[Found]:
    return [each for each in standing.sticks if not each.fault and not each.stick.read_only]


def _rows(standing: Standing) -> list[ServiceRow]:
    box = standing.box
    slot = _("slot {slot}").format(slot=_apart(box.slot)) if box.slot else _("no slots")
    clock = _apart(f"{standing.now.astimezone():%Y-%m-%d %H:%M}")
    unset = _("{clock} (clock not set)")
    rows = [
        ServiceRow(_("Device"), _apart(box.device_id)),
        ServiceRow(_("Version"), f"{_apart(box.version)}   ·   {slot}"),
        ServiceRow(_("Engine"), _apart(standing.engine)),
        ServiceRow(_("Set-up"), _("nothing was told since the box was switched on")),
        _disk(standing),
        ServiceRow(_("Clock"), clock if box.time_trusted else unset.format(clock=clock), "" if box.time_trusted else "warn"),
        *_sticks(standing),
    ]
    if standing.provision is not None:
        rows[3] = ServiceRow(_("Set-up"), standing.provision.spoken, _LEVELS[standing.provision.state])
    far = [each for each in standing.offers if dict(each.request).get("url")]
    rows += [ServiceRow(_("Offered"), f"{_apart(each.name)} ({each.where})") for each in far]
    tasks = (_("Update"), standing.update), (_("Support bundle"), standing.support), (_("Restart"), standing.restart)
    return [*rows, *(row for name, task in tasks if (row := _task(name, task)) is not None)]


def _disk(standing: Standing) -> ServiceRow:
    if standing.free_bytes is None or standing.total_bytes is None:
        return ServiceRow(_("Disk"), _("cannot be asked"), "warn")
    free, total = (number(value / 1e9, 1) for value in (standing.free_bytes, standing.total_bytes))
    words = _("{free} GB of {total} GB free").format(free=free, total=total)
    return ServiceRow(_("Disk"), words, "warn" if standing.free_bytes < _LITTLE_FREE else "")


def _sticks(standing: Standing) -> list[ServiceRow]:
    if not standing.sticks:
        return [ServiceRow(_("Stick"), _("none is plugged in"))]
    rows = []
    for each in standing.sticks[:3]:
        there = [*each.bundles[:3], *(["leukoscope-setup.yaml"] if each.setup else [])]
        words = ", ".join(map(_apart, there)) if there else _("nothing for this box")
        name = each.stick.label or each.stick.device
        rows.append(ServiceRow(_("Stick"), f"{_apart(name)}: {each.fault or words}", "warn" if each.fault else ""))
    return rows


def _task(name: str, task: Task) -> ServiceRow | None:
    """How a request goes; None where nobody made one since the boot."""
    if task.lost:
        return ServiceRow(name, _(NOT_TAKEN), "fail")
    if task.asked:
        return ServiceRow(name, _("asked for, waits"), "busy")
    if (step := task.step) is None:
        return None
    share = None if step.percent is None or step.state != RUNNING else step.percent / 100
    words = step.spoken if step.spoken != step.words else _apart(step.words)
    words = words if share is None else f"{_apart(f'{number(step.percent or 0)} %')}   {words}"
    return ServiceRow(name, words, _LEVELS[step.state], share)


def _apart(words: str) -> str:
    """Read from left to right, also within a line of Arabic letters."""
    mark = "\N{LEFT-TO-RIGHT MARK}"
    return f"{mark}{words}{mark}" if words and in_use() in RIGHT_TO_LEFT else words
