"""A YAML file, or a part of one, as a checked model (pydantic), with errors that name the file and the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from engines.errors import DataError

M = TypeVar("M", bound=BaseModel)


def model_of(kind: type[M], content: Any, at: str) -> M:
    """`content` as a model. Raises DataError, with `at` before the key that is wrong: where in which file it stands."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{at}{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def read_model(kind: type[M], path: Path) -> M:
    """The model in a YAML file. Raises DataError naming the file, and the key that is wrong."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not YAML: {error}") from error
    return model_of(kind, content, f"{path}: ")
