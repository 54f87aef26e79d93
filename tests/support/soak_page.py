"""What a soak run found, as a plot and as words, and both in the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from engines.plot_style import BLUE, GREEN, INK, ORANGE, PURPLE, RED, headline, png, style
from tests.support.page_part import write_part

BEGIN, END = "<!-- soak: written by make soak -->", "<!-- end of soak -->"
PICTURE = "soak.png"
_SHADES = {
    "broker killed": RED,
    "broker frozen": BLUE,
    "cut in mid-packet": ORANGE,
    "receiver away": PURPLE,
    "acknowledgements swallowed": GREEN,
}


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _troubles(events: list[dict[str, Any]], end_s: float) -> list[tuple[str, float, float]]:
    """Name, begin and end of each fault, seconds."""
    found: list[tuple[str, float, float]] = []
    for event in events:
        if event["event"] == "begins":
            found.append((event["fault"], event["at_s"], end_s))
        elif event["event"] == "ends":
            found[-1] = (*found[-1][:2], event["at_s"])
    return found


def plot(folder: Path) -> Path:
    """folder/soak.png from what a run left in `folder`."""
    samples, result = _lines(folder / "samples.jsonl"), json.loads((folder / "result.json").read_text())
    troubles = _troubles(_lines(folder / "events.jsonl"), samples[-1]["at_s"])
    minutes = [each["at_s"] / 60 for each in samples]
    with style():
        figure = Figure(figsize=(7.6, 7.6), layout="constrained")
        memory, handles, answers, depth, slides = figure.subplots(5, 1, sharex=True, height_ratios=(1.5, 1, 1, 1, 1))
        memory.plot(minutes, [each["rss_mb"] for each in samples], color=INK)
        memory.set_ylabel("memory, MB")
        memory.set_ylim(0, 1.15 * max(each["rss_mb"] for each in samples))
        handles.step(minutes, [each["files"] for each in samples], color=BLUE, label="open files", where="post")
        handles.step(minutes, [each["threads"] for each in samples], color=ORANGE, label="threads", where="post")
        handles.set_ylim(bottom=0)
        handles.legend(loc="upper left", ncols=2, bbox_to_anchor=(0, 1.25))
        answers.plot(minutes, [each["answer_ms"] for each in samples], color=INK, linewidth=0.9)
        answers.set_ylabel("answer, ms")
        answers.set_yscale("log")
        depth.step(minutes, [each["depth"] for each in samples], color=INK, where="post")
        depth.set_ylabel("in outbox")
        depth.set_ylim(bottom=0)
        slides.step(minutes, [each["finished"] for each in samples], color=INK, label="finished", where="post")
        slides.step(minutes, [each["received"] for each in samples], color=GREEN, label="at the receiver", where="post", linestyle="--")
        slides.legend(loc="upper left")
        slides.set_ylabel("slides")
        slides.set_xlabel("minutes")
        slides.set_xlim(0, minutes[-1])
        for axes in (memory, handles, answers, depth, slides):
            for name, begin_s, end_s in troubles:
                axes.axvspan(begin_s / 60, end_s / 60, color=_SHADES[name], alpha=0.22, linewidth=0)
        shades = [memory.axvspan(0, 0, color=colour, alpha=0.35, label=name) for name, colour in _SHADES.items()]
        figure.legend(handles=shades, loc="outside lower center", ncols=5, handlelength=1, columnspacing=1.2)
        note = (
            f"{result['slides']} slides, {result['lost']} lost, {result['doubled']} doubled; memory {result['mb_per_hour']:+.1f} MB/h "
            f"after the first {result['warm_after_s'] / 60:.0f} minutes; {result['cores']:.2f} cores"
        )
        headline(figure, f"{result['hours']:.2g} h of the appliance beside a broker in trouble", note)
    path = folder / PICTURE
    path.write_bytes(png(figure))
    return path


def words(result: Mapping[str, Any]) -> str:
    """The section's text, Markdown."""
    r = result
    faults = ", ".join(f"{name} {count} times" for name, count in r["faults"].items())
    return (
        f"{r['hours']:.2g} h on {r['date']} at `{r['commit']}`, seed {r['seed']}: `leukoscope run` with the shipped engine, a rendered "
        "slide (1280 x 720, live), pictures of the screen in files, a slide a minute over the control socket, a mosquitto and a "
        f"receiver that confirms. Meanwhile: {faults or 'no fault'}.\n\n"
        "| what | seen |\n|---|---|\n"
        f"| slides finished, lost at the receiver, doubled there | {r['slides']}, {r['lost']}, {r['doubled']} |\n"
        f"| lines that tell a field counted, once more when sharper; not in the record | {r['fields']}, {r['lost_fields']} |\n"
        f"| record verified, tracebacks in the log, exit code | "
        f"{'sound' if r['sound'] else 'DAMAGED'}, {r['tracebacks']}, {r['exit_code']} |\n"
        f"| memory after {r['warm_after_s'] / 60:.0f} minutes, at the end, at most | {r['rss_mb'][0]:.0f}, {r['rss_mb'][1]:.0f}, "
        f"{r['rss_mb'][2]:.0f} MB; {r['mb_per_hour']:+.1f} MB an hour |\n"
        f"| threads, open files: least, most, last | {r['threads'][0]}, {r['threads'][1]}, {r['threads'][2]}; "
        f"{r['files'][0]}, {r['files'][1]}, {r['files'][2]} |\n"
        f"| processor | {r['cores']:.2f} cores |\n"
        f"| answer of the control socket: median, 99 %, longest | {r['answer_ms'][0]:.0f}, {r['answer_ms'][1]:.0f}, "
        f"{r['answer_ms'][2]:.0f} ms; {r['unanswered']} of {r['samples']} without one |\n"
        f"| outbox: deepest, seconds after the last slide until it was empty | {r['deepest']}, {r['waited_at_end_s']} |\n"
        f"| lines in the log | {r['log_lines']} |"
    )


def into_page(folder: Path, page: Path) -> None:
    """Put the run's words and plot between the page's marks; the plot beside the page, in images/."""
    section = (
        f"{words(json.loads((folder / 'result.json').read_text()))}\n\n![Memory, threads, answers, outbox and slides](images/{PICTURE})"
    )
    write_part(page, BEGIN, END, lambda _: section)
    (page.parent / "images" / PICTURE).write_bytes(plot(folder).read_bytes())
