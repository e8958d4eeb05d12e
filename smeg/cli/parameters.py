"""Arguments that are more than text: times, prefixes. Each is checked before the daemon is asked.

These are click types as plain functions: each takes what was typed and raises `click.BadParameter`.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Network

import click

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")


def duration(text: str) -> int:
    """`90s`, `10m`, `24h`, `7d`: seconds, at least one."""
    found = _DURATION.fullmatch(text)
    if found is None or not int(found[1]):
        raise click.BadParameter(f"{text!r} is not a duration such as 90s, 10m, 24h or 7d")
    return int(found[1]) * _UNITS[found[2]]


def seconds(text: str) -> float:
    """A time to wait, from 0.01 to 3600 seconds."""
    try:
        number = float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a number of seconds") from None
    if not 0.01 <= number <= 3600:
        raise click.BadParameter(f"{text!r} is not from 0.01 to 3600 seconds")
    return number


def prefix(text: str) -> str:
    """An IPv6 prefix, with no bit set beyond its length, in canonical form."""
    try:
        return str(IPv6Network(text))
    except ValueError as error:
        raise click.BadParameter(f"not an IPv6 prefix: {error}") from None
