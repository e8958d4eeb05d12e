"""Where the command line reads a token from: never argv, never the environment.

A token is text here; whether it is a good one is the daemon's to say. No token gets into an error.
"""

from __future__ import annotations

import os
import re
import sys

import click

from smeg.errors import LocalError

MAX_TOKEN = 32 * 1024
"""bytes that are read; a request has room for them."""
_LOOKS_LIKE_TOKEN = re.compile(r"smeg\d+\..*|[A-Za-z0-9_=-]{100,}", re.DOTALL)


def read_token(source: str | None) -> str:
    """The token in the file `source`, on standard input for `-`, or typed unseen for None, without its blanks.

    Raises `LocalError` (`token-unreadable`), `click.UsageError` when there is nowhere to read from, or when the token
    itself was given for the file.
    """
    if source is None:
        if not sys.stdin.isatty():
            raise click.UsageError("no token: name the file that holds it, or - for standard input")
        data = click.prompt("Token", hide_input=True, err=True, type=str).encode("utf-8", "surrogateescape")
    elif source == "-":
        data = sys.stdin.buffer.read(MAX_TOKEN + 1)
    else:
        data = _read_file(source)
    if len(data) > MAX_TOKEN:
        raise LocalError("token-unreadable", "this is too long for a token", "give only the one line")
    try:
        token = "".join(data.decode("ascii").split())
    except UnicodeDecodeError:
        raise LocalError("token-unreadable", "this holds what no token does", "give only the one line") from None
    if not token:
        raise LocalError("token-unreadable", "there is no token in it", "give the line that `smeg-cli invite` wrote")
    return token


def _read_file(source: str) -> bytes:
    if _LOOKS_LIKE_TOKEN.fullmatch(source) and not _exists(source):
        raise click.UsageError(
            "a token was given as an argument, where every user of this machine can see it; give it in a file, or by"
            " - on standard input. If somebody may have seen it, have a new one made"
        )
    try:
        with open(source, "rb") as file:
            return file.read(MAX_TOKEN + 1)
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else "not a file name"
        message = f"cannot read a token from {source}: {words}"
        raise LocalError("token-unreadable", message, "name the file that holds it, or - for standard input") from None


def _exists(source: str) -> bool:
    try:
        return os.path.lexists(source)
    except ValueError:
        return False
