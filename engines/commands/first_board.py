"""`attridet first-board`."""

from __future__ import annotations

from engines.first_board.request import FirstBoardRequest


def first_board(request: FirstBoardRequest) -> int:
    """The day with a board, in one call: doctor, plans, golden pictures, gate, latency, memory, tests; one archive to send."""
    from engines.commands.terminal import Terminal
    from engines.first_board.day import first_board as run

    with Terminal() as terminal:
        day = run(request, terminal)
        terminal.message(f"{day.archive}: send this; it holds no pictures")
    return 1 if day.failed else 0
