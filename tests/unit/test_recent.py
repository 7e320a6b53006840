"""The cache of what was used last."""

from __future__ import annotations

from mindgraph_storage.langgraph.recent import Recent


def test_what_was_used_longest_ago_makes_room() -> None:
    """Reading and entering both count as use."""
    recent: Recent[str, int] = Recent(2)
    for key in "ab":
        recent.put(key, ord(key))
    assert recent.get("a") == 97
    recent.put("c", 99)
    assert [recent.get(key) for key in "abc"] == [97, None, 99]


def test_weights_add_up() -> None:
    """Entries weigh what they are said to; one that is entered again counts once, one dropped not at all."""
    recent: Recent[str, bytes] = Recent(10, len)
    recent.put("a", b"1234")
    recent.put("a", b"123456")
    recent.put("b", b"1234")
    assert (recent.get("a"), recent.get("b")) == (b"123456", b"1234")
    recent.drop("a")
    recent.drop("a")
    recent.put("c", b"123456")
    assert (recent.get("b"), recent.get("c")) == (b"1234", b"123456")


def test_what_is_too_heavy_is_not_kept() -> None:
    """It makes no room for itself that it cannot use in the end."""
    recent: Recent[str, bytes] = Recent(10, len)
    recent.put("a", b"12345678901")
    assert recent.get("a") is None
    recent.put("b", b"1234567890")
    assert recent.get("b") == b"1234567890"
