"""Public names of a package that are imported when they are first used, so that importing the package loads nothing heavy (PEP 562)."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazy(package: str, **modules: str) -> Callable[[str], Any]:
    """The `__getattr__` of `package`. modules: for each public name the module of the package that defines it, or "module:name" where
    it has another name there.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, own = modules[name].partition(":")
        return getattr(import_module(f"{package}.{module}"), own or name)

    return get
