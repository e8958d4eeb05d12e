"""Names of interfaces: for people to tell apart, in the bytes that Linux gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smeg.device import MAX_INTERFACE_NAME
from smeg.naming import interface_name
from tests.builders import QUICK

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
MESHES = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=32, max_size=32)


def test_a_short_name_is_kept_whole() -> None:
    assert interface_name("paris", "a" * 32, set()) == "smeg-paris"


def test_a_long_name_keeps_its_beginning_and_gets_a_part_of_the_mesh_id() -> None:
    assert interface_name("headquarters-paris", "q37o2ahlruknqqqqqqqqqqqqqqqqqqqq", set()) == "smeg-headqu-q37"


@QUICK
@given(st.lists(st.tuples(NAMES, MESHES), max_size=20, unique_by=lambda pair: pair[1]))
def test_meshes_of_one_node_have_different_interfaces_that_linux_takes(meshes: list[tuple[str, str]]) -> None:
    taken: set[str] = set()
    for name, mesh in meshes:
        found = interface_name(name, mesh, taken)
        assert found not in taken
        assert found.startswith("smeg-")
        assert len(found.encode()) <= MAX_INTERFACE_NAME
        taken.add(found)
