"""No display: the count goes on without anybody watching."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from typing_extensions import Self

from device.display.base import ScreenView
from device.slide.commands import Command


class NullDisplay:
    """Shows nothing and asks for nothing."""

    def show(self, view: ScreenView) -> None:
        """Nothing to do."""

    def commands(self) -> Sequence[Command]:
        """Always empty."""
        return ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to close."""
