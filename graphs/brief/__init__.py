"""Reads documents, finds what they say on a topic, drafts and criticises a brief. Knows no graph."""
