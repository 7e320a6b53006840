"""The settings page names every setting with its default."""

from __future__ import annotations

import json
import re
from typing import Any

from mindgraph_storage.settings import Settings
from tests.docs.pages import ROOT


def test_every_setting_is_there_with_its_default() -> None:
    """No variable is missing or made up, and a default that is a plain value is the real one."""
    rows = re.findall(
        r"^\| `MINDGRAPH_(\w+)` \| (.*?) \|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE
    )
    told = {name.lower(): default for name, default in rows}
    assert list(told) == list(Settings.model_fields)
    plain = {name: _shown(field.default) for name, field in Settings.model_fields.items()}
    assert {name: told[name] for name, default in plain.items() if default} == {
        k: v for k, v in plain.items() if v
    }


def _shown(default: Any) -> str:
    """As it stands in the environment; empty where words say it better."""
    match default:
        case None | () | type():
            return ""
        case tuple():
            return f"`{json.dumps(default)}`"
        case _ if repr(default) == "PydanticUndefined":
            return ""
        case _:
            return f"`{default}`"
