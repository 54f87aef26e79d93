"""`attridet frames`."""

from __future__ import annotations

from calibration.int8 import FramesRequest


def frames(request: FramesRequest) -> None:
    """Choose a calibration set: frames that cover light, focus, density and cells of this microscope, listed with their hashes."""
    from collections import Counter

    from calibration.int8 import choose_frames
    from calibration.int8.frame_statistics import spread
    from engines.commands.terminal import Terminal, table_of

    with Terminal() as terminal:
        found = choose_frames(request, terminal)
        chosen, seen = found.chosen, found.candidates
        there, taken = spread(seen.statistics), spread(seen.statistics[[seen.frames.index(frame) for frame in chosen.frames]])
        table = table_of("Spread (1.0: a real folder)", "", ("candidates", "chosen"))
        for group in there:
            table.add_row(group, f"{there[group]:.1f}", f"{taken[group]:.1f}")
        terminal.console.print(table)
        if len(request.folders) > 1:
            of = Counter(frame.path.parent for frame in chosen.frames)
            for folder in dict.fromkeys(request.folders):
                terminal.message(f"{folder}: {of[folder]} chosen")
        if found.left_out:
            words = ", ".join(f"{number} of {whose}" for whose, number in sorted(found.left_out.items()))
            terminal.message(f"Left out, because they judge: {words}")
        for note in found.notes:
            terminal.warning(note)
        far = "" if len(chosen.frames) == chosen.candidates else f"; none left out is farther than {chosen.radius:.2f} from one of them"
        terminal.message(
            f"{len(chosen.frames)} of {chosen.candidates} frames chosen with seed {chosen.seed}, {chosen.distinct} show something of "
            f"their own{far}"
        )
        terminal.message(f"{request.out}: written" + ("" if request.page is None else f" (look at {request.page})"))
