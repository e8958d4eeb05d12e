"""Opens the WireGuard backend that the configuration names, or with `auto` the first real one that works.

`auto` never falls back to the one in memory: a mesh that carries no traffic must not look like one that does.
"""

from __future__ import annotations

from smeg.device import Backend, InterfaceSpec
from smeg.edges.dry_run import DryRunBackend
from smeg.edges.kernel import KernelBackend
from smeg.edges.userspace import UserspaceBackend
from smeg.errors import LocalError

KINDS = ("auto", "kernel", "userspace", "dry-run")

_NEXT_MAY_DO = ("no-backend", "no-permission", "interface-taken")
"""After these `auto` tries the next; anything else, like a port in use, would be no better there."""


def open_backend(kind: str, program: str, spec: InterfaceSpec) -> Backend:
    """An opened backend of `kind`, one of `KINDS`; `program` is what the userspace one starts.

    Raises `LocalError`: what `Backend.open` raises, and `bad-backend` for an unknown kind. For `auto`: `no-permission`
    when that is all that is missing, `interface-taken` when a name clash is, else `no-backend` with all reasons.
    """
    match kind:
        case "auto":
            return _first_that_works(program, spec)
        case "kernel":
            return _opened(KernelBackend(), spec)
        case "userspace":
            return _opened(UserspaceBackend(program), spec)
        case "dry-run":
            return _opened(DryRunBackend(), spec)
    raise LocalError("bad-backend", f"there is no WireGuard backend {kind!r}", f"choose one of {', '.join(KINDS)}")


def _opened(backend: Backend, spec: InterfaceSpec) -> Backend:
    backend.open(spec)
    return backend


def _first_that_works(program: str, spec: InterfaceSpec) -> Backend:
    refusals: list[LocalError] = []
    for backend in (KernelBackend(), UserspaceBackend(program)):
        try:
            return _opened(backend, spec)
        except LocalError as error:
            if error.problem.code not in _NEXT_MAY_DO:
                raise
            refusals.append(error)
    taken = [refusal.problem for refusal in refusals if refusal.problem.code == "interface-taken"]
    if taken:
        raise LocalError("interface-taken", "; ".join(problem.message for problem in taken), taken[0].hint)
    if all(refusal.problem.code == "no-permission" for refusal in refusals):
        raise refusals[0]
    kernel, userspace = (refusal.problem.message for refusal in refusals)
    raise LocalError(
        "no-backend",
        f"no WireGuard for {spec.name}: the kernel says: {kernel}; userspace says: {userspace}",
        "install a kernel with the wireguard module, or the program wireguard-go, which needs /dev/net/tun",
    )
