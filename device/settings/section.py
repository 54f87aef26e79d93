"""The base of every section of the configuration, and the kinds of values that several have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1)]
FilePath = Annotated[Path, Field(strict=False)]
"""In the file a text; relative ones are taken from the file's own folder (config_file). Python callers may give text or Path."""
Port = Annotated[int, Field(ge=1, le=65535)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """Base of every section: frozen; a key that is not known is an error, and so is a value of another type ("5" is no number)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)

    @property
    def path_keys(self) -> tuple[str, ...]:
        """Keys whose text is a path here; those of type FilePath always are."""
        return ()
