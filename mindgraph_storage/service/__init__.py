"""The Storage Service: the only writer of tiers 2 and 3 and the only place where access is checked."""

from mindgraph_storage.service.service import StorageService

__all__ = ["StorageService"]
