"""The doctor's look at the box itself: GPU and plan, power mode, groups, memory, screen, slots, settings.

What a machine lacks is said calmly.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path

from device.box.progress import FAILED, FOLDER, read_step
from device.box.provisioning import Places, last_receipt
from device.box.slots import read_slots
from device.service.finding import Finding
from device.settings.config import Config
from engines.bundle import Bundle, resolve
from engines.errors import EnginesError
from engines.runtime.tensorrt.board import available_bytes, power_mode
from engines.runtime.tensorrt.driver import Driver
from engines.runtime.tensorrt.library import load
from engines.runtime.tensorrt.plan import key_of, read_plan

KIOSK = Path("/run/leukoscope-kiosk/wayland-0")
USER, GROUPS = "leukoscope", ("video", "render")
_LEAST_MIB = 512
_NOT_HERE = "not on this machine"
_STATES = {True: "good", False: "bad", None: "?"}


def box_findings(config: Config, folder: Path = FOLDER, places: Places | None = None) -> list[Finding]:
    """One finding a part, in this order. Nothing is changed, and none of them raises."""
    looks: tuple[tuple[str, Callable[[], Finding]], ...] = (
        ("GPU", lambda: _gpu(config)),
        ("Power mode", _power),
        ("Groups", _groups),
        ("Memory", _memory),
        ("Screen", lambda: _screen(config)),
        ("Slots", _slots),
        ("Set-up", lambda: _set_up(folder, places or Places())),
    )
    return [_looked(part, look) for part, look in looks]


def _looked(part: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except Exception as error:  # the doctor must reach the last part
        return Finding(part, "warn", f"{type(error).__name__}: {error}", "report this with the lines above")


def _gpu(config: Config) -> Finding:
    """GPU, TensorRT and the plan: a box without them counts on its processor, so nothing of it fails."""
    wanted = config.engine.runtime in ("tensorrt", "tensorrt_rtx")
    try:
        device = Driver().device()
        library = load(config.engine.runtime if wanted else "tensorrt")
    except EnginesError as error:
        if wanted:
            return Finding("GPU", "warn", f"{str(error).splitlines()[0]} It counts on the processor", "docs/tensorrt.md")
        return Finding("GPU", "ok", _NOT_HERE)
    seen = f"{device.name}, {device.arch}, {device.multiprocessors} multiprocessors, {library.title}"
    try:
        bundle = Bundle.open(resolve(config.engine.bundle))
        plan = read_plan(config.engine.plans, bundle, key_of(bundle, library, device))
    except EnginesError as error:
        return Finding("GPU", "warn", f"{seen}; {error}", "systemctl start leukoscope-plans; until then it counts on the processor")
    return Finding("GPU", "ok", f"{seen}; plan of {plan.record.built[:16]}, answered the golden picture")


def _power() -> Finding:
    return Finding("Power mode", "ok", power_mode() or _NOT_HERE)


def _groups() -> Finding:
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        return Finding("Groups", "ok", f"no user {USER}: {_NOT_HERE}")
    held = {grp.getgrgid(number).gr_name for number in os.getgrouplist(USER, user.pw_gid)}
    missing = [name for name in GROUPS if name not in held]
    if missing:
        return Finding("Groups", "warn", f"{USER} is not in {', '.join(missing)}", f"usermod -aG {','.join(missing)} {USER}")
    return Finding("Groups", "ok", f"{USER} is in {', '.join(GROUPS)}")


def _memory() -> Finding:
    available = available_bytes()
    if available is None:
        return Finding("Memory", "ok", "the kernel does not tell")
    words = f"{available >> 20:,} MiB available"
    return Finding("Memory", "ok", words) if available >> 20 >= _LEAST_MIB else Finding("Memory", "warn", words, "stop other programs")


def _screen(config: Config) -> Finding:
    if config.display.kind != "screen":
        return Finding("Screen", "ok", f"display.kind is {config.display.kind}")
    if KIOSK.is_socket():
        return Finding("Screen", "ok", f"the kiosk's, {KIOSK}")
    server = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
    if server:
        return Finding("Screen", "ok", f"a display server at {server}")
    return Finding("Screen", "warn", "no kiosk and no display server", "systemctl status leukoscope-kiosk, or display.kind: none")


def _slots() -> Finding:
    if not Path("/etc/rauc/system.conf").exists():
        return Finding("Slots", "ok", _NOT_HERE)
    slots = read_slots()
    running = slots.booted
    states = ", ".join(f"{slot.name} {_STATES[slot.good]}" for slot in slots.slots)
    good = running is not None and running.good is True
    words = f"booted from {running.boot_name if running else '?'}; {states}"
    return Finding("Slots", "ok" if good else "warn", words, "" if good else "the running version is not marked good yet")


def _set_up(folder: Path, places: Places) -> Finding:
    told = read_step("provision", folder)
    if told is not None and told.state == FAILED:
        return Finding("Set-up", "warn", told.words, "mend the file and plug the stick in again")
    receipt = last_receipt(places)
    if receipt is None:
        return Finding("Set-up", "ok", "never by a file (docs/provisioning.md)")
    return Finding(
        "Set-up", "ok", f"by a file on {str(receipt.get('at', ''))[:16]}: {', '.join(map(str, receipt.get('keys', [])))[:200]}"
    )
