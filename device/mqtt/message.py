"""What every message and every part of one can do: be built complete, be sent, and be read whatever version wrote it.

A message's form changes by fields that are added, declared with `later`; nothing is taken away. Which messages there are stands in
`payloads`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce
from operator import getitem
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar

import pydantic_core
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails
from typing_extensions import Self

Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
"""Text without control characters, so that a payload cannot write to a receiver's terminal."""


class PayloadError(Exception):
    """A received payload is not what its schema says; the message names the first field that is wrong. Tell the sender's keeper."""


@dataclass(frozen=True)
class Since:
    """Marks a field that `form` ("1.1") of its message brought; in the JSON Schema it is optional and never null."""

    form: str

    def __call__(self, schema: dict[str, Any]) -> None:
        """Change the field's JSON Schema (pydantic's hook)."""
        del schema["default"]
        schema.update(next(kind for kind in schema.pop("anyOf") if kind != {"type": "null"}), **{"x-since": self.form})


def later(form: str, description: str) -> Any:
    """A field of type `X | None` that older devices do not send: None when it was not in a received message, required to build one.

    A new field needs this and nothing else; tests/messages then gets the newest message as a frozen file of its own.
    """
    return Field(None, description=description, json_schema_extra=Since(form))


_RECEIVED: Final = "received"
"""Key of the validation context of what came from elsewhere: the number of the message's schema. Fields that came with a later form
of it may be missing then; without the key all are required."""


class Part(BaseModel):
    """Base of every object in a payload: frozen; what the model does not know is refused when it is built."""

    schema_number: ClassVar[int] = 1
    """Of the message: the schema with the next number requires every field of those before."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True
    )  # errors are logged; a specimen's number must not be

    @classmethod
    def later_fields(cls) -> frozenset[str]:
        """Names of the fields that were not in the first form of the message."""
        return frozenset(_later_fields(cls))

    @model_validator(mode="after")
    def _is_complete(self, info: ValidationInfo) -> Self:
        number = (info.context or {}).get(_RECEIVED)
        for name, form in _later_fields(type(self)).items():
            if getattr(self, name) is None and (number is None or int(form.partition(".")[0]) < number):
                raise ValueError(f"{name} is required in what is sent (only messages of older devices lack it)")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_missing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        missing = {name for name in _later_fields(type(self)) if getattr(self, name) is None}
        return {name: value for name, value in handler(self).items() if name not in missing}

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """Read the JSON of a part that this or an older version wrote. Raises pydantic's ValidationError."""
        return cls.model_validate_json(text, strict=True, context={_RECEIVED: cls.schema_number})


@cache
def _later_fields(kind: type[Part]) -> dict[str, str]:
    """The fields that were not in the first form of the message, and which form brought each. Looked up once: every part of every
    message asks."""
    extras = ((name, field.json_schema_extra) for name, field in kind.model_fields.items())
    return {name: since.form for name, since in extras if isinstance(since, Since)}


class Payload(Part):
    """Base of every message."""

    def to_bytes(self) -> bytes:
        """UTF-8 JSON, the bytes that are sent; an older message gives what it was read from."""
        return self.model_dump_json(by_alias=True).encode()


def one_line(text: str) -> str:
    """`text` on one line: white space runs become one space; control characters and what is no Unicode text become "?"."""
    text = text.encode("utf-8", "replace").decode()
    return "".join(c if ord(c) >= 0x20 and not 0x7F <= ord(c) <= 0x9F else "?" for c in " ".join(text.split()))


_P = TypeVar("_P", bound=Payload)


@dataclass(frozen=True)
class Received(Generic[_P]):
    """A payload that was understood, and the fields (by path) that a newer sender put in and this receiver does not know."""

    payload: _P
    ignored: tuple[str, ...] = ()


def json_object(data: bytes) -> dict[str, Any]:
    """The JSON object in these bytes. Raises PayloadError where there is none."""
    try:
        document = pydantic_core.from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise PayloadError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise PayloadError("not a JSON object")
    return document


def read(kind: type[_P], data: bytes) -> Received[_P]:
    """Parse the bytes of one kind of message. Raises PayloadError naming what is wrong."""
    return read_object(kind, json_object(data))


def read_object(kind: type[_P], document: dict[str, Any]) -> Received[_P]:
    """The same of what is JSON already; `document` is changed."""
    ignored: tuple[str, ...] = ()
    whole: Any = document
    while True:
        try:
            return Received(kind.read(pydantic_core.to_json(document)), ignored)
        except ValidationError as error:  # what a validator of the whole object finds shows only once the unknown fields are out
            details = error.errors()
            if ignored or any(e["type"] != "extra_forbidden" for e in details):
                raise PayloadError(_first(details)) from error
        for *parents, name in (e["loc"] for e in details):
            del reduce(getitem, parents, whole)[name]
        ignored = tuple(".".join(map(str, e["loc"])) for e in details)


def _first(details: Sequence[ErrorDetails]) -> str:
    known = [e for e in details if e["type"] != "extra_forbidden"] or details
    path = ".".join(str(step) for step in known[0]["loc"]) or "the whole"
    more = f" (and {len(known) - 1} more)" if len(known) > 1 else ""
    return f"{path}: {known[0]['msg']}{more}"
