"""Database URLs: what they may be, and messages that show no password."""

from __future__ import annotations

import sqlalchemy as sa

from mindgraph_storage.errors import InvalidArgument

__all__ = ["database_url", "is_postgres"]

_NO_FILE = (None, "", ":memory:")


def database_url(url: str | sa.URL, setting: str, file: str) -> sa.URL:
    """The URL of a SQLite file or of a PostgreSQL database; ``file`` is an example of the first.

    Raises InvalidArgument that names the setting.
    """
    write = f"write sqlite:///path/to/{file} or postgresql://user:password@host/database"
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise InvalidArgument(f"{setting}: not a database URL; {write}", setting=setting) from None
    if "@" in (parsed.host or ""):  # and what is before it is of the password
        told = "in user and password write %40 for @, %3A for : and %2F for /"
        raise InvalidArgument(f"{setting}: not a database URL; {told}", setting=setting)
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database not in _NO_FILE
    if not is_file and not is_postgres(parsed):
        shown = f"{parsed.render_as_string()!r} is no SQLite file and no PostgreSQL database"
        raise InvalidArgument(f"{setting}: {shown}; {write}", setting=setting)
    return parsed


def is_postgres(url: sa.URL) -> bool:
    """``postgresql://``, with any driver or none."""
    return url.get_backend_name() == "postgresql"
