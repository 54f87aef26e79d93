"""One picture of a benchmark: milliseconds of a frame, ours by stages, the others beside it."""

from __future__ import annotations

from matplotlib.figure import Figure

from engines.bench.measure import WHOLE, Measured
from engines.plot_style import BLUE, FAINT, INK, ORANGE, PURPLE, SKY, headline, style

_COLOURS = {"preprocess": SKY, "detector": BLUE, "nms": PURPLE, "attributes": ORANGE}


def frame_times(measured: Measured, frames: str) -> Figure:
    """Medians as bars, ours made of its stages, with the 90th percentile as a whisker. frames: what the pictures are."""
    m = measured
    with style():
        figure = Figure(figsize=(7.6, 0.9 + 0.48 * len(m.rows)), layout="constrained")
        axes = figure.subplots()
        for at, row in enumerate(m.rows):
            if row.key == WHOLE:
                left = 0.0
                for stage, spent in m.stages_ms.items():
                    axes.barh(at, spent.p50, left=left, height=0.62, color=_COLOURS[stage], label=stage)
                    left += spent.p50
                if row.frame_ms.p50 > left:
                    axes.barh(at, row.frame_ms.p50 - left, left=left, height=0.62, color=FAINT, label="the rest")
            else:
                axes.barh(at, row.frame_ms.p50, height=0.62, color=FAINT)
            axes.plot((row.frame_ms.p50, row.frame_ms.p90), (at, at), color=INK, linewidth=1.1)
            axes.plot(row.frame_ms.p90, at, marker="|", color=INK, markersize=7)
            words = f"{row.fps.median:.1f}/s" + ("" if row.key == WHOLE else f"; whole path {row.times.median:.2f} x as fast")
            axes.annotate(words, (row.frame_ms.p90, at), xytext=(7, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_yticks(range(len(m.rows)), [row.label for row in m.rows])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, 1.45 * max(row.frame_ms.p90 for row in m.rows))
        axes.set_xlabel("ms a frame: median; whisker: 90th percentile")
        figure.legend(loc="outside lower left", ncols=5, handlelength=1, columnspacing=1.2)
        on = f"{m.engine.runtime}, {m.settings.threads} threads, {m.machine.processor}"
        note = f"{on}\n{m.frames} x {frames}, {m.settings.rounds} rounds"
        headline(figure, f"{m.engine.name} {m.engine.version}, {m.engine.precision}", note)
    return figure
