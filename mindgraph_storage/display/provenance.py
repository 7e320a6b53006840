"""What an artifact was made from and what was made from it: as a picture, a tree, Mermaid and Graphviz."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from mindgraph_storage.display.markup import Element, View, element, stacked
from mindgraph_storage.display.values import one_line, short, visible
from mindgraph_storage.manifest import ArtifactManifest, Lineage

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.tree import Tree

__all__ = ["Provenance"]

_BOX, _HIGH, _ACROSS, _DOWN = 170, 40, 60, 14  # pixels: a box, and the room between boxes
_LETTERS = 20  # of a box
Next = Callable[[str], list[ArtifactManifest]]


@dataclass(frozen=True)
class Provenance(View):
    """The provenance graph around one artifact, a ``lineage``; left of each stands what it was made from."""

    lineage: Lineage

    @cached_property
    def layers(self) -> list[list[ArtifactManifest]]:
        """The artifacts by how many steps of making lie before them; inputs lie in earlier layers."""
        depth: dict[str, int] = {}
        for artifact in self.lineage.artifacts:  # oldest first: an input is older than what it went into
            inputs = [depth[its_id] for its_id in self._inputs[artifact.id] if its_id in depth]
            depth[artifact.id] = 1 + max(inputs, default=-1)
        layers: list[list[ArtifactManifest]] = [[] for _ in range(1 + max(depth.values(), default=-1))]
        for artifact in self.lineage.artifacts:
            layers[depth[artifact.id]].append(artifact)
        return layers

    @cached_property
    def edges(self) -> list[tuple[str, str]]:
        """From input to output, in the order of the outputs' age, then the inputs'."""
        age = {artifact.id: number for number, artifact in enumerate(self.lineage.artifacts)}
        return sorted(self.lineage.edges, key=lambda edge: (age[edge[1]], age[edge[0]]))

    @cached_property
    def _inputs(self) -> dict[str, list[str]]:
        inputs: dict[str, list[str]] = {artifact.id: [] for artifact in self.lineage.artifacts}
        for used, made in self.edges:
            inputs[made].append(used)
        return inputs

    def mermaid(self) -> str:
        """The graph in Mermaid's language (https://mermaid.js.org), for Markdown."""
        names = self._numbered("n")
        lines = ["flowchart LR"]
        lines += [
            f'    {names[a.id]}["{_mermaid(_title(a))}<br/>{_mermaid(_origin(a))}"]'
            for a in self.lineage.artifacts
        ]
        lines += [f"    {names[used]} --> {names[made]}" for used, made in self.edges]
        return "\n".join([*lines, f"    style {names[self.lineage.artifact_id]} stroke-width:3px"])

    def dot(self) -> str:
        """The graph in Graphviz' language (https://graphviz.org/doc/info/lang.html)."""
        lines = ["digraph lineage {", "    rankdir=LR;", "    node [shape=box];"]
        for artifact in self.lineage.artifacts:
            bold = ", penwidth=3" if artifact.id == self.lineage.artifact_id else ""
            label = f"{_dot(_title(artifact))}\\n{_dot(_origin(artifact))}"
            lines.append(f'    "{artifact.id}" [label="{label}"{bold}];')
        lines += [f'    "{used}" -> "{made}";' for used, made in self.edges]
        return "\n".join([*lines, "}"])

    def _numbered(self, letter: str) -> dict[str, str]:
        return {a.id: f"{letter}{number}" for number, a in enumerate(self.lineage.artifacts)}

    def lines(self) -> Iterator[str]:
        """Tab-separated: the id of an input, the id of what was made from it."""
        return ("\t".join(edge) for edge in self.edges)

    # ---------------------------------------------------------------- in a terminal

    def __rich__(self) -> RenderableType:
        from rich.text import Text
        from rich.tree import Tree

        from mindgraph_storage.display.terminal import words

        this = next(a for a in self.lineage.artifacts if a.id == self.lineage.artifact_id)
        origin = words(f"  {short(this.id)}  {_origin(this)}")
        tree = Tree(Text.assemble(words(_title(this), "bold"), origin))
        for heading, following in (
            ("made from", self.lineage.inputs),
            ("went into", self.lineage.uses),
        ):
            if following(this.id):
                _grow(tree.add(words(heading, "dim")), this.id, following)
        if not tree.children:
            tree.add(words("made from nothing, went into nothing", "dim"))
        return tree

    # ---------------------------------------------------------------- in a notebook

    def html(self) -> Element:
        places = {
            artifact.id: (8 + column * (_BOX + _ACROSS), 8 + row * (_HIGH + _DOWN))
            for column, layer in enumerate(self.layers)
            for row, artifact in enumerate(layer)
        }
        width = max((x for x, _ in places.values()), default=0) + _BOX + 8
        height = max((y for _, y in places.values()), default=0) + _HIGH + 8
        arrows = (_arrow(places[used], places[made]) for used, made in self.edges)
        boxes = (
            _box(a, *places[a.id], is_this=a.id == self.lineage.artifact_id) for a in self.lineage.artifacts
        )
        picture = element(
            "svg",
            element("title", f"lineage of {self.lineage.artifact_id}"),
            *arrows,
            *boxes,
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {width} {height}",
            role="img",
            style=f"width:{width}px;max-width:none;font:13px sans-serif;fill:currentColor",
        )
        return stacked(element("div", picture, style="overflow-x:auto"))


