"""`attridet frames`, `quantize`, `half` and `gate`."""

from __future__ import annotations

from calibration.int8 import FramesRequest, HalveRequest, QuantizeRequest
from engines.gate import GateRequest


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


def quantize(request: QuantizeRequest) -> int:
    """Turn a float engine into INT8 (explicit Q/DQ), calibrated on frames of one microscope and judged by the gate.

    Blocks that cost too much go back to float until the gate passes; exit code 1 if it never does, 3 where the float engine is weak.
    """
    from calibration.int8 import quantize as run
    from engines.commands.gate_tables import EXIT_CODES, block_table, gate_table, print_verdict
    from engines.commands.terminal import Terminal

    with Terminal() as terminal:
        made = run(request, terminal)
        if made.blocks.costs:
            terminal.console.print(block_table(made.blocks.costs, made.blocks.float_blocks, request.limits))
        terminal.console.print(gate_table(made.blocks.result))
        if made.page is not None:
            terminal.message(f"written: {made.page}")
        in_float = f", in float: {', '.join(made.blocks.float_blocks)}" if made.blocks.float_blocks else ""
        manifest = made.bundle.manifest
        terminal.message(
            f"{made.bundle.path}: {manifest.name} {manifest.version} {manifest.precision}, digest {made.bundle.digest[:8]}, calibrated "
            f"on {len(made.frames.frames)} frames{in_float}"
        )
        print_verdict(made.blocks.result, terminal)
    return EXIT_CODES[made.blocks.result.level]


def half(request: HalveRequest) -> int:
    """Turn a float engine into FP16 for a GPU: refused where FP16 does not reach, judged by the gate with FP16's roundings.

    Exit code 1 where it is not passed, 3 where the float engine is weak.
    """
    from calibration.int8 import halve
    from engines.commands.gate_tables import EXIT_CODES, gate_table, print_verdict
    from engines.commands.terminal import Terminal

    with Terminal() as terminal:
        made = halve(request, terminal)
        terminal.console.print(gate_table(made.result))
        if made.page is not None:
            terminal.message(f"written: {made.page}")
        manifest = made.bundle.manifest
        in_float = f", in float: {', '.join(request.float_blocks)}" if request.float_blocks else ""
        terminal.message(
            f"{made.bundle.path}: {manifest.name} {manifest.version} {manifest.precision}, digest {made.bundle.digest[:8]}; its layers "
            f"reach {made.reach:.3g} on these pictures, and FP16 65504{in_float}"
        )
        print_verdict(made.result, terminal)
    return EXIT_CODES[made.result.level]


def gate(request: GateRequest) -> int:
    """Compare an INT8 or FP16 engine with its float reference: exit code 0 if it loses little enough, 1 if not, 3 if that is weak."""
    from engines.commands.gate_tables import EXIT_CODES, gate_table, print_verdict
    from engines.commands.terminal import Terminal
    from engines.gate import gate as run

    with Terminal() as terminal:
        judged = run(request, terminal)
        terminal.console.print(gate_table(judged.result))
        terminal.message(
            f"{judged.kept.path}: verdict kept in its manifest, so its digest is now {judged.kept.digest[:8]} "
            f"(was {judged.before.digest[:8]})"
        )
        if judged.page is not None:
            terminal.message(f"written: {judged.page}")
        print_verdict(judged.result, terminal)
    return EXIT_CODES[judged.level]
