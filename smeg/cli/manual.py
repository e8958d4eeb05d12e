"""The manual page of a group of commands, from their own help. Source of the format: man(7), groff_char(7)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from smeg import __version__

_SHARED = ("socket", "json", "format", "timeout", "help")
_FILES = (
    ("/etc/smegmesh/node.yaml", "The configuration, where the examples keep it."),
    ("/run/smegmesh/control.sock", "The socket of root's smeg-node; another user's is in $XDG_RUNTIME_DIR/smegmesh."),
)


def manual_page(program: click.Group, name: str) -> str:
    """The page as text for man."""
    context = click.Context(program, info_name=name)
    paragraphs = _paragraphs(program)
    lines = [
        f'.TH {name.upper()} 1 "" "smegmesh {__version__}" "User Commands"',
        ".SH NAME",
        f"{_text(name)} \\- {_text(_first_sentence(paragraphs[0]))}",
        ".SH SYNOPSIS",
        f".B {_text(name)}",
        "[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]",
        ".SH DESCRIPTION",
    ]
    lines += _apart(paragraphs)
    lines.append(".SH COMMANDS")
    for command_name, command in program.commands.items():
        lines += _command(command, click.Context(command, info_name=command_name, parent=context), command_name)
    lines += [".SH OPTIONS OF EVERY COMMAND", "They may stand before the command or after it."]
    for option in program.params:
        lines += _option(option, context)
    lines.append(".SH FILES")
    for path, meaning in _FILES:
        lines += [".TP", f"\\fI{_text(path)}\\fR", _text(meaning)]
    lines += [".SH ENVIRONMENT", ".TP", "\\fBNO_COLOR\\fR", "If it is set, nothing is coloured; see no\\-color.org."]
    return "\n".join([*lines, ""])


def _command(command: click.Command, context: click.Context, name: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        for inner_name, inner in command.commands.items():
            within = click.Context(inner, info_name=inner_name, parent=context)
            yield from _command(inner, within, f"{name} {inner_name}")
        return
    arguments = [p.make_metavar(context) for p in command.params if isinstance(p, click.Argument)]
    own = [p for p in command.params if isinstance(p, click.Option) and p.name not in _SHARED and not p.hidden]
    options = " [\\fIOPTIONS\\fR]" if own else ""
    yield f".SS {_text(' '.join([name, *arguments]))}{options}"
    yield from _apart(_paragraphs(command))
    for option in own:
        yield from _option(option, context)


def _option(option: click.Parameter, context: click.Context) -> Iterator[str]:
    record = option.get_help_record(context)
    if record is not None:
        names, words = record
        yield from (".TP", f"\\fB{_text(names)}\\fR", _text(" ".join(words.split())) or "\\&")


def _apart(paragraphs: list[str]) -> Iterator[str]:
    for number, paragraph in enumerate(paragraphs):
        yield from ([".PP"] if number else [])
        yield _text(paragraph) or "\\&"


def _paragraphs(command: click.Command) -> list[str]:
    text = inspect.cleandoc(command.help or "")
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)] or [""]


def _first_sentence(text: str) -> str:
    sentence = text.split(". ")[0].rstrip(".")
    return sentence[:1].lower() + sentence[1:]


def _text(text: str) -> str:
    """So that roff prints it as it is: no letter is a command, and a dash stays one that can be copied."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    escaped = escaped.replace("^", "\\(ha").replace("~", "\\(ti")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
