"""YAML text as nodes with their lines, and the words in which a person is told what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Callable

import yaml
from yaml.nodes import Node, ScalarNode, SequenceNode

from smeg.config_values import shown

ONE_A_LINE = "one `key: value` a line"
_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
"""What YAML 1.1 takes for the end of a line."""
Wrong = Callable[[int, str, str], None]
"""Is told the line, what is wrong, and what was expected; nothing where it is YAML that was."""


def compose(text: str, most: int, wrong: Wrong) -> Node | None:
    """The document as nodes, or None when it is empty, has more than `most` characters, or cannot be read."""
    if len(text) > most:
        wrong(1, f"has {len(text)} characters", f"at most {most}")
        return None
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        line = 1 + len(_BREAK.findall(text[: error.position]))
        wrong(line, f"holds the control character U+{ord(text[error.position]):04X}", "text")
        return None
    try:
        node: Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line if error.problem_mark else loader.line
        words = " ".join(f"{error.context or ''} {error.problem or ''}".split())
        wrong(line + 1, words, "")
    except (ValueError, OverflowError) as error:
        # The scanner's own slips: an escape beyond Unicode, a version of a thousand digits.
        wrong(loader.line + 1, f"cannot be read: {error}", "")
    except RecursionError:
        wrong(loader.line + 1, "is nested too deeply", ONE_A_LINE)
    else:
        return node
    finally:
        loader.dispose()
    return None


def last_line(text: str) -> int:
    """The end of the text is not a line when a line break stands before it, but YAML counts one."""
    return max(1, len(_BREAK.split(text)) - (1 if _BREAK.search(text[-1:]) else 0))


def plain(name: str) -> str:
    """A name from the file on one line, without quotes where it needs none."""
    return name if re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", name) else shown(name)


def shape(node: Node) -> str:
    match node:
        case ScalarNode():
            return "a single value"
        case SequenceNode():
            return "a list"
        case _:
            return "a mapping"


def line_of(node: Node) -> int:
    return node.start_mark.line + 1
