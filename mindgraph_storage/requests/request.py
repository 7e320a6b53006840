"""The class of all requests, and what travels with them."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from mindgraph_storage.errors import InvalidArgument

__all__ = ["MOST_AT_ONCE", "REQUESTS", "Done", "Message", "OutputT", "Request", "validated"]


class Message(BaseModel):
    """What travels: frozen, and a key nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ModelT = TypeVar("ModelT", bound=BaseModel)


def validated(kind: type[ModelT], values: Any) -> ModelT:
    """The model of these values; raises InvalidArgument that names each wrong field and what it must be."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        flaws = error.errors(include_url=False, include_context=False)
        raise InvalidArgument(
            "; ".join(map(_flaw, flaws)), fields=[_field(f["loc"]) for f in flaws]
        ) from None


def _field(loc: tuple[int | str, ...]) -> str:
    return ".".join(map(str, loc)) or "data"


def _flaw(flaw: Any) -> str:
    shown = repr(flaw["input"])
    value = shown if len(shown) <= 80 else f"{shown[:60]}… ({len(shown)} characters)"
    return f"{_field(flaw['loc'])}: {flaw['msg'].removeprefix('Value error, ')}, got {value}"


OutputT = TypeVar("OutputT", bound=BaseModel)


class Request(Message, Generic[OutputT]):
    """``params`` of a command. ``action`` names it, ``output`` is the class of what answers it.

    One that is ``deferrable`` may be carried out later, in the order they were made: what it tells stays
    true, and nobody needs its answer to go on. A client keeps it while the service cannot be reached. One
    that is not ``repeated`` is tried once.
    """

    action: ClassVar[str]
    output: ClassVar[type[BaseModel]]
    deferrable: ClassVar[bool] = False
    repeated: ClassVar[bool] = True

    def encoded(self) -> bytes:
        """As JSON, without what is not given."""
        return to_json(self, exclude_none=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if "action" in vars(cls):
            REQUESTS[cls.action] = cls


REQUESTS: dict[str, type[Request[Any]]] = {}


class Done(Message):
    """Nothing to tell but that it is done."""


MOST_AT_ONCE = 1000
