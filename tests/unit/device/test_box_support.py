"""The support bundle: what is in it, and that a planted barcode and a patient's name are nowhere in it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path

import pytest

from device.box import findings, support
from device.box.sticks import Stick
from device.box.support import SupportError, make, make_on_stick, personal_words, scrub
from device.service.finding import Finding
from device.settings.config import Config
from device.settings.config_file import load_config
from tests.support.box_commands import leukoscope

BARCODE, NAME = "H26-104311", "Ngozi Okonkwo-Adébáyò"
REPOSITORY = Path(__file__).parents[3]
NOW = datetime(2026, 12, 1, 2, 0, tzinfo=timezone.utc)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A box with a record in which a barcode, initials and a name were written, and pictures beside it."""
    state = tmp_path / "state"
    state.mkdir()
    path = tmp_path / "device.yaml"
    path.write_text(
        f"# slide of {NAME}\ncamera: {{kind: simulator}}\ndevice: {{id: ward-3, state_dir: {state}}}\ndisplay: {{kind: none}}\n"
        f"broker: {{username: ngozi.okonkwo, enabled: false}}\nquality: {{specimen: QC-{BARCODE}}}\n"
    )
    loaded = load_config(path)
    planted_record(loaded.record_path)
    for name in ("pictures/0001.jpg", "reports/page.html", "control.sock.txt"):
        (state / name).parent.mkdir(exist_ok=True)
        (state / name).write_text(f"{BARCODE} {NAME}")
    return loaded


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor's words and the journal's, in which the words stand in every spelling."""
    hidden = json.dumps({"specimen": BARCODE, "patient": NAME})
    coded = [base64.b64encode(f"{'x' * shift}{NAME} {BARCODE}".encode()).decode() for shift in range(3)]
    lines = "\n".join([f"slide of {NAME.upper()} begun", f"scanned {BARCODE}", f"payload {hidden}", *coded, "Okonkwo-Adébáyò waits"])
    monkeypatch.setattr(support, "examine", lambda config: [Finding("Camera", "fail", f"no frame of {BARCODE}", "look")])
    monkeypatch.setattr(support, "_output", lambda *command: lines if command[0] == "journalctl" else None)


def planted_record(path: Path) -> None:
    """A record of the published form 5, with what people wrote changed."""
    shutil.copyfile(REPOSITORY / "tests/records/5-786afcc.sqlite", path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "UPDATE slides SET specimen = ?, operator = 'NO', reviewer = 'AB', abort_reason = ?", (BARCODE, f"{NAME} moved house")
        )
        db.commit()


def everything(archive: Path) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive.read_bytes()))) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]


def hits(content: bytes) -> list[str]:
    """Spellings of what was planted that are in it."""
    text = content.decode(errors="replace")
    spellings = [BARCODE, NAME, "Okonkwo", "Ngozi", "ngozi", json.dumps(NAME)[1:-1]]
    found = [each for each in spellings if each.lower() in text.lower()]
    for word in text.split():
        for start in range(4):
            try:
                decoded = base64.b64decode(word[start:] + "=" * (-len(word[start:]) % 4)).decode(errors="replace")
            except ValueError:
                continue
            found += [f"base64 {each}" for each in spellings if each in decoded]
    return found


def test_nothing_of_a_patient_is_in_it(config: Config, tmp_path: Path) -> None:
    members = everything(make(config, tmp_path, now=NOW).path)
    assert {name: hits(content) for name, content in members.items() if hits(content)} == {}
    assert b"journal.txt" in members[next(name for name in members if name.endswith("manifest.json"))]


def test_without_the_scrub_it_would_be_found(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "scrub", lambda text, words: text)
    found = [hit for content in everything(make(config, tmp_path, now=NOW).path).values() for hit in hits(content)]
    assert {BARCODE, NAME, f"base64 {BARCODE}"} <= set(found)


def test_what_is_in_it_is_listed_and_helps(config: Config, tmp_path: Path) -> None:
    done = make(config, tmp_path, now=NOW)
    assert done.path.name == "leukoscope-support-ward-3-20261201-020000.tar.gz"
    members = {name.partition("/")[2]: content for name, content in everything(done.path).items()}
    wanted = "doctor.txt journal.txt versions.txt configuration.yaml record.json resources.json manifest.json"
    assert set(wanted.split()) <= set(members)
    manifest = json.loads(members["manifest.json"])
    assert set(manifest["files"]) == set(members) - {"manifest.json"}
    assert manifest["files"]["doctor.txt"] == len(members["doctor.txt"])
    assert "pictures" in manifest["left_out"]
    assert "slots.json: not on this machine" in manifest["notes"]
    record = json.loads(members["record.json"])
    assert record["version"] == 5 and sum(record["slides"].values()) == record["rows"]["slides"] > 0
    assert b"fail  Camera: no frame of [left out]; look" in members["doctor.txt"]


def test_the_same_texts_give_the_same_bytes(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "_resources", lambda config: {})
    monkeypatch.setattr(support, "box_findings", lambda config: [])
    one, two = (make(config, tmp_path, now=NOW).path.read_bytes() for _ in range(2))
    assert one == two


def test_a_long_journal_keeps_its_end(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "_output", lambda *command: "x" * 9_000_000 + "the end" if command[0] == "journalctl" else None)
    done = make(config, tmp_path, now=NOW)
    journal = next(content for name, content in everything(done.path).items() if name.endswith("journal.txt"))
    assert len(journal) == 8_000_000 and journal.endswith(b"the end")
    assert any("journal.txt: the first 1,000,007 characters were cut off" in note for note in done.notes)


def test_an_archive_too_large_leaves_the_oldest_lines_out(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "LARGEST", 100_000)
    lines = "".join(f"{number} {hashlib.sha256(str(number).encode()).hexdigest()}\n" for number in range(20_000))
    monkeypatch.setattr(support, "_output", lambda *command: lines if command[0] == "journalctl" else None)
    done = make(config, tmp_path, now=NOW)
    assert 40_000 < done.path_size == done.path.stat().st_size <= 100_000
    members = {name.partition("/")[2]: content for name, content in everything(done.path).items()}
    assert members["journal.txt"].endswith(lines[-500:].encode()) and members["doctor.txt"]
    told = json.loads(members["manifest.json"])
    assert told["files"]["journal.txt"] == len(members["journal.txt"]) < len(lines)
    assert any("journal.txt: its first" in note for note in told["notes"]) and told["notes"] == list(done.notes)


def test_short_initials_are_taken_out_alone(config: Config) -> None:
    words = personal_words(config)
    assert "NO" in words
    assert scrub("NO begins, NOT so", words) == "[left out] begins, NOT so"


def test_a_part_that_fails_is_a_note(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.record_path.write_bytes(b"no record")
    done = make(config, tmp_path, now=NOW)
    assert any(note.startswith("record.json: DatabaseError") for note in done.notes)


def test_where_the_record_cannot_be_read_nothing_said_is_packed(config: Config, tmp_path: Path) -> None:
    config.record_path.write_bytes(b"no database" * 1000)
    made = make(config, tmp_path, now=NOW)
    packed = everything(made.path)
    assert [hit for content in packed.values() for hit in hits(content)] == []
    assert any(name.endswith("versions.txt") for name in packed) and not any(name.endswith("journal.txt") for name in packed)
    assert any("journal.txt" in note and "the record cannot be read" in note for note in made.notes)


def test_a_place_that_takes_nothing_is_named(config: Config, tmp_path: Path) -> None:
    with pytest.raises(SupportError, match=r"No such file or directory; name another folder"):
        make(config, tmp_path / "absent", now=NOW)
    assert "no such folder; name one, or --stick" in leukoscope("support-bundle", tmp_path / "absent").text


def test_the_doctor_says_calmly_what_a_machine_lacks(config: Config, tmp_path: Path) -> None:
    found = {each.part: each for each in findings.box_findings(config, tmp_path)}
    assert list(found) == ["GPU", "Power mode", "Groups", "Memory", "Screen", "Slots", "Set-up"]
    assert {each.level for each in found.values()} <= {"ok", "warn"}
    assert found["Screen"].seen == "display.kind is none"


def test_the_doctor_tells_a_faulty_setup_with_its_line(config: Config, tmp_path: Path) -> None:
    words = "leukoscope-setup.yaml:3: broker.port: wrong"
    told = {"step": "provision", "state": "failed", "percent": None, "words": words, "at": "2026-12-01T00:00:00+00:00"}
    (tmp_path / "provision.json").write_text(json.dumps(told))
    found = {each.part: each for each in findings.box_findings(config, tmp_path)}
    assert (found["Set-up"].level, found["Set-up"].seen) == ("warn", "leukoscope-setup.yaml:3: broker.port: wrong")


def test_it_goes_to_the_stick_that_was_chosen(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def lies(stick: Stick, write: bool = False) -> Iterator[Path]:
        (tmp_path / stick.label).mkdir(exist_ok=True)
        yield tmp_path / stick.label

    monkeypatch.setattr(
        support, "sticks", lambda: [Stick("/dev/sdb1", "vfat", "ONE", "AA-1"), Stick("/dev/sdc1", "vfat", "TWO", "BB-2")]
    )
    monkeypatch.setattr(support, "mounted", lies)
    make_on_stick(config, wanted="BB-2")
    assert [each.parent.name for each in tmp_path.glob("*/leukoscope-support-*.tar.gz")] == ["TWO"]
    with pytest.raises(SupportError, match="The stick that was chosen is not there any more"):
        make_on_stick(config, wanted="CC-3")
