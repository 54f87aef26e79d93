"""Recipes: all steps from a download to an engine folder and its page in one command, each a command of `attridet` in its own process.

Public: `run_recipe`, `RecipeRequest` (docs/recipe.md).
"""

from typing import TYPE_CHECKING

from engines.lazy import lazy
from engines.recipe.request import RecipeRequest

if TYPE_CHECKING:
    from engines.recipe.run import run_recipe

__all__ = ["RecipeRequest", "run_recipe"]
__getattr__ = lazy(__name__, run_recipe="run")