def _title(artifact: ArtifactManifest) -> str:
    return f"{visible(artifact.name)} v{artifact.version}"


def _origin(artifact: ArtifactManifest) -> str:
    return f"by {artifact.created_by}"


def _grow(tree: Tree, of: str, following: Next) -> None:
    """Hangs what follows under it; what hangs somewhere already is named and not followed again."""
    from rich.text import Text

    from mindgraph_storage.display.terminal import words

    known, waiting = set[str](), [(tree, of)]
    while waiting:
        branch, its_id = waiting.pop()
        for artifact in following(its_id):
            again = artifact.id in known and following(artifact.id)
            line = f"  {short(artifact.id)}  {_origin(artifact)}{' (followed elsewhere)' if again else ''}"
            leaf = branch.add(Text.assemble(words(_title(artifact), "bold"), words(line)))
            if artifact.id not in known:
                known.add(artifact.id)
                waiting.append((leaf, artifact.id))


def _box(artifact: ArtifactManifest, x: int, y: int, *, is_this: bool) -> Element:
    frame = element(
        "rect",
        x=x,
        y=y,
        width=_BOX,
        height=_HIGH,
        rx=5,
        fill="#4493f8" if is_this else "currentColor",
        fill_opacity=0.22 if is_this else 0.06,
        stroke="#4493f8" if is_this else "currentColor",
        stroke_opacity=1 if is_this else 0.4,
    )
    told = element("title", f"{artifact.id}\n{artifact.artifact_type}, {artifact.content_type}")
    name = element("text", one_line(_title(artifact), _LETTERS), x=x + 10, y=y + 17, font_weight="bold")
    by = element("text", one_line(_origin(artifact), _LETTERS), x=x + 10, y=y + 32, font_size=11, opacity=0.7)
    return element("g", told, frame, name, by)


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> Element:
    """From the right side of one box to the left side of another, with a head."""
    x, y = start[0] + _BOX, start[1] + _HIGH // 2
    to_x, to_y = end[0], end[1] + _HIGH // 2
    line = f"M{x} {y}"
    if to_x - x > _ACROSS:  # past other boxes: between two rows, where there are none
        between = start[1] + (_HIGH + _DOWN // 2 if to_y >= y else -_DOWN // 2)
        line += f"{_bend((x, y), (x + _ACROSS, between))}H{to_x - _ACROSS}"
        x, y = to_x - _ACROSS, between
    line += _bend((x, y), (to_x - 6, to_y))
    head = f"M{to_x} {to_y}l-7 -4v8z"
    return element(
        "g",
        element("path", d=line, fill="none", stroke="currentColor"),
        element("path", d=head),
        opacity=0.55,
    )


def _bend(start: tuple[int, int], end: tuple[int, int]) -> str:
    """A curve that leaves and arrives level."""
    middle = (start[0] + end[0]) // 2
    return f"C{middle} {start[1]} {middle} {end[1]} {end[0]} {end[1]}"


def _mermaid(text: str) -> str:
    """Mermaid's entities for what means something in a label."""
    return "".join(c if c.isalnum() or c in " ._-" else f"#{ord(c)};" for c in text)


def _dot(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
