"""The support bundle: what helps to find a fault of a box, in one archive, and nothing of a patient.

Only what is listed here goes in: no picture, no crop, no screen, no report, no record. Every text is searched for the words that the
record knows of people and specimens, and these are replaced, also where JSON or base64 hides them. The manifest says what is in it and
what was left out.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import platform
import re
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import yaml

from device.box.findings import box_findings
from device.box.progress import FOLDER as BOOT
from device.box.provisioning import Places
from device.box.sticks import mounted, stick_of, sticks
from device.errors import LeukoscopeError
from device.language import N_
from device.service.doctor import examine
from device.settings.config import Config
from device.settings.config_file import describe
from device.store import free_mb
from engines.files import atomic_write
from engines.runtime.tensorrt.board import available_bytes
from engines.version import version

LARGEST = 20_000_000
"""Bytes of an archive at most."""
_LONGEST_TEXT, _SHORT_TEXT = 8_000_000, 10_000
_JOURNAL = ("journalctl", "--no-pager", "-o", "short-iso")
_GONE = "[left out]"
_PERSONAL = {"slides": ("specimen", "operator", "reviewer"), "review": ("who",), "deletions": ("who",)}
"""Columns of the record whose words belong to people and specimens."""
_FREE = {"slides": ("abort_reason",), "review": ("why",), "deletions": ("why",)}
"""Columns in which a person may have written a name."""
_TOLD = ("journal", "kernel", "doctor", "boot/")
"""Parts with sentences in which anything may stand."""
_MASKED = {("broker", "username"), ("quality", "specimen")}
_LEFT_OUT = "pictures, crops, screens, reports, the record itself, specimen ids, initials, passwords, keys, certificates"


class SupportError(LeukoscopeError):
    """The archive cannot be written; the message names the place and the next step."""


@dataclass(frozen=True)
class Bundle:
    """path: of the archive, path_size: its bytes. members: its files. notes: what could not be had, or was cut."""

    path: Path
    path_size: int
    members: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass
class _Parts:
    files: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, text: Callable[[], str | None]) -> None:
        """A part that fails is a note, not the end."""
        try:
            found = text()
        except Exception as error:  # whatever is broken on the box is why the archive is wanted
            self.notes.append(f"{name}: {type(error).__name__}: {error}")
            return
        if found is None:
            self.notes.append(f"{name}: not on this machine")
        else:
            self.files[name] = found


def make(config: Config, folder: Path, tell: Callable[[str], None] = lambda words: None, now: datetime | None = None) -> Bundle:
    """Write the archive into `folder`; there complete or not at all. Raises SupportError."""
    moment = now or datetime.now(timezone.utc)
    parts = _collected(config, tell)
    try:
        words = personal_words(config)
    except sqlite3.Error as error:  # nobody knows then which words to replace
        words = _usable({config.quality.specimen or "", config.broker.username or ""}, set())
        told = [name for name in parts.files if name.startswith(_TOLD)]
        parts.files = {name: text for name, text in parts.files.items() if name not in told}
        parts.notes.append(f"{', '.join(told)}: left out, because the record cannot be read for the words to replace ({error})")
    scrubbed = {name: scrub(_cut(name, text, parts.notes), words) for name, text in parts.files.items()}
    notes = [scrub(note, words) for note in parts.notes]
    name = f"leukoscope-support-{config.device.id}-{moment:%Y%m%d-%H%M%S}"
    manifest = {
        "schema": "leukoscope.support/1",
        "made_at": moment.isoformat(timespec="seconds"),
        "made_by": version(),
        "device": config.device.id,
        "notes": notes,
        "left_out": _LEFT_OUT,
        "words_replaced": len(words),
    }
    content = _fitting(name, scrubbed, manifest, notes, int(moment.timestamp()))
    path = folder / f"{name}.tar.gz"
    try:
        atomic_write(path, content)
    except OSError as error:
        raise SupportError(f"{path}: {error.strerror}; name another folder, or take another stick") from error
    return Bundle(path, len(content), (*sorted(scrubbed), "manifest.json"), tuple(notes))


def make_on_stick(config: Config, tell: Callable[[str], None] = lambda words: None, wanted: str = "") -> Bundle:
    """The same, onto the stick of that UUID or device name, without one onto the first that takes it. SupportError, StickError."""
    there = [each for each in sticks() if not each.read_only]
    stick = stick_of(wanted, there) if wanted else next(iter(there), None)
    if stick is None and wanted:
        raise SupportError(N_("The stick that was chosen is not there any more, or is write-protected; plug it in and ask again."))
    if stick is None:
        raise SupportError(N_("No stick that can be written is plugged in; plug one in and ask again."))
    with tempfile.TemporaryDirectory(prefix="leukoscope-support-") as scratch:
        made = make(config, Path(scratch), tell)
        with mounted(stick, write=True) as folder:
            tell(f"writing to {stick.name}")
            try:
                atomic_write(folder / made.path.name, made.path.read_bytes())
            except OSError as error:
                raise SupportError(f"{stick.name}: {error.strerror}; make room on it, or take another stick") from error
    return replace(made, path=Path(stick.name, made.path.name))


def personal_words(config: Config) -> frozenset[str]:
    """What the record and the configuration know of people and specimens. Raises sqlite3.Error: the record cannot be read."""
    named, free = {config.quality.specimen or "", config.broker.username or ""}, set[str]()
    if not config.record_path.exists():
        return _usable(named, free)
    with closing(sqlite3.connect(f"{config.record_path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as db:
        for found, columns in ((named, _PERSONAL), (free, _FREE)):
            for table, names in columns.items():
                there = {row[1] for row in db.execute(f'PRAGMA table_info("{table}")')}
                for name in there.intersection(names):
                    rows = db.execute(f'SELECT DISTINCT CAST("{name}" AS TEXT) FROM "{table}"').fetchall()
                    found |= {str(value).strip() for (value,) in rows if value is not None}
    return _usable(named, free)


def _usable(named: set[str], free: set[str]) -> frozenset[str]:
    """Whole texts and their single words, of what a person wrote freely those with a capital."""
    words = {text for text in named | free if len(text) >= 2}
    words |= {word for text in named for word in re.findall(r"\w+", text) if len(word) >= 4}
    return frozenset(words | {word for text in free for word in re.findall(r"\w+", text) if len(word) >= 4 and word[0].isupper()})


def scrub(text: str, words: frozenset[str]) -> str:
    """`text` without these words, in any case of letters, also as JSON or base64 writes them."""
    for word in sorted(words, key=len, reverse=True):
        plain = re.escape(word)
        if len(word) < 4:  # initials: as they were written, and not inside of other words
            text = re.sub(rf"(?<!\w){plain}(?!\w)", _GONE, text)
            continue
        text = re.sub(plain, _GONE, text, flags=re.IGNORECASE)
        escaped = json.dumps(word)[1:-1]
        if escaped != word:
            text = re.sub(re.escape(escaped), _GONE, text, flags=re.IGNORECASE)
        text = re.sub("|".join(_in_base64(word)), _GONE, text)
    return text


def _in_base64(word: str) -> Iterator[str]:
    """The letters that base64 writes of a word wherever it begins: three ways, without those that its neighbours decide too."""
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + word.encode()).decode().rstrip("=")
        first = (0, 2, 3)[shift]
        last = len(coded) - (1 if (shift + len(word.encode())) % 3 else 0)
        yield re.escape(coded[first:last])


def _collected(config: Config, tell: Callable[[str], None]) -> _Parts:
    parts = _Parts()
    tell("asking the doctor")
    parts.add("doctor.txt", lambda: _findings(config))
    tell("reading the journal")
    parts.add("journal.txt", lambda: _output(*_JOURNAL, "-n", "20000", "-u", "leukoscope*", "-u", "rauc*"))
    parts.add("kernel.txt", lambda: _output(*_JOURNAL, "-n", "3000", "-k"))
    parts.add("versions.txt", _versions)
    parts.add("packages.txt", lambda: _text(Path("/usr/share/leukoscope/packages.txt")))
    parts.add("configuration.yaml", lambda: _masked(config))
    parts.add("slots.json", lambda: _output("rauc", "status", "--output-format=json"))
    parts.add("resources.json", lambda: json.dumps(_resources(config), indent=2) + "\n")
    parts.add("record.json", lambda: json.dumps(_figures(config.record_path), indent=2) + "\n" if config.record_path.exists() else None)
    for folder, place in ((config.engine.plans, "plans"), (BOOT, "boot"), (Places().receipts, "provisioning")):
        for path in sorted(folder.glob("*.json"))[:50]:
            parts.add(f"{place}/{path.name}", lambda path=path: path.read_text(encoding="utf-8", errors="replace")[:1_000_000])  # type: ignore[misc]
    return parts


def _findings(config: Config) -> str:
    """What the doctor says, a line a part."""
    told = [*examine(config), *box_findings(config)]
    return "".join(f"{each.level:5} {each.part}: {'; '.join(filter(None, (each.seen, each.next_step)))}\n" for each in told)


def _versions() -> str:
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    lines = [f"leukoscope {version()}", f"python {platform.python_version()}", system]
    packages = sorted(f"{each.metadata['Name']} {each.version}" for each in metadata.distributions())
    return "\n".join([*lines, *(_text(Path("/etc/os-release")) or "").splitlines(), *packages]) + "\n"


def _masked(config: Config) -> str:
    """The configuration as it is used, without what is secret or somebody's. Comments of the file are not in it."""
    data = yaml.safe_load(describe(config))
    for section, key in _MASKED:
        if data.get(section, {}).get(key) is not None:
            data[section][key] = _GONE
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _figures(record: Path) -> dict[str, object]:
    """Counts of the record, nothing else of it."""
    with closing(sqlite3.connect(f"file:{record}?mode=ro", uri=True, timeout=10)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
        rows = {name: db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}
        states = dict(db.execute("SELECT state, count(*) FROM slides GROUP BY 1").fetchall()) if "slides" in tables else {}
        form = db.execute("SELECT max(version) FROM schema_version").fetchone()[0] if "schema_version" in tables else None
    return {"bytes": record.stat().st_size, "version": form, "rows": rows, "slides": states}


def _resources(config: Config) -> dict[str, object]:
    available = available_bytes()
    return {
        "free_mb": free_mb(config.record_path.parent),
        "available_mib": None if available is None else available >> 20,
        "load": (_text(Path("/proc/loadavg")) or "").strip(),
        "uptime_s": (_text(Path("/proc/uptime")) or "").partition(" ")[0],
    }


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _output(*command: str) -> str | None:
    try:
        run = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    except FileNotFoundError:
        return None
    return run.stdout or run.stderr


def _cut(name: str, text: str, notes: list[str]) -> str:
    """The end of a text that is too long: the newest is in it."""
    if len(text) <= _LONGEST_TEXT:
        return text
    notes.append(f"{name}: the first {len(text) - _LONGEST_TEXT:,} characters were cut off")
    return text[-_LONGEST_TEXT:]


def _fitting(name: str, files: dict[str, str], manifest: dict[str, object], notes: list[str], moment: int) -> bytes:
    """The archive of `LARGEST` bytes at most: of the longest text the older half is left out, and noted, until it fits."""
    while True:
        sizes = {each: len(text.encode()) for each, text in sorted(files.items())}
        told = json.dumps({**manifest, "files": sizes, "notes": notes}, indent=2) + "\n"
        content = _packed(name, files | {"manifest.json": told}, moment)
        longest = max(files, key=lambda each: len(files[each]))
        if len(content) <= LARGEST or len(files[longest]) < _SHORT_TEXT:
            return content
        cut = -(-len(files[longest]) // 2)
        notes.append(f"{longest}: its first {cut:,} characters were left out, so that the archive has {LARGEST:,} bytes at most")
        files[longest] = files[longest][cut:]


def _packed(name: str, files: dict[str, str], moment: int) -> bytes:
    """The archive; the same texts and moment give the same bytes."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for each, text in sorted(files.items()):
            content = text.encode()
            member = tarfile.TarInfo(f"{name}/{each}")
            member.size, member.mtime, member.mode = len(content), moment, 0o644
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), 6, mtime=0)
