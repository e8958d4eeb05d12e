"""Whether packets are passed on for others: what is turned on, what is not, and what is said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smeg.errors import LocalError
from smeg.forwarding import Forwarding, Mode, Need, Setting, ensure

modes = st.sampled_from(Mode)
needs = st.builds(Need, st.booleans(), st.booleans())
states = st.builds(Forwarding, st.booleans(), st.sampled_from([None, False, True]))


class Kernel:
    """What can be switched, and was."""

    def __init__(self, found: Forwarding, refuses: bool = False) -> None:
        self.found = found
        self.refuses = refuses
        self.switched: list[Setting] = []

    def forwarding(self) -> Forwarding:
        return self.found

    def turn_on(self, setting: Setting) -> None:
        if self.refuses:
            raise LocalError("no-permission", "it cannot be written")
        self.switched.append(setting)
        assert setting is Setting.HOST or self.found.interface is False
        host = self.found.host or setting is Setting.HOST
        self.found = Forwarding(host, True if setting is Setting.INTERFACE else self.found.interface)


def passes(need: Need, found: Forwarding) -> bool:
    """As the kernel does it."""
    return found.host or (not need.beyond and (not need.between_members or bool(found.interface)))


@given(modes, needs, states)
def test_a_problem_is_said_exactly_when_packets_are_lost(mode: Mode, need: Need, found: Forwarding) -> None:
    kernel = Kernel(found)
    _, problems = ensure(kernel, mode, need, "smeg-home")
    assert [problem.code for problem in problems] == ([] if passes(need, kernel.found) else ["no-forwarding"])
    assert all("sysctl" in problem.hint for problem in problems)


@given(modes, needs, states)
def test_nothing_more_is_turned_on_than_is_needed_and_allowed(mode: Mode, need: Need, found: Forwarding) -> None:
    kernel = Kernel(found)
    ensure(kernel, mode, need, "smeg-home")
    if mode is Mode.NONE or passes(need, found) or not (need.between_members or need.beyond):
        assert kernel.switched == []
    if mode is Mode.MESH:
        assert Setting.HOST not in kernel.switched
    if mode is Mode.HOST:
        assert passes(need, kernel.found)
        assert len(kernel.switched) <= 1


@given(modes, needs, states)
def test_a_refusal_is_said_beside_what_it_leaves_undone(mode: Mode, need: Need, found: Forwarding) -> None:
    kernel = Kernel(found, refuses=True)
    setting, problems = ensure(kernel, mode, need, "smeg-home")
    assert setting is None
    assert kernel.found == found
    codes = [problem.code for problem in problems]
    assert codes in ([], ["no-forwarding"], ["no-permission", "no-forwarding"])
    assert ("no-forwarding" in codes) is not passes(need, found)
