"""The settings and the only reader of the environment.

Each field is an argument of ``open_storage`` or ``open_checkpointer`` and an environment variable with the
prefix ``MINDGRAPH_``; an argument wins.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import from_json
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from mindgraph_storage.errors import InvalidArgument
from mindgraph_storage.periods import PERIOD, seconds_of

__all__ = ["Settings", "read_settings"]


def _listed(value: Any) -> Any:
    """A list in the environment: JSON, or names with commas between them."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return from_json(value)
    return [name.strip() for name in value.split(",") if name.strip()]


def _in_seconds(value: Any) -> Any:
    """A period, such as ``1h``, or a number of seconds."""
    if not isinstance(value, str):
        return value
    if re.fullmatch(PERIOD, value):
        return seconds_of(value)
    if not re.fullmatch(r"\d+(\.\d+)?", value):
        raise ValueError(f"{value!r} is no number of seconds and no period such as 90s, 1h or 1d")
    return float(value)


Seconds = Annotated[float, BeforeValidator(_in_seconds)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


class Settings(BaseSettings):
    """``database_url`` and ``checkpoint_url`` are SQLAlchemy-style URLs, ``artifacts_url`` an fsspec URL.

    Left out, all three lie under ``data_dir``. ``agent_id`` is who asks, without it the operator.
    ``durability`` says what a save that returned survives: ``full`` the loss of power, ``relaxed`` the death
    of the process. A recorded run says every ``heartbeat_seconds`` that it is alive and is lost when it was
    silent for ``lost_after_seconds``, three heartbeats unless given.

    ``retry_delays`` are the seconds between tries to reach the service (a JSON list in the environment); then
    writes wait in ``data_dir/buffer``, up to ``buffer_bytes`` and ``buffer_items`` (artifacts; 0: nothing is
    buffered), and are sent again every ``heartbeat_seconds``.

    ``pool_size`` is how many connections to PostgreSQL a storage opens at most; one of them is the writer's.
    ``service_url`` (``amqp://…``) is the broker of a service in another process, and ``timeout_seconds`` how
    long its answers may take. The rest is the service's own: the ``node`` it is on MindBus, which beats every
    ``heartbeat_seconds`` too, how many ``workers`` it has for each of its queues, the ``operators``: the
    requester ids with the operator's right, and ``collect_every``: a number of seconds or a period (``1h``)
    after which one of a storage's services collects again, never with 0.
    """

    model_config = SettingsConfigDict(env_prefix="MINDGRAPH_", frozen=True, extra="ignore")

    data_dir: Path = Path(".data")
    database_url: str | None = None
    artifacts_url: str | None = None
    checkpoint_url: str | None = None
    agent_id: str | None = None
    durability: Literal["full", "relaxed"] = "full"
    pool_size: int = Field(10, ge=2)
    heartbeat_seconds: float = Field(10, gt=0, le=3600)
    lost_after_seconds: float = Field(default_factory=lambda given: 3 * given["heartbeat_seconds"], gt=0)
    retry_delays: tuple[Annotated[float, Field(ge=0, le=3600)], ...] = (5, 10, 20)
    buffer_bytes: int = Field(100_000_000, ge=0)
    buffer_items: int = Field(1000, ge=0)
    service_url: str | None = None
    timeout_seconds: float = Field(30, gt=0)
    node: str = Field("storage-primary", pattern=r"^[A-Za-z0-9_-]{1,100}$")
    workers: int = Field(4, ge=1, le=256)
    operators: Names = ()
    collect_every: Seconds = Field(3600, ge=0)

    @model_validator(mode="after")
    def _beats_in_time(self) -> Self:
        if self.heartbeat_seconds >= self.lost_after_seconds:
            raise ValueError("heartbeat_seconds must be less than lost_after_seconds, best a third of it")
        return self


def read_settings(**arguments: Any) -> Settings:
    """Settings from the arguments that are not None, then the environment, then the defaults.

    Raises InvalidArgument that names the setting.
    """
    try:
        return Settings(**{k: v for k, v in arguments.items() if v is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "heartbeat_seconds"
        raise InvalidArgument(f"setting {where!r}: {first['msg']}", setting=where) from None
    except SettingsError as error:  # a variable that should be JSON and is not
        raise InvalidArgument(f"{error}; write JSON, e.g. MINDGRAPH_RETRY_DELAYS='[5, 10, 20]'") from None
