"""Tries camera, engine, display, disk and broker for real, and says what was found and what to do next."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from device.clock import SystemClock, time_trusted
from device.errors import LeukoscopeError
from device.service.finding import Finding
from device.settings.config import Config
from device.store import Store, free_mb
from engines.errors import EnginesError

_TRIES = 3


def examine(config: Config) -> list[Finding]:
    """The findings of each part, in the order of a frame's way. Nothing is changed; a window may flash up."""
    parts = (_clock, _packages, _camera, _engine, _calibration, _quality, _review, _display, _disk, _record, _broker, _outbox)
    return [finding for look in parts for finding in _examined(look, config)]


def _examined(look: Callable[[Config], Finding | list[Finding]], config: Config) -> list[Finding]:
    name = look.__name__.strip("_").capitalize()
    try:
        found = look(config)
        return found if isinstance(found, list) else [found]
    except (LeukoscopeError, EnginesError) as error:
        seen, _, advice = str(error).partition("; ")  # our messages name the thing first, then the next step
        return [Finding(name, "fail", seen, advice)]
    except Exception as error:  # the doctor must reach the last part
        return [Finding(name, "fail", f"{type(error).__name__}: {error}", "report this with the lines above")]


def _clock(config: Config) -> Finding:
    now = SystemClock().now()
    if time_trusted(now):
        return Finding("Clock", "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC")
    return Finding("Clock", "warn", f"{now:%Y-%m-%d %H:%M:%S} UTC, not synchronised", "connect to a network once, or set the date")


def _packages(config: Config) -> Finding:
    from device.service.doctor_parts import package_finding

    return package_finding(config)


def _camera(config: Config) -> Finding:
    from device.camera.factory import open_camera

    with open_camera(config.camera, SystemClock()) as camera:
        started = time.monotonic()
        frames = [camera.read() for _ in range(_TRIES)]
        seconds = (time.monotonic() - started) / _TRIES
        width, height = frames[-1].size_px
        seen = f"{camera.name}: {width} x {height}, a frame in {seconds * 1000:.0f} ms"
        if camera.skipped:
            names = ", ".join(picture.name for picture in camera.skipped)
            return Finding("Camera", "warn", f"{seen}; unreadable: {names}", "replace or remove these pictures")
        return Finding("Camera", "warn" if camera.notice else "ok", seen, camera.notice)


def _engine(config: Config) -> Finding:
    from device.service.engine import open_configured
    from engines.runtime.choice import read_choice

    with open_configured(config) as engine:
        blank = np.full((1080, 1920, 3), 220, np.uint8)
        engine.infer(blank)
        started = time.monotonic()
        for _ in range(_TRIES):
            engine.infer(blank)
        seconds = (time.monotonic() - started) / _TRIES
        seen = f"{engine.info.label} on {engine.info.runtime}: {seconds * 1000:.0f} ms a frame"
        choice = read_choice(config.engine_choice_path) if "auto" in (config.engine.runtime, config.engine.precision) else None
        if choice is not None:
            seen += f"; {choice.words}"
        if engine.info.unchecked:
            return Finding("Engine", "warn", f"{seen}; it has {engine.info.unchecked}", "export it again with a golden picture")
        if engine.info.gate_fault:
            advice = "compare it with its float engine by `attridet gate`; it runs because engine.ungated is true"
            return Finding("Engine", "warn", f"{seen}; it {engine.info.gate_fault}", advice)
        return Finding("Engine", "ok", seen)


def _calibration(config: Config) -> Finding:
    from device.service.calibrate import versions_of

    versions = versions_of(config)
    profile = versions.profile
    versions.correction(config.microscope.objective)  # a flat-field that cannot be read is told here, not at the next start
    label = profile.label(config.microscope.objective)
    if config.microscope.objective not in profile.objectives:
        return Finding("Calibration", "warn", f"{label}: this objective is not in the profile", "choose another profile or objective")
    if not profile.is_measured(config.microscope.objective):
        return Finding("Calibration", "warn", label, "sizes are indicative until the scale is measured: leukoscope calibrate guide")
    return Finding("Calibration", "ok", label)


def _quality(config: Config) -> Finding:
    from device.service.quality import show

    if config.quality.specimen is None:
        return Finding("Quality", "ok", "no known slide is configured (quality.specimen)")
    if not config.record_path.exists():
        return Finding("Quality", "warn", "no slide was counted here yet", "count the known slide")
    words, passed = show(config)
    first, *rest = words.splitlines()
    return Finding("Quality", "ok" if passed else "warn", first, "" if passed else "; ".join(rest[:2]))


def _review(config: Config) -> Finding:
    if not config.record_path.exists():
        return Finding("Review", "ok", "no slide was counted here yet")
    with Store.read(config.record_path) as store:
        waiting = store.to_review()
        if not waiting:
            return Finding("Review", "ok", "no slide waits for its review")
        oldest = store.slide(waiting[-1]).slide.started_at
    wait = "1 slide waits" if len(waiting) == 1 else f"{len(waiting)} slides wait"
    return Finding("Review", "ok", f"{wait} for review, begun from {oldest:%Y-%m-%d} on", "R on the screen, or leukoscope slides")


def _display(config: Config) -> Finding:
    from device.display.factory import open_display

    section = config.display
    if section.kind == "file" and section.directory is not None:
        section = section.model_copy(update={"directory": Path(tempfile.mkdtemp(prefix="leukoscope-doctor-"))})
    with open_display(section) as display:
        display.inputs()
    return Finding(
        "Display", "ok", {"screen": "a window opens", "file": "pictures can be written", "none": "switched off"}[section.kind]
    )


def _disk(config: Config) -> Finding:
    folder = config.record_path.parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        started = time.monotonic()
        file.write(bytes(1 << 16))
        file.flush()
        os.fsync(file.fileno())
        seconds = time.monotonic() - started
    free = free_mb(folder)
    seen = f"{folder}: {free:,} MB free, a durable write in {seconds * 1000:.0f} ms, SQLite {sqlite3.sqlite_version}"
    if free < config.record.min_free_mb:
        return Finding("Disk", "fail", seen, f"make room: at least {config.record.min_free_mb} MB are wanted")
    return Finding("Disk", "ok", seen)


def _record(config: Config) -> Finding:
    from device.service.doctor_record import look

    if not config.record_path.exists():
        return Finding("Record", "ok", "none yet; leukoscope run begins it")
    level, seen, step = look(config.record_path)
    return Finding("Record", level, seen, step)


def _broker(config: Config) -> list[Finding]:
    from device.service.doctor_broker import broker_findings

    return broker_findings(config)


def _outbox(config: Config) -> Finding:
    from device.service.doctor_broker import outbox_finding

    return outbox_finding(config)


def print_findings(findings: Sequence[Finding], console: Console | None = None) -> bool:
    """Print the table; True when nothing failed."""
    console = console or Console()
    table = Table(title="Leukoscope doctor", title_justify="left")
    table.add_column("Part")
    table.add_column("State")
    table.add_column("What was seen", overflow="fold")
    table.add_column("Next step", overflow="fold")
    style = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    for finding in findings:
        table.add_row(finding.part, f"[{style[finding.level]}]{finding.level}[/]", finding.seen, finding.next_step)
    console.print(table)
    return all(finding.level != "fail" for finding in findings)
