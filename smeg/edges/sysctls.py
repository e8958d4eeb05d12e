"""The kernel's settings for passing packets on, as files under /proc/sys/net/ipv6/conf."""

from __future__ import annotations

from pathlib import Path

from smeg.errors import LocalError
from smeg.forwarding import Forwarding, Setting

CONF = Path("/proc/sys/net/ipv6/conf")
_ALSO_AS_ROUTER = "2"


def read_forwarding(interface: str) -> Forwarding:
    """What is on for the host and for an interface. Raises `LocalError`: `device-gone`, `device-failed`."""
    forced = _read(CONF / interface / "force_forwarding")
    return Forwarding(_read(CONF / "all" / "forwarding") == "1", None if forced is None else forced == "1")


def turn_on(setting: Setting, interface: str) -> None:
    """Raises `LocalError` with code `no-permission` where the settings cannot be written."""
    match setting:
        case Setting.INTERFACE:
            _write(CONF / interface / "force_forwarding", "1")
        case Setting.HOST:
            # A router does not believe other routers, and would lose the default route that it has from one.
            for folder in sorted(CONF.iterdir()):
                if _read(folder / "accept_ra") == "1":
                    _write(folder / "accept_ra", _ALSO_AS_ROUTER)
            _write(CONF / "all" / "forwarding", "1")


def _read(path: Path) -> str | None:
    """None where there is no such setting."""
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _write(path: Path, value: str) -> None:
    try:
        path.write_text(value)
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}"
        raise LocalError("no-permission", message, "run as root, and where /proc/sys may be written to") from error
