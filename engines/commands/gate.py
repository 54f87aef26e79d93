"""`attridet gate`."""

from __future__ import annotations

from engines.gate import GateRequest


def gate(request: GateRequest) -> int:
    """Compare an INT8 engine with its float reference; exit code 0 if it loses little enough, 1 if not."""
    from engines.commands.gate_tables import gate_table, print_verdict
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
    return 0 if judged.passed else 1
