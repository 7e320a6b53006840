"""What waits in a buffer, for a person: read from its folder alone, so that it can be looked at while the
service cannot be reached."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mindgraph_storage.client.buffer import Buffer, Item
from mindgraph_storage.errors import StorageError
from mindgraph_storage.messages import decode_command
from mindgraph_storage.shown import Shown

__all__ = ["BufferedWrite", "list_buffered"]


class BufferedWrite(Shown, BaseModel):
    """One write in a buffer: it waits for the service, or was set aside because it was refused or is torn.

    ``size_bytes`` counts the command and the artifact's content; ``reason`` says why it was refused.
    """

    model_config = ConfigDict(frozen=True)

    item: str
    status: Literal["waiting", "refused", "torn"]
    action: str | None = None
    trace_id: str | None = None
    artifact_id: str | None = None
    name: str | None = None
    size_bytes: int
    reason: str | None = None


def list_buffered(folder: Path) -> list[BufferedWrite]:
    """What waits in this buffer, in order, then what was refused; empty where there is none.

    Nothing is sent, moved or made. What is sent in the meantime is left out.
    """
    return [*_writes(folder, "waiting"), *_writes(folder / "refused", "refused")]


def _writes(folder: Path, status: Literal["waiting", "refused"]) -> Iterator[BufferedWrite]:
    buffer = Buffer(folder, most_bytes=0, most_items=0)
    for item in buffer.items():
        try:
            data = decode_command(buffer.command(item)).data
        except StorageError as error:
            if buffer.waits(item):  # else it was sent just now
                yield BufferedWrite(
                    item=item.stem, status="torn", size_bytes=item.size_bytes, reason=error.message
                )
            continue
        yield BufferedWrite(
            item=item.stem,
            status=status,
            action=data.action,
            trace_id=data.params.get("trace_id") or data.context.requester_trace_id,
            artifact_id=data.params.get("artifact_id"),
            name=data.params.get("name"),
            size_bytes=item.size_bytes,
            reason=_reason(buffer, item) if status == "refused" else None,
        )


def _reason(buffer: Buffer, item: Item) -> str | None:
    with suppress(OSError, ValueError, KeyError):
        told = json.loads(buffer.path(item, "reason").read_bytes())
        return f"{told['code']} {told['message']}"
    return None
