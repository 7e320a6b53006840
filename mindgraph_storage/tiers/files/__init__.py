"""Tier 3, bytes: where artifacts' bytes are and how they get there. The only fsspec.

``interface`` says what every store of files does, ``local`` does it on a disk and ``objects`` in an object
store: ``s3://`` through a driver of its own, everything else (``memory://``, ``gs://``, …) through fsspec.
"""

from mindgraph_storage.tiers.files.interface import (
    ArtifactFiles,
    SignedUpload,
    Upload,
    artifact_path,
    beside,
)
from mindgraph_storage.tiers.files.local import LocalFiles
from mindgraph_storage.tiers.files.opening import open_files

__all__ = ["ArtifactFiles", "LocalFiles", "SignedUpload", "Upload", "artifact_path", "beside", "open_files"]
