"""Where a node keeps its things when nothing else is said: all that the command line needs of the configuration.

Source: XDG Base Directory Specification 0.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from smeg.errors import LocalError

_CONTROL_SOCKET = "control.sock"


def usual_folders(root: bool, environ: Mapping[str, str]) -> tuple[Path, Path]:
    """`stateDir` and `runtimeDir`; relative XDG paths are ignored, as XDG demands. Raises `LocalError` (`no-home`)."""
    if root:
        return Path("/var/lib/smegmesh"), Path("/run/smegmesh")
    state, home, runtime = (environ.get(name, "") for name in ("XDG_STATE_HOME", "HOME", "XDG_RUNTIME_DIR"))
    if not state.startswith("/"):
        if not home.startswith("/"):
            raise LocalError("no-home", "neither HOME nor XDG_STATE_HOME is set", "set HOME, then try again")
        state = f"{home}/.local/state"
    state_dir = Path(state) / "smegmesh"
    # Not /tmp, which others can write to.
    runtime_dir = Path(runtime) / "smegmesh" if runtime.startswith("/") else state_dir / "run"
    return state_dir, runtime_dir


def control_socket(runtime_dir: Path) -> Path:
    """The control socket in a `runtimeDir`."""
    return runtime_dir / _CONTROL_SOCKET
