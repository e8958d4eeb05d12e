"""How every command begins and ends: the options it shares, the question to the daemon, exit status and errors.

A command exits with 0 when it did what it says, 1 when it failed, 2 when it was typed wrongly; it never ends in a
traceback. Errors go to standard error as text and, with --json, to standard output as an object. No token that was
typed by mistake is repeated.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import orjson
from click.exceptions import NoArgsIsHelpError

from smeg.cli.old_names import modernised
from smeg.cli.parameters import seconds
from smeg.cli.tables import clean, painted
from smeg.edges.control import call
from smeg.errors import Problem, SmegError
from smeg.folders import control_socket, usual_folders

FAILED, USAGE, UNHEALTHY, INTERRUPTED = 1, 2, 3, 130
TABLE = "table"
MACHINES = ("json", "yaml")
FORMATS = (TABLE, *MACHINES)
_TIMEOUT = 10.0
"""seconds."""
_COLOURS = {"error": "red", "hint": "cyan", "done": "green"}
_NEXT = "`smeg-cli status` shows how smeg-node does"
"""What to do next where the daemon does not say."""
_TOKEN = re.compile(r"(smeg\d+\.)[\w-]+")

_F = TypeVar("_F", bound=Callable[..., Any])
Ask = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""A command and its arguments to the daemon, and what it answers; raises `SmegError`."""


@dataclass(slots=True)
class Settings:
    """What the shared options say; they may stand before the command and after it."""

    socket: Path | None = None
    json: bool = False
    """The same as the format `json`."""
    format: str | None = None
    """One of `FORMATS`, or of the command's own; None is what suits the command."""
    timeout: float | None = None
    """seconds."""

    @property
    def machine(self) -> str | None:
        """`json` or `yaml` where a program reads the result, None where a person does."""
        return "json" if self.json else self.format if self.format in MACHINES else None

    def ask(self, command: str, arguments: Mapping[str, Any], timeout: float = _TIMEOUT) -> dict[str, Any]:
        """The daemon's result, within --timeout or else `timeout` seconds. Raises `SmegError`."""
        path = self.socket or default_socket()
        return call(path, command, arguments, timeout if self.timeout is None else self.timeout)

    def show(self, result: Mapping[str, Any], view: Callable[[Mapping[str, Any]], None]) -> None:
        """A result on standard output: as it is with --json or --format, else as `view` writes it."""
        if self.machine is None:
            view(result)
        else:
            self.write(result)

    def write(self, content: object) -> None:
        """Something as JSON or YAML, whichever was asked for."""
        if self.machine == "yaml":
            write_yaml(content)
        else:
            write_json(content)


def default_socket() -> Path:
    """The socket of this user's daemon; of root's when this user has none and root has."""
    own = control_socket(usual_folders(os.geteuid() == 0, os.environ)[1])
    roots = control_socket(usual_folders(True, {})[1])
    return roots if not own.exists() and roots.parent.exists() else own


def write_json(content: object) -> None:
    click.echo(orjson.dumps(content, option=orjson.OPT_INDENT_2))


def write_yaml(content: object) -> None:
    # Slow to import.
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    click.echo(yaml.dump(content, Dumper=dumper, sort_keys=False, allow_unicode=True, width=1000), nl=False)


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    settings = context.ensure_object(Settings)
    if value not in (None, False) and parameter.name is not None:
        setattr(settings, parameter.name, value)


def shared_options(command: _F, formats: Sequence[str] = FORMATS) -> _F:
    """Gives a command --socket, --json, --format and --timeout, kept in the context's `Settings`."""
    for option in (
        click.option("--timeout", type=seconds, metavar="SECONDS", expose_value=False,
                     callback=_remember, help="How long to wait for the daemon's answer."),
        click.option("--format", type=click.Choice(formats), expose_value=False, callback=_remember,
                     help="How the result is written."),
        click.option("--json", is_flag=True, expose_value=False, callback=_remember, help="Write JSON."),
        click.option("--socket", type=click.Path(path_type=Path), metavar="PATH", expose_value=False,
                     callback=_remember, help="The daemon's control socket."),
    ):  # fmt: skip
        command = option(command)
    return command


class Program(click.Group):
    """A group of commands that ends as said above."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A terminal that cannot show a letter gets its code.
                stream.reconfigure(errors="backslashreplace")
        typed = list(sys.argv[1:] if args is None else args)
        machine = _machine(typed)
        try:
            status = super().main(modernised(typed), prog_name or "smeg-cli", complete_var, False, **extra)
            sys.stdout.flush()
        except BrokenPipeError:
            _leave_silently(FAILED)
        except (click.Abort, KeyboardInterrupt):
            _leave_silently(INTERRUPTED)
        except NoArgsIsHelpError as error:
            error.show()
            sys.exit(USAGE)
        except Exception as error:
            _fail(error, machine)
        sys.exit(status if isinstance(status, int) else 0)


def _machine(typed: Sequence[str]) -> str | None:
    """The format that an error gets, also where the arguments make no sense otherwise."""
    if "--json" in typed:
        return "json"
    pairs = {*pairwise(typed), *(word.partition("=")[::2] for word in typed)}
    return next((name for name in MACHINES if ("--format", name) in pairs), None)


def _fail(error: Exception, machine: str | None) -> NoReturn:
    problem, status = _problem(error)
    try:
        if machine is not None:
            said = {"code": problem.code, "message": problem.message, "hint": problem.hint}
            write = write_yaml if machine == "yaml" else write_json
            write({"error": {name: without_token(text) for name, text in said.items()}})
        report("error", problem.message)
        if problem.hint:
            report("hint", problem.hint)
    except BrokenPipeError:
        _leave_silently(status)
    sys.exit(status)


def _problem(error: Exception) -> tuple[Problem, int]:
    match error:
        case SmegError():
            return replace(error.problem, hint=error.problem.hint or _NEXT), FAILED
        case click.ClickException():
            context = error.ctx if isinstance(error, click.UsageError) else None
            name = context.command_path if context is not None else "smeg-cli"
            return Problem("usage", error.format_message(), f"`{name} --help` says how it is used"), error.exit_code
        case OSError(strerror=str(words)):
            message = f"{words}: {error.filename}" if error.filename else words
            return Problem("system", message, "`smeg-cli doctor` looks at this host"), FAILED
        case _:
            # Not its words: they may hold what was handed in.
            return Problem("internal", f"smeg-cli itself failed: {type(error).__name__}", "please report this"), FAILED


def report(label: str, text: str) -> None:
    """`label: text` on standard error, whatever characters the text holds."""
    shown, blank = painted(label, _COLOURS.get(label, "cyan"), err=True), " " * len(label)
    for number, line in enumerate(text.split("\n")):
        click.echo(f"{blank if number else shown}: {clean(without_token(line))}", err=True)


def without_token(text: str) -> str:
    """What looks like a token is cut short."""
    return _TOKEN.sub(r"\1…", text)


def _leave_silently(status: int) -> NoReturn:
    # The interpreter flushes once more when it ends, and would complain there.
    with suppress(OSError, ValueError, io.UnsupportedOperation):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    sys.exit(status)
