"""How the box does: temperature, memory, disk, load, clock, read from /proc and /sys. What a machine does not tell is None.

Each reading is a few small files; nothing here can fail, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from device.clock import Clock, clock_offset_ms, time_trusted
from device.mqtt.device_status import PartStatus
from device.mqtt.health import HealthReport
from device.store import Provenance, free_mb

_PI_FIRMWARE: Final = "sys/devices/platform/soc*/soc*firmware/get_throttled"
_PI_BITS: Final = ((0x1, "under-voltage"), (0x2, "frequency capped"), (0x4, "throttled"), (0x8, "temperature limit"))
_PLAUSIBLE_C: Final = (-60.0, 250.0)


class Machine:
    """The box's own gauges. root: "/"; tests bring a folder."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._overcurrents: int | None = None

    def temperature_c(self) -> float | None:
        """The hottest thermal zone."""
        read = [_number(path) for path in self._root.glob("sys/class/thermal/thermal_zone*/temp")]  # some zones give no number: asleep
        found = [value / 1000 for value in read if value is not None and _PLAUSIBLE_C[0] <= value / 1000 <= _PLAUSIBLE_C[1]]
        return round(max(found), 1) if found else None

    def throttled(self) -> tuple[str, ...] | None:
        """Why the board slows itself down now; None where it has no such gauge."""
        told: list[bool] = []
        why: list[str] = []
        for path in self._root.glob(_PI_FIRMWARE):  # Raspberry Pi's firmware, hexadecimal
            bits = _number(path, 16)
            if bits is not None:
                told.append(True)
                why += [words for bit, words in _PI_BITS if int(bits) & bit]
        for path in self._root.glob("sys/class/hwmon/hwmon*/in0_lcrit_alarm"):
            if _text(path.parent / "name") == "rpi_volt" and (alarm := _number(path)) is not None:
                told.append(True)
                why += ["under-voltage"] if alarm else []
        counts = [n for path in self._root.glob("sys/class/hwmon/hwmon*/oc*_event_cnt") if (n := _number(path)) is not None]
        if counts:  # Jetson: how often power was cut back; only what comes anew is now
            told.append(True)
            total = int(sum(counts))
            why += ["over-current"] if self._overcurrents is not None and total > self._overcurrents else []
            self._overcurrents = total
        for path in self._root.glob("sys/class/thermal/cooling_device*/type"):
            kind = _text(path)
            if ("cpufreq" in kind or "devfreq" in kind) and (state := _number(path.parent / "cur_state")) is not None:
                told.append(True)
                why += ["temperature limit"] if state else []
        return tuple(dict.fromkeys(why)) if told else None

    def memory_mb(self) -> float | None:
        """Held by this process."""
        return _megabytes(self._root / "proc/self/status", "VmRSS")

    def memory_free_mb(self) -> float | None:
        """What programs may still have."""
        return _megabytes(self._root / "proc/meminfo", "MemAvailable")

    def load(self) -> float | None:
        """Over the last minute."""
        try:
            return round(float((self._root / "proc/loadavg").read_text().split()[0]), 2)
        except (OSError, ValueError, IndexError):
            return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path, base: int = 10) -> float | None:
    try:
        return float(int(_text(path), base))
    except ValueError:
        return None


def _megabytes(path: Path, key: str) -> float | None:
    for line in _text(path).splitlines():
        name, _, value = line.partition(":")
        if name == key:
            words = value.split()
            return round(int(words[0]) / 1024, 1) if words and words[0].isdigit() else None
    return None


class EngineGauges(Protocol):
    """What the report needs of the engine (`device.view.EngineStatus`)."""

    @property
    def frames(self) -> int: ...
    @property
    def failures(self) -> int: ...
    @property
    def fps(self) -> float: ...
    @property
    def median_ms(self) -> float: ...


class SpoolGauges(Protocol):
    """What it needs of the way to the broker (`device.mqtt.broker_status.BrokerStatus`)."""

    @property
    def pending(self) -> int: ...
    @property
    def unconfirmed(self) -> int: ...
    @property
    def quarantined(self) -> int: ...


@dataclass(frozen=True)
class Gauges:
    """How the appliance's own parts stand. engine_part: its lamp, as the status has it."""

    engine: EngineGauges
    engine_part: PartStatus
    spool: SpoolGauges


class Health:
    """Makes the report each `period_s`, by the clock that nobody sets. Used by one thread; `newest` may be read by any."""

    def __init__(
        self,
        provenance: Provenance,
        record_path: Path,
        clock: Clock,
        period_s: float,
        machine: Machine | None = None,
        free: Callable[[Path], float] = free_mb,
    ) -> None:
        self._provenance, self._record_path, self._clock, self._period_s = provenance, record_path, clock, period_s
        self._machine, self._free = machine or Machine(), free
        self._began_s = clock.monotonic_s()
        self._due_s = self._began_s
        self.newest: HealthReport | None = None

    def due(self, gauges: Callable[[], Gauges]) -> HealthReport | None:
        """The report, if it is time for one."""
        now_s = self._clock.monotonic_s()
        if now_s < self._due_s:
            return None
        self._due_s = now_s + self._period_s
        self.newest = self._made(gauges(), self._clock.now(), now_s)
        return self.newest

    def _made(self, gauges: Gauges, now: datetime, now_s: float) -> HealthReport:
        made, machine, engine, spool = self._provenance, self._machine, gauges.engine, gauges.spool
        return HealthReport(
            device_id=made.device_id,
            sent_at=now,
            time_trusted=time_trusted(now),
            clock_offset_ms=clock_offset_ms(),
            boot_id=made.boot_id,
            uptime_s=round(now_s - self._began_s, 1),
            fps=round(engine.fps, 2),
            engine_ms=round(engine.median_ms, 1) if engine.frames else None,
            engine=gauges.engine_part,
            engine_failures=engine.failures,
            temperature_c=machine.temperature_c(),
            throttled=machine.throttled(),
            load=machine.load(),
            memory_mb=machine.memory_mb(),
            memory_free_mb=machine.memory_free_mb(),
            disk_free_mb=self._disk_free_mb(),
            spool=spool.pending,
            unconfirmed=spool.unconfirmed,
            quarantined=spool.quarantined,
            simulated=made.source is not None and made.source.simulated,
        )

    def _disk_free_mb(self) -> float | None:
        try:
            return round(self._free(self._record_path), 1)
        except Exception:  # a dying disk is the journal's to tell
            return None
