"""A graph as text: DOT for Graphviz, Mermaid for Markdown pages.

What members chose, such as their names, is quoted, so that nobody's name is anything but a name. Shapes say the role,
words and colours the state, so that nothing depends on colour alone. Colours are Okabe and Ito's, which colour-blind
people tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping

from smeg.graph import Graph, Kind, Link, Node

MAX_LABEL = 100
"""characters that are shown of a name."""

_GREEN, _ORANGE, _RED, _GREY, _BLUE, _SKY = "#009E73", "#E69F00", "#D55E00", "#999999", "#0072B2", "#56B4E9"
_BY_STATE: Mapping[str, str] = {"alive": _GREEN, "daemon-down": _ORANGE, "pruned": _RED, "quarantined": _GREY}
_BY_KIND: Mapping[Kind, str] = {
    Kind.MESH: _BLUE,
    Kind.DISTANT: _SKY,
    Kind.PEER: _GREY,
    Kind.CLIENT: _GREY,
    Kind.BEHIND: _GREY,
    Kind.SERVICE: _GREY,
}
_DOT_SHAPES: Mapping[Kind, str] = {
    Kind.MESH: "doublecircle",
    Kind.DISTANT: "circle",
    Kind.PEER: "box",
    Kind.CLIENT: "ellipse",
    Kind.BEHIND: "note",
    Kind.SERVICE: "component",
}
_DOT_LINES: Mapping[Link, str] = {
    Link.MEMBER: "dir=none",
    Link.CARRIED: 'style=dashed, tooltip="carried by"',
    Link.BRIDGE: "penwidth=2",
    Link.OFFERS: "style=dotted",
}
_MERMAID_SHAPES: Mapping[Kind, tuple[str, str]] = {
    Kind.MESH: ("(((", ")))"),
    Kind.DISTANT: ("((", "))"),
    Kind.PEER: ("[", "]"),
    Kind.CLIENT: ("([", "])"),
    Kind.BEHIND: ("[/", "/]"),
    Kind.SERVICE: ("{{", "}}"),
}
_MERMAID_LINES: Mapping[Link, str] = {
    Link.MEMBER: "---",
    Link.CARRIED: "-.->",
    Link.BRIDGE: "==>",
    Link.OFFERS: "-.->",
}


def dot(graph: Graph) -> str:
    """In the DOT language, as graphviz.org documents it."""
    lines = ["digraph meshes {", '  node [fontname="sans-serif", style=solid];',
             '  edge [fontname="sans-serif", fontsize=10];']  # fmt: skip
    names = _names(graph)
    for key, node in graph.nodes.items():
        style = f", style={_dot_style(node)}" if _dot_style(node) else ""
        label = "\\n".join(_dot_text(line) for line in _lines(node))
        look = f'shape={_DOT_SHAPES[node.kind]}, color="{_colour(node)}"{style}'
        lines.append(f'  {names[key]} [label="{label}", {look}];')
    for edge in graph.edges.values():
        label = f', label="{_dot_text(edge.label)}"' if edge.label else ""
        lines.append(f"  {names[edge.start]} -> {names[edge.end]} [{_DOT_LINES[edge.kind]}{label}];")
    return "\n".join([*lines, "}", ""])


def mermaid(graph: Graph) -> str:
    """As a flowchart of mermaid.js.org."""
    lines, names, classes = ["flowchart LR"], _names(graph), dict[str, list[str]]()
    for key, node in graph.nodes.items():
        before, after = _MERMAID_SHAPES[node.kind]
        label = "<br/>".join(_mermaid_text(line) for line in _lines(node))
        lines.append(f'  {names[key]}{before}"{label}"{after}')
        classes.setdefault(_colour(node), []).append(names[key])
    for edge in graph.edges.values():
        label = f'|"{_mermaid_text(edge.label)}"|' if edge.label else ""
        lines.append(f"  {names[edge.start]} {_MERMAID_LINES[edge.kind]}{label} {names[edge.end]}")
    for number, (colour, members) in enumerate(classes.items()):
        lines.append(f"  classDef c{number} stroke:{colour},stroke-width:2px")
        lines.append(f"  class {','.join(members)} c{number}")
    return "\n".join([*lines, ""])


def _names(graph: Graph) -> dict[str, str]:
    """Short names without meaning: keys hold what others chose."""
    return {key: f"n{number}" for number, key in enumerate(graph.nodes)}


def _lines(node: Node) -> list[str]:
    """What stands in a node: its name, then what is to be said of it."""
    said = [*node.marks, *([node.state] if node.state not in ("", "alive") else [])]
    return [node.label, *([f"({', '.join(said)})"] if said else [])]


def _colour(node: Node) -> str:
    return _BY_STATE.get(node.state, _BY_KIND[node.kind])


def _dot_style(node: Node) -> str:
    if node.state in ("pruned", "quarantined") or node.kind is Kind.DISTANT:
        return "dashed"
    return "bold" if "self" in node.marks else ""


def _printable(text: str) -> str:
    """One line, whatever it held."""
    line = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return line if len(line) <= MAX_LABEL else f"{line[: MAX_LABEL - 1]}…"


def _dot_text(text: str) -> str:
    return _printable(text).replace("\\", "\\\\").replace('"', '\\"')


def _mermaid_text(text: str) -> str:
    """By codes of its own for whatever Mermaid or HTML give a meaning."""
    plain = " .,:/-_()"
    return "".join(each if each.isalnum() or each in plain else f"#{ord(each)};" for each in _printable(text))
