"""Example pipelines: each runs offline, out of the box, on real documents."""
