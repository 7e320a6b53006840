"""The Storage Service client: what agents, tools and notebooks hold."""

from mindgraph_storage.client.client import StorageClient

__all__ = ["StorageClient"]
