"""Durable, versioned artifacts with provenance for LangGraph agents."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mindgraph_storage.errors import (
    AlreadyExists,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    StorageError,
    Unauthenticated,
    Unavailable,
)

if TYPE_CHECKING:
    from mindgraph_storage.assembly import open_storage
    from mindgraph_storage.client import StorageClient
    from mindgraph_storage.manifest import ArtifactContext, ArtifactManifest, ArtifactRef

__all__ = [
    "AlreadyExists",
    "ArtifactContext",
    "ArtifactManifest",
    "ArtifactRef",
    "DataLoss",
    "DeadlineExceeded",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "StorageClient",
    "StorageError",
    "Unauthenticated",
    "Unavailable",
    "open_storage",
]

_HOMES = {  # imported when first asked for: the command line's help needs neither SQLAlchemy nor pydantic
    "ArtifactContext": "mindgraph_storage.manifest",
    "ArtifactManifest": "mindgraph_storage.manifest",
    "ArtifactRef": "mindgraph_storage.manifest",
    "StorageClient": "mindgraph_storage.client",
    "open_storage": "mindgraph_storage.assembly",
}


def __getattr__(name: str) -> Any:
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
