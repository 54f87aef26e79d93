"""`attridet quantize`."""

from __future__ import annotations

from calibration.int8 import QuantizeRequest


def quantize(request: QuantizeRequest) -> int:
    """Turn a float engine into INT8 (explicit Q/DQ), calibrated on frames of one microscope and judged by the gate.

    Blocks that cost too much go back to float until the gate passes; exit code 1 if it never does.
    """
    from calibration.int8 import quantize as run
    from engines.commands.gate_tables import block_table, gate_table, print_verdict
    from engines.commands.terminal import Terminal

    with Terminal() as terminal:
        made = run(request, terminal)
        if made.blocks.costs:
            terminal.console.print(block_table(made.blocks.costs, made.blocks.float_blocks))
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
    return 0 if made.passed else 1
