"""The kernel tells at once that an address of a host has come or gone."""

from __future__ import annotations

import sys

from tests.nodes import make_world

WATCHING = """
import select, subprocess
from smeg.edges.address_watch import AddressWatch

watch = AddressWatch()
assert not watch.changed()
for what in ("add", "del"):
    subprocess.run(["ip", "address", what, "192.0.2.7/32", "dev", "eth0"], check=True)
    readable, _, _ = select.select(watch.descriptors, (), (), 10)
    assert readable and watch.changed(), what
    assert not watch.changed()
watch.close()
assert watch.descriptors == () and not watch.changed()
print("told of both")
"""


def test_an_address_that_comes_and_one_that_goes_are_told() -> None:
    with make_world() as world:
        assert world.host("a").run([sys.executable, "-c", WATCHING]).stdout == "told of both\n"
