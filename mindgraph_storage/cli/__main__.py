"""``python -m mindgraph_storage.cli``, the same as ``mindgraph``."""

from mindgraph_storage.cli import main

main()
