"""The doctor's look at the record: what is damaged, what was put aside, when it was last backed up, who may read it."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from device.mqtt.message import one_line
from device.service.finding import Level
from device.store import Store
from device.store.sound import known_moment
from device.store.verifying import Report, verify

LIMIT_S = 5.0
"""So long it reads, the newest slides first; `leukoscope verify` reads all."""
_OLD_DAYS = 30


def look(record: Path, now: datetime | None = None, limit_s: float = LIMIT_S) -> tuple[Level, str, str]:
    """Level, what was seen, and the next step. StoreError where it cannot be read."""
    report = verify(record, limit_s=limit_s)
    with Store.read(record) as store:
        backup_at, newest = known_moment(store.fact("backup_at") or "?"), store.quarantine(3)
    days = None if backup_at is None else ((now or datetime.now(timezone.utc)) - backup_at).days
    seen = [report.words, "no backup yet" if days is None else f"last backup {days} days ago"]
    steps = list[str]()
    if report.damage:
        seen += [f"{name or 'the file'}: {faults[0]}" for name, faults in list(report.damage.items())[:3]]
        steps.append("leukoscope verify names all damage, leukoscope restore brings back a backup")
    if report.put_aside:
        seen.append(f"{report.put_aside} put aside: " + ", ".join(f"{row.kind} {one_line(row.name)}" for row in newest))
        steps.append("leukoscope quarantine says why")
    if record.stat().st_mode & 0o007:
        seen.append("everybody on this machine may read it")
        steps.append(f"chmod o= {record}*")
    if report.slides and (days is None or days > _OLD_DAYS):
        steps.append("leukoscope backup FOLDER, best on another disk")
    return _level(report, bool(steps)), "; ".join(seen), "; ".join(steps)


def _level(report: Report, anything: bool) -> Level:
    return "fail" if report.damage else "warn" if anything else "ok"
