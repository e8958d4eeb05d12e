"""What a user asks a daemon that works and that it cannot do: one clear message each, and nothing changed by it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smeg.tokens import read_token
from tests.loopback import Daemon, end_at_last, form_mesh
from tests.nodes import wait_for


@pytest.fixture(scope="module")
def make() -> Iterator[Callable[..., Daemon]]:
    with end_at_last() as made:
        yield made


@pytest.fixture(scope="module")
def daemons(make: Callable[..., Daemon], tmp_path_factory: pytest.TempPathFactory) -> tuple[Daemon, Daemon]:
    """A founder and a member of `paris`; the founder is in `paradise` too."""
    folder = tmp_path_factory.mktemp("d")
    founder, member = make(folder / "founder"), make(folder / "member")
    founder.launch()
    member.start()
    wait_for("both answer", founder.answers, 20)
    form_mesh("paris", founder, member)
    form_mesh("paradise", founder)
    wait_for("they know each other", lambda: len(founder.members("paris")) == len(member.members("paris")) == 2, 10)
    return founder, member


@pytest.fixture(autouse=True)
def unharmed(daemons: tuple[Daemon, Daemon]) -> Iterator[None]:
    yield
    founder, member = daemons
    assert founder.is_whole("paris", "paradise")
    assert member.is_whole("paris")


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("new-mesh", "Paris"), "bad-name", "'Paris'"),
        (("new-mesh", "my mesh"), "bad-name", "'my mesh'"),
        (("new-mesh", ""), "bad-name", "''"),
        (("new-mesh", "a" * 64), "bad-name", "at most 63"),
        (("new-mesh", "../../etc/passwd"), "bad-name", "'../../etc/passwd'"),
        (("new-mesh", "paris\n"), "bad-name", "'paris\\n'"),
        (("new-mesh", "paris"), "name-taken", "paris"),
        (("members", "london"), "unknown-mesh", "'london'"),
        (("members", ""), "unknown-mesh", "paris"),
        (("plan", "london"), "unknown-mesh", "paradise, paris"),
        (("invite", "london"), "unknown-mesh", "'london'"),
        (("leave-mesh", "london"), "unknown-mesh", "'london'"),
        (("status", "london"), "unknown-mesh", "'london'"),
        (("members", "par"), "ambiguous-mesh", "paradise"),
        (("leave-mesh", "par"), "ambiguous-mesh", "paris"),
        (("invite", "pa"), "ambiguous-mesh", "give more"),
        (("evict", "par", "member"), "ambiguous-mesh", "paris"),
        (("evict", "paris", "nobody"), "unknown-node", "'nobody'"),
        (("evict", "paris", ""), "bad-argument", "no node was named"),
        (("evict", "paris", "founder"), "evict-self", "leave-mesh"),
        (("invite", "paris", "--uses", "100001"), "bad-argument", "100000"),
        (("invite", "paris", "--expires", "9999d"), "bad-argument", "expires"),
    ],
)
def test_what_the_founder_asks_in_vain(
    daemons: tuple[Daemon, Daemon], argv: tuple[str, ...], code: str, words: str
) -> None:
    said = daemons[0].refuses(*argv)
    assert said.code == code
    assert words in str(said)


@pytest.mark.parametrize("argv", [("invite", "paris"), ("evict", "paris", "founder")])
def test_who_is_no_admin_hears_where_one_is(daemons: tuple[Daemon, Daemon], argv: tuple[str, ...]) -> None:
    said = daemons[1].refuses(*argv)
    assert said.code == "not-an-admin"
    assert "paris" in said.message
    assert "admin.key" in said.hint


def test_an_invitation_into_a_file_that_exists_or_cannot_be_made(
    daemons: tuple[Daemon, Daemon], tmp_path: Path
) -> None:
    (tmp_path / "there").write_text("mine")
    assert daemons[0].refuses("invite", "paris", "--output", str(tmp_path / "there")).code == "file-exists"
    assert (tmp_path / "there").read_text() == "mine"
    assert daemons[0].refuses("invite", "paris", "--output", str(tmp_path / "no" / "t")).code == "file-failed"
    assert daemons[0].refuses("invite", "london", "--output", str(tmp_path / "new")).code == "unknown-mesh"
    assert not (tmp_path / "new").exists()


def test_leaving_twice(daemons: tuple[Daemon, Daemon]) -> None:
    founder, member = daemons
    form_mesh("twice", founder, member)
    first, second = member.popen("leave-mesh", "twice"), member.popen("leave-mesh", "twice")
    results = [process.communicate() for process in (first, second)]
    assert {first.returncode, second.returncode} == {0, 1}, results
    assert member.refuses("leave-mesh", "twice").code == "unknown-mesh"
    founder.ask("leave-mesh", mesh="twice")
    set_aside(founder)


def set_aside(daemon: Daemon) -> list[Path]:
    """The folders of meshes that were left, moved out of the way of what other tests look at."""
    found = sorted((daemon.state / "meshes").glob("*.left-*"))
    (daemon.folder / "moved").mkdir(exist_ok=True)
    return [path.rename(daemon.folder / "moved" / path.name) for path in found]


def test_who_leaves_a_mesh_that_it_founded_is_told_where_the_keys_are_and_they_still_rule(
    daemons: tuple[Daemon, Daemon],
) -> None:
    founder, member = daemons
    mesh = form_mesh("ours", founder, member)
    folder = founder.state / "meshes" / mesh
    keys = {name: (folder / name).read_bytes() for name in ("root.key", "admin.key")}
    with founder.popen("leave-mesh", "ours") as process:
        stdout, _ = process.communicate()
    assert process.returncode == 0
    kept = folder.with_name(f"{mesh}.left-1")
    assert f'"keys": "{kept}"' in stdout
    assert not folder.exists()
    assert {path.name for path in kept.iterdir()} == {"root.key", "admin.key", "mesh.json"}
    assert {name: (kept / name).read_bytes() for name in keys} == keys
    assert all(path.stat().st_mode & 0o077 == 0 for path in (kept, *kept.iterdir()))
    assert founder.refuses("members", "ours").code == "unknown-mesh"

    # Neither a restart nor joining again touches them; with the admin's key the member can invite.
    assert founder.stop() == 0
    founder.start()
    assert member.stop() == 0
    (member.state / "meshes" / mesh / "admin.key").write_bytes(keys["admin.key"])
    (member.state / "meshes" / mesh / "admin.key").chmod(0o600)
    member.start()
    assert member.meshes().keys() == {"paris", "ours"}
    wait_for("the mesh is back", lambda: member.meshes()["ours"]["state"] == "active", 10)
    token = member.invite("ours")
    assert read_token(token).mesh == mesh
    founder.does("join-mesh", "-", input=token)
    wait_for("it is back", lambda: "founder" in member.members("ours"), 10)
    assert {name: (kept / name).read_bytes() for name in keys} == keys
    assert "keys" not in founder.does("leave-mesh", "ours")
    assert set_aside(founder) != []
    member.ask("leave-mesh", mesh="ours")
    set_aside(member)
    wait_for("all is as before", lambda: founder.is_whole("paris", "paradise"), 10)
    wait_for("all is as before", lambda: member.is_whole("paris"), 10)


def test_a_command_is_answered_fast_and_by_text_too(daemons: tuple[Daemon, Daemon]) -> None:
    started = time.monotonic()
    status, stdout, _ = daemons[0].cli("status")
    assert status == 0
    assert '"healthy": true' in stdout
    assert time.monotonic() - started < 2
