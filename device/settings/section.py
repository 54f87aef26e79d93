"""The base of every section of the configuration, and the kinds of values that several have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

Name = Annotated[str, Field(min_length=1)]
FilePath = Annotated[Path, Field(strict=False)]
"""In the file a text; relative ones are taken from the file's own folder (config_file). Python callers may give text or Path."""
Port = Annotated[int, Field(ge=1, le=65535)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """Base of every section: frozen; a key that is not known is an error, and so is a value of another type ("5" is no number)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _can_be_written_down(cls, value: Any) -> Any:
        """No text holds a NUL or half a character (a lone surrogate): neither the system nor a broker takes them."""
        if isinstance(value, str | Path):
            text = str(value)
            if "\0" in text:
                raise ValueError("holds a NUL character, which no path, name or topic may; write it anew")
            try:
                os.fsencode(text) if isinstance(value, Path) else text.encode()
            except UnicodeEncodeError:
                raise ValueError("holds half a character (a lone surrogate such as \\ud800), which is no text; write it anew") from None
        return value

    @property
    def path_keys(self) -> tuple[str, ...]:
        """Keys whose text is a path here; those of type FilePath always are."""
        return ()
