"""Processor time and pictures a second of our training against others', in turns on one machine: `python -m engines.bench.training`.

Every program is run by its own command line and looked at from outside: an epoch ends when its row appears in results.csv.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console

from engines.bench.machine import Machine
from engines.bench.peers import PeerError, last_words
from engines.bench.section import put_section, shown_command
from engines.bench.training_page import TrainingMeasured, print_training, rows_of, training_text
from engines.bench.training_programs import CLASSES, OURS, PEERS, Pictures, Program, Settings, printed_size, versions
from engines.errors import DataError, EnginesError
from engines.pictures import PICTURE_SUFFIXES

SECTION, PAGE = "training-speed", Path("docs/benchmarks.md")
Positive = Annotated[int, Parameter(validator=Number(gte=1))]
_LOOK_S = 0.02
_LONGEST_EPOCH_S = 1800.0


def lay_out(data: Path, count: int, batch: int, folder: Path) -> Pictures:
    """`count` pictures of the split train of `data` (published layout, TXT labels), evenly spread, as links in both layouts.

    Rounded down to whole batches. Raises DataError naming the folder that lacks pictures or labels.
    """
    images, labels = data / "Images" / "train", data / "txt_labels" / "AttriDet" / "train"
    found = sorted(p for p in images.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES) if images.is_dir() else []
    labelled = [p for p in found if (labels / f"{p.stem}.txt").is_file()]
    count = min(count, len(labelled)) // batch * batch
    if not count:
        raise DataError(f"{data}: fewer than {batch} pictures in Images/train with labels in txt_labels/AttriDet/train; name another")
    chosen = [labelled[i * len(labelled) // count] for i in range(count)]
    cells = 0
    published, yolo = folder / "published" / data.resolve().name, folder / "yolo"
    for split, pictures in (("train", chosen), ("val", chosen[:1])):
        ours = published / "Images" / split, published / "txt_labels" / "AttriDet" / split
        theirs = yolo / "images" / split, yolo / "labels" / split
        for place in (*ours, *theirs):
            place.mkdir(parents=True)
        for picture in pictures:
            text = (labels / f"{picture.stem}.txt").read_text(encoding="utf-8")
            cells += sum(bool(line.strip()) for line in text.splitlines()) if split == "train" else 0
            boxes = "".join(" ".join(line.split()[:5]) + "\n" for line in text.splitlines() if line.strip())
            for (pixels, words), content in ((ours, text), (theirs, boxes)):
                (pixels / picture.name).symlink_to(picture.resolve())
                (words / f"{picture.stem}.txt").write_text(content, encoding="utf-8")
    names = "".join(f"  {i}: class{i}\n" for i in range(CLASSES))
    description = yolo / "data.yaml"
    description.write_text(f"path: {yolo}\ntrain: images/train\nval: images/val\nnames:\n{names}", encoding="utf-8")
    return Pictures(published, description, count, cells)


def train_once(program: Program, settings: Settings, pictures: Pictures, folder: Path) -> tuple[float, float, str]:
    """Pictures a second, processor ms a picture and what the program says of its network, from the end of its first epoch on.

    It is ended as soon as `settings.epochs` - 1 epochs are done: the last one may come with a final scoring. Raises PeerError.
    """
    log, results = folder / "log.txt", folder / program.results
    environment = {**os.environ, "OMP_NUM_THREADS": str(settings.threads)}
    environment |= dict.fromkeys(("YOLO_CONFIG_DIR", "YOLOV5_CONFIG_DIR"), str(folder))
    with log.open("wb") as out:
        process = subprocess.Popen(
            program.command(settings, pictures, folder),
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**environment, **program.environment},
            start_new_session=True,
        )
        try:
            first, first_processor = _after(process, results, 1), _processor_s(process.pid)
            last, last_processor = _after(process, results, settings.epochs - 1), _processor_s(process.pid)
        except PeerError as error:
            raise PeerError(f"{program.label}: {error}. {last_words(log.read_text(errors='replace'))}") from error
        finally:
            _end(process)
    seen = pictures.count * (settings.epochs - 2)
    return seen / (last - first), 1e3 * (last_processor - first_processor) / seen, printed_size(log.read_text(errors="replace"))


def _after(process: subprocess.Popen[bytes], results: Path, epochs: int) -> float:
    """The time at which so many epochs are done."""
    deadline = time.monotonic() + _LONGEST_EPOCH_S * epochs
    while time.monotonic() < deadline:
        if results.is_file() and results.read_bytes().count(b"\n") > epochs:  # whole rows, and its heading
            return time.monotonic()
        if process.poll() is not None:
            raise PeerError(f"it ended by itself with code {process.returncode} before its epoch {epochs} was done")
        time.sleep(_LOOK_S)
    raise PeerError(f"epoch {epochs} was not done after {_LONGEST_EPOCH_S * epochs / 60:.0f} minutes")


def _processor_s(session: int) -> float:
    """Processor time of all processes of a session so far, in s; 0 where the system does not tell."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            ticks += sum(int(t) for t in fields[11:15])  # own and waited-for children's, user and system
    return ticks / os.sysconf("SC_CLK_TCK")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and what it started; it leads a session of its own."""
    for word in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, word)
        except ProcessLookupError:
            break
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            continue
    process.wait(10)


def measure(
    programs: Sequence[Program], data: Path, *, pictures: int, settings: Settings, rounds: int, console: Console
) -> TrainingMeasured:
    """Train with every program in turn, `rounds` times, the order turned round each time. Raises DataError, PeerError."""
    load = os.getloadavg()[0]
    results: dict[str, list[tuple[float, float, str]]] = {program.key: [] for program in programs}
    with tempfile.TemporaryDirectory(prefix="leukoscope-bench-") as place, console.status("Laying out pictures") as status:
        laid = lay_out(data, pictures, settings.batch, Path(place))
        for number in range(rounds):
            for program in programs if number % 2 == 0 else reversed(programs):
                status.update(f"Round {number + 1} of {rounds}: {program.label}, {program.arithmetic}")
                with tempfile.TemporaryDirectory(prefix=f"{program.key}-", dir=place) as folder:
                    results[program.key].append(train_once(program, settings, laid, Path(folder)))
    columns = [(program, tuple(zip(*results[program.key], strict=True))) for program in programs]
    return TrainingMeasured(
        machine=Machine.this(),
        load=load,
        torch=versions(Path(sys.executable), "torch")[0],
        data=data.resolve().name,
        pictures=laid.count,
        cells=laid.cells / laid.count,
        epochs=settings.epochs - 2,
        settings=settings,
        rounds=rounds,
        rows=rows_of([(program, size[-1], per_s, processor_ms) for program, (per_s, processor_ms, size) in columns]),
    )


def main(
    *,
    data: Annotated[Path, Parameter(help="Folder in the published layout with TXT labels; its split train is used.")],
    peer_python: Annotated[Path, Parameter(help="Python of the environment in which the others' programs are installed.")],
    peer: Annotated[list[str] | None, Parameter(help="Which: yolov5, ultralytics; repeat for both (default: both).")] = None,
    note: Annotated[
        list[str] | None, Parameter(help="A remark for the section, on what else is not the same; repeat for several.")
    ] = None,
    out: Annotated[Path, Parameter(help="The Markdown page whose section is replaced; its other sections are kept.")] = PAGE,
    pictures: Annotated[int, Parameter(validator=Number(gte=2), help="Pictures of an epoch, rounded down to whole batches.")] = 320,
    rounds: Annotated[Positive, Parameter(help="In each, every program trains once.")] = 5,
    epochs: Annotated[Positive, Parameter(help="Epochs counted of each training, after a first one.")] = 2,
    imgsz: Annotated[int, Parameter(validator=Number(gte=64), help="Side of the network's picture, px.")] = 320,
    batch: Annotated[Positive, Parameter(help="Pictures of a batch.")] = 16,
    threads: Annotated[Positive, Parameter(help="Of the network, for every program.")] = 2,
    section: Annotated[str, Parameter(help="Name of the section, to keep several machines side by side.")] = SECTION,
) -> int:
    """Measure our training against others' on the same pictures, size, batch and threads of this machine."""
    console, names = Console(), peer or list(PEERS)
    # Not resolved: an environment's Python is a link to another one.
    python = peer_python.absolute()
    settings = Settings(imgsz, batch, threads, epochs + 2)
    try:
        if unknown := [name for name in names if name not in PEERS]:
            raise DataError(f"--peer {unknown[0]}: there are {', '.join(PEERS)}")
        put_section(out, section, None)  # found now rather than after half an hour
        programs = (*(PEERS[name](python) for name in names), *OURS)
        measured = measure(programs, data, pictures=pictures, settings=settings, rounds=rounds, console=console)
        place = data.resolve().name if data.is_absolute() else str(data)
        options: dict[str, object] = {"--data": place, "--peer-python": "PYTHON", "--pictures": pictures, "--rounds": rounds}
        options |= {"--epochs": epochs, "--imgsz": imgsz, "--batch": batch, "--threads": threads}
        options |= {"--section": section if section != SECTION else None, "--peer": names}
        measured = replace(measured, notes=tuple(note or ()))
        put_section(out, section, training_text(measured, shown_command("python -m engines.bench.training", options)))
    except EnginesError as error:
        sys.stderr.write(f"bench: {error}\n")
        return error.exit_code
    print_training(measured, console)
    console.print(f"Written into {out}.", highlight=False)
    return 0


app = App(
    name="python -m engines.bench.training", help_format="plaintext", default_command=main, default_parameter=Parameter(negative=())
)

if __name__ == "__main__":
    sys.exit(app())
