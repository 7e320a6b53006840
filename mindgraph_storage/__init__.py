"""Durable, versioned artifacts with provenance for LangGraph agents."""

from mindgraph_storage.assembly import open_storage
from mindgraph_storage.client import StorageClient
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
