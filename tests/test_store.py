"""What is acknowledged is on disk, what is damaged is set aside and said, and keys outlive everything."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smeg.device import Endpoint
from smeg.edges.document_table import MAX_DAMAGED
from smeg.edges.store import Store
from smeg.errors import LocalError
from smeg.keys import Secret, wireguard_text
from smeg.messages import Loaded
from smeg.stored import Contact, StoredMesh
from tests.test_keyfiles import MEMORY, NO_FSYNC, ROOT, run

ID, OTHER = "a2" * 16, "b3" * 16


def seed(number: int) -> Secret:
    return Secret(blake2b(b"seed%d" % number, digest_size=32).digest())


def digest(document: bytes) -> bytes:
    return blake2b(document, digest_size=32).digest()


def mesh(
    id_: str = ID, *, root: Secret | None = None, admin: Secret | None = None, documents: tuple[bytes, ...] = ()
) -> StoredMesh:
    contact = Contact(bytes(range(32)), (Endpoint("2001:db8::1", 51820), Endpoint("198.51.100.7", 1)))
    admission = (b"root's child", b"\x00\xff" * 50)
    key = bytes(range(1, 33))
    return StoredMesh(id_, "häuser", key, "smeg0", 51820, seed(1), admission, (contact,), root, admin, documents)


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    store = Store(folder, os.urandom)
    try:
        yield store
    finally:
        store.close()


def load(folder: Path) -> Loaded:
    with opened(folder) as store:
        return store.load()


def keep(folder: Path, *meshes: StoredMesh) -> None:
    with opened(folder) as store:
        store.load()
        for one in meshes:
            store.save_mesh(one)


def refused(folder: Path) -> LocalError:
    with pytest.raises(LocalError) as caught:
        load(folder)
    return caught.value


def codes(loaded: Loaded) -> list[str]:
    return [problem.code for problem in loaded.problems]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Keeping and forgetting


def test_first_use_makes_keys_that_every_restart_finds_again(tmp_path: Path) -> None:
    first = load(tmp_path / "state")
    assert first.identity != first.curve
    assert first.meshes == ()
    assert first.problems == ()
    assert load(tmp_path / "state") == first
    for name in ("identity.key", "curve.key", "state.db"):
        assert stat.S_IMODE((tmp_path / "state" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_keys_come_from_the_given_entropy(tmp_path: Path) -> None:
    store = Store(tmp_path / "state", random.Random(3).randbytes)
    expected = random.Random(3)
    loaded = store.load()
    assert [loaded.identity, loaded.curve] == [Secret(expected.randbytes(32)), Secret(expected.randbytes(32))]
    store.close()


def test_a_mesh_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    own = mesh(root=seed(2), admin=seed(3), documents=(b"z", b"\x00", b"a" * 8000))
    bare = replace(mesh(OTHER), contacts=(), admission=())
    keep(tmp_path / "state", own, bare)
    assert load(tmp_path / "state").meshes == (own, bare)
    folder = tmp_path / "state" / "meshes" / ID
    assert sorted(os.listdir(folder)) == ["admin.key", "mesh.json", "root.key", "wireguard.key"]
    assert (folder / "wireguard.key").read_text() == wireguard_text(seed(1).reveal()) + "\n"
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_one_mesh_can_be_read_again(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as store:
        store.load()
        store.save_mesh(mesh(documents=(b"1",)))
        store.save_mesh(mesh(OTHER, documents=(b"2",)))
        assert store.load_mesh(OTHER) == mesh(OTHER, documents=(b"2",))
        (tmp_path / "state" / "meshes" / OTHER / "mesh.json").write_text("{}")
        with pytest.raises(LocalError) as caught:
            store.load_mesh(OTHER)
    assert caught.value.problem.code == "mesh-damaged"


def test_a_changed_mesh_replaces_the_old_one_and_its_documents_add_up(tmp_path: Path) -> None:
    changed = replace(mesh(documents=(b"2",)), name="new", wireguard=seed(9), contacts=(), listen_port=0)
    keep(tmp_path / "state", mesh(documents=(b"1",)), changed)
    assert load(tmp_path / "state").meshes == (replace(changed, documents=(b"1", b"2")),)


def test_a_seed_that_is_not_given_leaves_the_key_file_alone(tmp_path: Path) -> None:
    keep(tmp_path / "state", mesh(root=seed(2), admin=seed(3)), mesh())
    assert load(tmp_path / "state").meshes == (mesh(root=seed(2), admin=seed(3)),)


def test_a_root_key_that_its_owner_moved_away_is_not_missed(tmp_path: Path) -> None:
    keep(tmp_path / "state", mesh(root=seed(2)))
    (tmp_path / "state" / "meshes" / ID / "root.key").unlink()
    loaded = load(tmp_path / "state")
    assert loaded.meshes == (mesh(),)
    assert loaded.problems == ()


def test_documents_are_kept_once_and_replaced_by_their_hash(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as store:
        store.load()
        store.save_mesh(mesh())
        store.save_mesh(mesh(OTHER, documents=(b"old",)))
        store.save_documents(ID, (b"old", b"kept", b"old"))
        store.save_documents(ID, (b"kept",))
        store.replace_documents(ID, (digest(b"old"), digest(b"never known"), digest(b"same")), (b"new", b"same"))
    loaded = load(tmp_path / "state")
    assert [one.documents for one in loaded.meshes] == [(b"kept", b"new", b"same"), (b"old",)]


def test_forgetting_leaves_nothing_and_the_other_meshes(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as store:
        store.load()
        store.save_mesh(mesh(documents=(b"1",)))
        store.save_mesh(mesh(OTHER, documents=(b"2",)))
        assert store.forget_mesh(ID) is None
        assert store.forget_mesh(ID) is None
        assert os.listdir(tmp_path / "state" / "meshes") == [OTHER]
        with pytest.raises(LocalError) as caught:
            store.save_documents(ID, (b"late",))
        assert caught.value.problem.code == "mesh-unknown"
        store.save_mesh(mesh())
    loaded = load(tmp_path / "state")
    assert loaded.meshes == (mesh(), mesh(OTHER, documents=(b"2",)))
    assert loaded.problems == ()


@pytest.mark.parametrize("stems", [{"root", "admin"}, {"root"}, {"admin"}])
def test_forgetting_sets_the_keys_of_a_meshs_authority_aside_as_often_as_it_takes(
    tmp_path: Path, stems: set[str]
) -> None:
    folder = tmp_path / "state" / "meshes"
    with opened(tmp_path / "state") as store:
        store.load()
        for number in (1, 2):
            root, admin = (seed(at + number) if stem in stems else None for at, stem in ((20, "root"), (30, "admin")))
            store.save_mesh(mesh(root=root, admin=admin, documents=(b"1",)))
            keys = {f"{stem}.key": (folder / ID / f"{stem}.key").read_bytes() for stem in stems}
            kept = store.forget_mesh(ID)
            assert kept == folder / f"{ID}.left-{number}"
            assert {path.name for path in kept.iterdir()} == {"mesh.json", *keys}
            assert {name: (kept / name).read_bytes() for name in keys} == keys
            assert store.forget_mesh(ID) is None
    loaded = load(tmp_path / "state")
    assert (loaded.meshes, loaded.problems) == ((), ())
    assert len(list(folder.glob("*/*.key"))) == 2 * len(stems)


def test_forgetting_removes_the_keys_of_a_mesh_that_was_never_really_founded(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "meshes" / ID
    with opened(tmp_path / "state") as store:
        store.load()
        store.save_mesh(mesh(root=seed(2), admin=seed(3)))
        (folder / "mesh.json").unlink()
        assert store.forget_mesh(ID) is None
    assert os.listdir(folder.parent) == []


@pytest.mark.parametrize("name", ["", "..", "A2", "a1", "a" * 64, "a/b", "a\n", "a2\n", "ä", "../../etc"])
def test_what_is_no_mesh_id_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    with opened(tmp_path / "state") as store:
        store.load()
        before = everything(tmp_path)
        for action in (store.forget_mesh, store.load_mesh, lambda id_: store.save_documents(id_, (b"1",))):
            with pytest.raises(LocalError):
                action(name)
        with pytest.raises(LocalError) as caught:
            store.save_mesh(mesh(name))
        assert caught.value.problem.code == "mesh-invalid"
        assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "wrong",
    [
        replace(mesh(), name=""),
        replace(mesh(), name="\ud800"),
        replace(mesh(), interface="../../x"),
        replace(mesh(), interface=".."),
        replace(mesh(), interface="sixteen-letters-"),
        replace(mesh(), listen_port=65536),
        replace(mesh(), listen_port=-1),
        replace(mesh(), root=bytes(31)),
        replace(mesh(), admission=(b"",)),
        replace(mesh(), admission=(b"x",) * 4097),
        replace(mesh(), admission=(bytes(1 << 20),)),
        replace(mesh(), contacts=(Contact(bytes(5), ()),)),
        replace(mesh(), contacts=(Contact(bytes(32), (Endpoint("", 1),)),)),
        replace(mesh(), documents=(b"",)),
        replace(mesh(), documents=(bytes(50_000),)),
    ],
)
def test_what_could_not_be_read_again_is_not_saved(tmp_path: Path, wrong: StoredMesh) -> None:
    with opened(tmp_path / "state") as store:
        store.load()
        with pytest.raises(LocalError) as caught:
            store.save_mesh(wrong)
        assert caught.value.problem.code == "mesh-invalid"
    assert load(tmp_path / "state").meshes == ()


# Who may


def test_a_second_store_on_the_same_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as store:
        store.load()
        assert refused(tmp_path / "state").problem.code == "already-running"
        store.save_mesh(mesh())
    assert load(tmp_path / "state").meshes == (mesh(),)


def test_after_close_nothing_is_written(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as store:
        store.load()
        store.save_mesh(mesh())
    for action in (store.load, lambda: store.save_documents(ID, (b"1",)), lambda: store.forget_mesh(ID)):
        with pytest.raises(LocalError):
            action()
    assert not (tmp_path / "state" / "lock").exists()


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    load(tmp_path / "state")
    (tmp_path / "state").chmod(0o755)
    error = refused(tmp_path / "state")
    assert error.problem.code == "folder-exposed"
    assert error.problem.hint == f"chmod 700 {tmp_path / 'state'}"


@pytest.mark.parametrize("name", ["identity.key", "curve.key", "wireguard.key", "admin.key", "root.key"])
def test_any_exposed_key_file_keeps_the_store_from_loading_and_nothing_is_moved(tmp_path: Path, name: str) -> None:
    keep(tmp_path / "state", mesh(root=seed(2), admin=seed(3)))
    (path,) = (tmp_path / "state").rglob(name)
    path.chmod(0o644)
    before = everything(tmp_path)
    error = refused(tmp_path / "state")
    assert error.problem.code == "key-file-exposed"
    assert error.problem.hint == f"chmod 600 {path}"
    assert everything(tmp_path) == before
    path.chmod(0o600)
    assert load(tmp_path / "state").meshes == (mesh(root=seed(2), admin=seed(3)),)


@pytest.mark.parametrize("name", ["identity.key", "curve.key"])
def test_own_keys_are_never_made_anew_while_a_mesh_relies_on_them(tmp_path: Path, name: str) -> None:
    keep(tmp_path / "state", mesh())
    (tmp_path / "state" / name).write_bytes(b"garbage\n")
    assert refused(tmp_path / "state").problem.code == "key-file-damaged"
    (tmp_path / "state" / name).unlink()
    assert refused(tmp_path / "state").problem.code == "key-file-missing"


# Unfinished and damaged meshes


def test_an_unfinished_join_is_removed_and_its_documents_with_it(tmp_path: Path) -> None:
    keep(tmp_path / "state", mesh(documents=(b"1",)), mesh(OTHER))
    folder = tmp_path / "state" / "meshes" / ID
    (folder / "mesh.json").unlink()
    (folder / ".mesh.json.0123456789ab.tmp").write_bytes(b"{")
    loaded = load(tmp_path / "state")
    assert loaded.meshes == (mesh(OTHER),)
    assert loaded.problems == ()
    assert os.listdir(tmp_path / "state" / "meshes") == [OTHER]
    keep(tmp_path / "state", mesh())
    assert load(tmp_path / "state").meshes == (mesh(), mesh(OTHER))


@pytest.mark.parametrize("name", ["root.key", "admin.key"])
def test_a_folder_with_authority_over_a_mesh_is_renamed_and_never_removed(tmp_path: Path, name: str) -> None:
    keep(tmp_path / "state", mesh())
    folder = tmp_path / "state" / "meshes" / ID
    (folder / "mesh.json").unlink()
    for number in (1, 2):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text("precious")
        loaded = load(tmp_path / "state")
        assert codes(loaded) == ["mesh-damaged"]
        assert loaded.meshes == ()
        aside = folder.with_name(f"{ID}.damaged-{number}")
        assert (aside / name).read_text() == "precious"
        assert aside.name in loaded.problems[0].message
    assert codes(load(tmp_path / "state")) == []


DAMAGED_DESCRIPTIONS = {
    "empty": b"",
    "cut": b'{"format": 1, "id": "',
    "no object": b"[1]",
    "not text": b"\xff\xfe",
    "format": b'{"format": "1"}',
    "missing": b'{"format": 1}',
}


@pytest.mark.parametrize("content", DAMAGED_DESCRIPTIONS.values(), ids=DAMAGED_DESCRIPTIONS.keys())
def test_a_damaged_description_sets_its_mesh_aside_and_the_others_load(tmp_path: Path, content: bytes) -> None:
    keep(tmp_path / "state", mesh(documents=(b"1",)), mesh(OTHER, documents=(b"2",)))
    folder = tmp_path / "state" / "meshes" / ID
    whole = (folder / "mesh.json").read_bytes()
    (folder / "mesh.json").write_bytes(content)
    loaded = load(tmp_path / "state")
    assert loaded.meshes == (mesh(OTHER, documents=(b"2",)),)
    assert codes(loaded) == ["mesh-damaged"]
    aside = folder.with_name(f"{ID}.damaged-1")
    assert sorted(os.listdir(aside)) == ["mesh.json", "wireguard.key"]
    (aside / "mesh.json").write_bytes(whole)
    aside.rename(folder)
    assert load(tmp_path / "state").meshes == (mesh(documents=(b"1",)), mesh(OTHER, documents=(b"2",)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_changed_description_ever_loads_as_something_impossible(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        state = Path(folder) / "state"
        keep(state, mesh())
        path = state / "meshes" / ID / "mesh.json"
        body = json.loads(path.read_text())
        place: object = body
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
                place[key] = data.draw(st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(st.text())))
                break
            place = place[key]
        path.write_text(json.dumps(body))
        loaded = load(state)
        for one in loaded.meshes:
            keep(state, one)
        assert [one.id for one in loaded.meshes] == [ID] if not loaded.problems else loaded.meshes == ()


def test_a_description_of_a_later_format_is_left_as_it_is(tmp_path: Path) -> None:
    keep(tmp_path / "state", mesh(documents=(b"1",)), mesh(OTHER))
    path = tmp_path / "state" / "meshes" / ID / "mesh.json"
    whole = path.read_text()
    path.write_text('{"format": 2}')
    loaded = load(tmp_path / "state")
    assert loaded.meshes == (mesh(OTHER),)
    assert codes(loaded) == ["mesh-newer"]
    path.write_text(whole)
    assert load(tmp_path / "state").meshes == (mesh(documents=(b"1",)), mesh(OTHER))


@pytest.mark.parametrize("content", [b"", b"garbage\n", (wireguard_text(bytes(32)) + "\n").encode(), None])
def test_a_mesh_whose_wireguard_key_is_damaged_missing_or_anothers_is_set_aside(
    tmp_path: Path, content: bytes | None
) -> None:
    keep(tmp_path / "state", mesh(root=seed(2)), mesh(OTHER))
    path = tmp_path / "state" / "meshes" / ID / "wireguard.key"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    loaded = load(tmp_path / "state")
    assert loaded.meshes == (mesh(OTHER),)
    assert codes(loaded) == ["mesh-damaged"]
    assert (tmp_path / "state" / "meshes" / f"{ID}.damaged-1" / "root.key").exists()


def test_a_mesh_runs_on_without_a_damaged_admin_key(tmp_path: Path) -> None:
    keep(tmp_path / "state", mesh(root=seed(2), admin=seed(3)))
    (tmp_path / "state" / "meshes" / ID / "admin.key").write_bytes(b"garbage\n")
    loaded = load(tmp_path / "state")
    assert loaded.meshes == (mesh(root=seed(2)),)
    assert codes(loaded) == ["key-file-damaged"]


@pytest.mark.parametrize("committed", [True, False])
def test_a_new_key_counts_exactly_when_the_description_names_it(tmp_path: Path, committed: bool) -> None:
    before, after = mesh(), replace(mesh(), wireguard=seed(9), name="rekeyed")
    keep(tmp_path / "before", before)
    keep(tmp_path / "after", after)
    folder = tmp_path / "before" / "meshes" / ID
    write = tmp_path / "after" / "meshes" / ID
    shutil.copy(write / "wireguard.key", folder / "wireguard.key.next")
    if committed:
        shutil.copy(write / "mesh.json", folder / "mesh.json")
    loaded = load(tmp_path / "before")
    assert loaded.meshes == (after if committed else before,)
    assert loaded.problems == ()
    assert sorted(os.listdir(folder)) == ["mesh.json", "wireguard.key"]


def test_strange_things_among_the_meshes_are_left_alone(tmp_path: Path) -> None:
    keep(tmp_path / "state", mesh())
    meshes = tmp_path / "state" / "meshes"
    (meshes / "notes.txt").write_text("mine")
    (meshes / "abc").write_text("mine")
    (meshes / "link").symlink_to(tmp_path)
    before = everything(meshes)
    assert load(tmp_path / "state").meshes == (mesh(),)
    assert everything(meshes) == before


# Damaged databases


def garble(path: Path, how: str) -> None:
    data = path.read_bytes()
    match how:
        case "empty":
            path.write_bytes(b"")
        case "missing":
            path.unlink()
        case "garbage":
            path.write_bytes(random.Random(1).randbytes(len(data)))
        case "text":
            path.write_text("hello\n")
        case "half":
            path.write_bytes(data[: len(data) // 2])
        case "cut":
            path.write_bytes(data[:-100])
        case "head":
            path.write_bytes(data[:50])
        case "zeros":
            path.write_bytes(data[:4096] + bytes(len(data) - 4096))
        case "write version":
            path.write_bytes(data[:18] + b"\x03" + data[19:])
        case "schema format":
            path.write_bytes(data[:47] + b"\x05" + data[48:])
        case "owner":
            # In the table, not in its index: documents of a mesh that is not there would be dropped in silence.
            path.write_bytes(data[::-1].replace(ID.encode()[::-1], OTHER.encode()[::-1], 1)[::-1])
        case "tables":
            path.unlink()
            with closing(sqlite3.connect(path)) as database:
                database.execute("CREATE TABLE songs (title TEXT)")
                database.commit()
        case "version":
            with closing(sqlite3.connect(path)) as database:
                database.execute("PRAGMA user_version = -1")
    if path.exists():
        path.chmod(0o600)


WAYS = ["empty", "missing", "garbage", "text", "half", "cut", "head", "zeros", "tables", "version"]
SUBTLE = ["write version", "schema format", "owner"]


@pytest.mark.parametrize("how", [*WAYS, *SUBTLE])
def test_a_damaged_database_costs_documents_but_no_key_and_no_mesh(tmp_path: Path, how: str) -> None:
    documents = tuple(b"%d" % number * 500 for number in range(100))
    keep(tmp_path / "state", mesh(root=seed(2), documents=documents))
    before = load(tmp_path / "state")
    garble(tmp_path / "state" / "state.db", how)
    with opened(tmp_path / "state") as store:
        loaded = store.load()
        assert codes(loaded) == ["database-damaged"]
        assert (loaded.identity, loaded.curve) == (before.identity, before.curve)
        assert len(loaded.meshes) == 1
        left = loaded.meshes[0].documents
        assert loaded.meshes == (mesh(root=seed(2), documents=left),)
        assert set(left) < set(documents)
        store.save_documents(ID, (b"again",))
    aside = tmp_path / "state" / "state.db.damaged-1"
    assert aside.exists() == (how not in ("empty", "missing", "cut"))
    assert (how == "cut") == (left != ())
    loaded = load(tmp_path / "state")
    assert loaded.meshes == (mesh(root=seed(2), documents=(*left, b"again")),)
    assert loaded.problems == ()


def test_only_the_newest_damaged_databases_are_kept(tmp_path: Path) -> None:
    keep(tmp_path / "state", mesh())
    for number in range(MAX_DAMAGED + 3):
        (tmp_path / "state" / "state.db").write_text(f"broken {number}")
        assert codes(load(tmp_path / "state")) == ["database-damaged"]
    kept = sorted((tmp_path / "state").glob("state.db.damaged-*"))
    assert [path.read_text() for path in kept] == [f"broken {number}" for number in range(3, MAX_DAMAGED + 3)]


def test_a_newer_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    keep(tmp_path / "state", mesh(root=seed(2), documents=(b"1",)))
    with closing(sqlite3.connect(tmp_path / "state" / "state.db")) as database:
        database.execute("PRAGMA user_version = 2")
    (tmp_path / "state" / "meshes" / ID / "mesh.json").write_bytes(b"perhaps of a newer form")
    before = everything(tmp_path / "state")
    assert refused(tmp_path / "state").problem.code == "database-newer"
    assert everything(tmp_path / "state") == before


def test_a_database_that_somebody_else_uses_is_not_taken_for_damaged(tmp_path: Path) -> None:
    keep(tmp_path / "state", mesh(documents=(b"1",)))
    with closing(sqlite3.connect(tmp_path / "state" / "state.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        assert refused(tmp_path / "state").problem.code == "store-failed"
    assert load(tmp_path / "state").meshes == (mesh(documents=(b"1",)),)


@pytest.fixture
def breaking(tmp_path: Path) -> Iterator[tuple[Store, tuple[bytes, ...]]]:
    """A store in use, and the documents that it holds no longer: more than its cache, then overwritten by zeros."""
    documents = tuple(b"%03d" % number * 10_000 for number in range(200))
    keep(tmp_path / "state", mesh(root=seed(2), documents=documents))
    with opened(tmp_path / "state") as store:
        store.load()
        path = tmp_path / "state" / "state.db"
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(4096 * 2)
            file.write(bytes(size - 4096 * 2))
        yield store, documents


def test_a_save_into_a_database_that_broke_fails_and_the_next_goes_into_a_fresh_one(
    tmp_path: Path, breaking: tuple[Store, tuple[bytes, ...]]
) -> None:
    store, documents = breaking
    with pytest.raises(LocalError) as caught:
        store.replace_documents(ID, tuple(map(digest, documents)), (b"replaced",))
    assert caught.value.problem.code == "database-damaged"
    assert store.take_problems() == (caught.value.problem,)
    store.save_documents(ID, (b"after",))
    store.close()
    assert load(tmp_path / "state").meshes == (mesh(root=seed(2), documents=(b"after",)),)
    assert (tmp_path / "state" / "state.db.damaged-1").exists()


def test_reading_a_database_that_broke_gives_the_mesh_without_documents_and_says_so(
    breaking: tuple[Store, tuple[bytes, ...]],
) -> None:
    store, _ = breaking
    assert store.load_mesh(ID) == mesh(root=seed(2))
    assert [problem.code for problem in store.take_problems()] == ["database-damaged"]
    store.save_documents(ID, (b"after",))
    assert store.load_mesh(ID).documents == (b"after",)
    assert store.take_problems() == ()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state whose database holds 60 documents."""
    folder = tmp_path_factory.mktemp("sound") / "state"
    keep(folder, mesh(documents=tuple(b"document %d " % number * 30 for number in range(60))))
    return folder


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_change_of_the_database_makes_up_a_document_or_costs_the_mesh(sound: Path, data: st.DataObject) -> None:
    original = (sound / "state.db").read_bytes()
    genuine = {b"document %d " % number * 30 for number in range(60)}
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        state = Path(folder) / "state"
        shutil.copytree(sound, state)
        spoilt = bytearray(original)
        for _ in range(data.draw(st.integers(1, 3))):
            spoilt[data.draw(st.integers(0, len(spoilt) - 1))] ^= data.draw(st.integers(1, 255))
        cut = data.draw(st.integers(0, len(spoilt)))
        (state / "state.db").write_bytes(spoilt[:cut] if data.draw(st.booleans()) else spoilt)
        try:
            loaded = load(state)
        except LocalError as error:
            if error.problem.code != "database-newer":
                raise
            return
        assert [one.id for one in loaded.meshes] == [ID]
        assert set(loaded.meshes[0].documents) <= genuine
        with opened(state) as store:
            store.save_documents(ID, (b"new",))
        assert b"new" in load(state).meshes[0].documents


def test_a_document_that_changed_on_the_disk_is_dropped_and_the_others_stay(tmp_path: Path) -> None:
    keep(tmp_path / "state", mesh(documents=(b"first document", b"second document")))
    path = tmp_path / "state" / "state.db"
    path.write_bytes(path.read_bytes().replace(b"first document", b"fjrst document"))
    loaded = load(tmp_path / "state")
    assert loaded.meshes[0].documents == (b"second document",)
    assert codes(loaded) == ["database-damaged"]
    assert codes(load(tmp_path / "state")) == []


# Death, and disks that refuse

WRITER = """
import os, sys
from dataclasses import replace
from pathlib import Path
from smeg.edges.store import Store
from smeg.documents import document_hash
from smeg.keys import Secret
from smeg.stored import StoredMesh
folder, count = Path(sys.argv[1]), int(sys.argv[2])
store = Store(folder, os.urandom)
mesh = store.load().meshes[0]
while True:
    count += 1
    store.replace_documents(mesh.id, (document_hash(b"counter %d" % (count - 1)),), (b"counter %d" % count,))
    print("counter", count, flush=True)
    store.save_documents(mesh.id, (b"document %d" % count,))
    print("document", count, flush=True)
    if count % 3 == 0:
        key = Secret(count.to_bytes(32, "big"))
        store.save_mesh(replace(mesh, name=str(count), wireguard=key, documents=(b"mesh %d" % count,)))
        print("mesh", count, flush=True)
    if count % 5 == 0:
        other = replace(mesh, id="c4" * 16, name=str(count), documents=(b"other %d" % count,), admin_seed=None)
        store.save_mesh(other)
        print("other", count, flush=True)
        store.forget_mesh(other.id)
        print("forgotten", count, flush=True)
"""


def test_kill_minus_nine_at_random_points_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    state = tmp_path / "state"
    keep(state, replace(mesh(admin=seed(3), documents=(b"counter 0",)), name="0"))
    first = load(state)
    chance = random.Random(36)
    acknowledged = {"counter": 0, "document": 0, "mesh": 0, "other": 0, "forgotten": 0}
    documents: set[bytes] = set()
    for _ in range(20):
        command = [sys.executable, "-c", WRITER, str(state), str(acknowledged["counter"])]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(chance.randint(1, 40))]
            child.kill()
            lines += child.stdout.read().splitlines()
        for line in lines:
            what, number = line.split()
            acknowledged[what] = int(number)
            if what in ("document", "mesh"):
                documents.add(f"{what} {number}".encode())
        loaded = load(state)
        assert loaded.problems == ()
        assert (loaded.identity, loaded.curve) == (first.identity, first.curve)
        kept = loaded.meshes[0]
        counters = [int(text.split()[1]) for text in kept.documents if text.startswith(b"counter ")]
        assert len(counters) == 1
        assert acknowledged["counter"] <= counters[0] <= acknowledged["counter"] + 1
        assert documents <= set(kept.documents)
        assert int(kept.name) >= acknowledged["mesh"]
        renamed = int(kept.name)
        assert kept.wireguard == (Secret(renamed.to_bytes(32, "big")) if renamed else seed(1))
        assert kept.admin_seed == seed(3)
        for other in loaded.meshes[1:]:
            # One that is being forgotten may be there or not, but never half, and never after that was acknowledged.
            assert int(other.name) >= acknowledged["other"]
            assert f"other {other.name}".encode() in other.documents
            assert all(int(text.split()[1]) > acknowledged["forgotten"] for text in other.documents)
        acknowledged["counter"] = counters[0]
        assert not list(state.rglob("*.tmp"))
        assert not list(state.rglob("*.next"))
    assert acknowledged["mesh"] > 0
    assert acknowledged["forgotten"] > 0


SHORT = """
import os, sys
from dataclasses import replace
from pathlib import Path
from smeg.edges.store import Store
from smeg.errors import LocalError
from smeg.keys import Secret

def attempt(action, *arguments):
    try:
        action(*arguments)
    except LocalError as error:
        assert error.problem.code == "store-failed", error
        assert error.problem.message and error.problem.hint, error
        return False
    return True

def state():
    return store.load_mesh(mesh.id)

folder = Path(sys.argv[1])
store = Store(folder, os.urandom)
(mesh,) = store.load().meshes
saved = []
"""

FULL = """
short()
number = 0
while attempt(store.save_documents, mesh.id, (b"%d " % number * 2000,)):
    saved.append(b"%d " % number * 2000)
    number += 1
    assert number < 1000
failures = 0
for again in range(3):
    failures += not attempt(store.save_documents, mesh.id, (b"big" * 9000,))
    other = replace(mesh, id="c4" * 16, wireguard=Secret(os.urandom(32)), documents=(b"other" * 8000,))
    failures += not attempt(store.save_mesh, other)
    assert not (folder / "meshes" / other.id).exists()
    failures += not attempt(store.save_mesh, replace(other, id=mesh.id, name="changed"))
    assert (state().name, state().wireguard) == (mesh.name, mesh.wireguard)
assert failures == 9, failures
assert set(state().documents) == {*mesh.documents, *saved}
enough()
store.save_documents(mesh.id, (b"after",))
store.save_mesh(replace(mesh, name="after", wireguard=Secret(bytes(range(32)))))
store.close()
store = Store(folder, os.urandom)
loaded = store.load()
assert loaded.problems == (), loaded.problems
assert [one.name for one in loaded.meshes] == ["after"]
assert set(loaded.meshes[0].documents) == {*mesh.documents, *saved, b"after"}
store.close()
print("ok", len(saved))
"""


def test_a_file_size_limit_fails_the_save_and_lifting_it_mends_everything(tmp_path: Path) -> None:
    keep(tmp_path / "state", mesh(documents=(b"before",)))
    script = f"""{SHORT}
import resource
def short():
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
def enough():
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
{FULL}"""
    assert run(script, str(tmp_path / "state")).startswith("ok")


def on_small_disk(script: str, folder: Path) -> str:
    """The output of a script that gets a file system of 400 KiB of its own at `folder`."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    try:
        subprocess.run(["unshare", "-m", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no mount namespace may be made here")
    mount = 'mount -t tmpfs -o size=400k,mode=700 none "$1" && exec "$2" -c "$3" "$1/state"'
    command = ["unshare", "-m", "sh", "-c", mount, "sh", str(folder), sys.executable, script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


BALLAST = """
ballast = folder.parent / "ballast"
def short():
    with open(ballast, "wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
def enough():
    ballast.unlink()
"""

SEED_STATE = """
import os, sys
from pathlib import Path
from smeg.edges.store import Store
from smeg.keys import Secret
from smeg.stored import StoredMesh
first = Store(Path(sys.argv[1]), os.urandom)
first.load()
first.save_mesh(StoredMesh("a2" * 16, "home", bytes(32), "smeg0", 1, Secret(bytes(range(32))), (b"x",),
                           documents=(b"before",)))
first.close()
"""


def test_a_full_disk_fails_the_save_and_space_mends_everything(tmp_path: Path) -> None:
    assert on_small_disk(SEED_STATE + SHORT + BALLAST + FULL, tmp_path).startswith("ok")


def test_a_full_disk_does_not_keep_the_daemon_from_loading(tmp_path: Path) -> None:
    script = (
        SEED_STATE
        + SHORT
        + BALLAST
        + """
store.close()
short()
for again in range(3):
    store = Store(folder, os.urandom)
    loaded = store.load()
    assert loaded.problems == (), loaded.problems
    assert loaded.meshes[0].documents == (b"before",)
    assert not attempt(store.save_documents, mesh.id, (bytes(range(200)) * 200,))
    store.close()
enough()
print("ok")
"""
    )
    assert on_small_disk(script, tmp_path) == "ok"


def test_an_fsync_error_means_not_saved_and_costs_nothing_saved_before(tmp_path: Path) -> None:
    keep(tmp_path / "state", mesh(documents=(b"before",)))
    script = f"""{SHORT}{NO_FSYNC}
store.save_documents(mesh.id, (b"acknowledged",))
break_fsync()
for again in range(3):
    assert not attempt(store.save_documents, mesh.id, (b"never %d" % again,))
    assert not attempt(store.save_mesh, replace(mesh, name="never"))
    assert not attempt(store.save_mesh, replace(mesh, id="c4" * 16))
assert set(state().documents) == {{b"before", b"acknowledged"}}
print("ok", flush=True)
os._exit(0)
"""
    output = run(script, str(tmp_path / "state"))
    if output == "no seccomp":
        pytest.skip("this kernel lets nobody break fsync")
    assert output == "ok"
    loaded = load(tmp_path / "state")
    assert loaded.problems == ()
    assert [one.name for one in loaded.meshes] == ["häuser"]
    assert set(loaded.meshes[0].documents) >= {b"before", b"acknowledged"}


# Secrets


def test_no_text_about_the_store_shows_a_byte_of_a_secret(tmp_path: Path) -> None:
    secrets = [seed(1), seed(2), seed(3)]
    state = tmp_path / "state"
    keep(state, mesh(root=seed(2), admin=seed(3), documents=(b"1",)))
    texts: list[str] = []
    with opened(state) as store:
        loaded = store.load()
        secrets += [loaded.identity, loaded.curve]
        texts += [repr(store), str(store), repr(loaded), repr(loaded.meshes), str(loaded.meshes[0])]
        for wrong in (replace(mesh(root=seed(2)), name=""), mesh("no id"), replace(mesh(), interface="/")):
            with pytest.raises(LocalError) as caught:
                store.save_mesh(wrong)
            texts += traceback.format_exception(caught.value)
    paths = [path for path in state.rglob("*.key")]
    for path in paths:
        path.chmod(0o640)
        texts += traceback.format_exception(refused(state))
        path.chmod(0o600)
    for path in sorted(paths, key=lambda path: path.name != "admin.key"):
        path.write_bytes(path.read_bytes()[:-4])
        try:
            texts += map(repr, load(state).problems)
        except LocalError as error:
            texts += traceback.format_exception(error)
    shown = "".join(texts)
    assert "key-file-damaged" in shown
    for secret in secrets:
        value = secret.reveal()
        for form in (wireguard_text(value)[:40], wireguard_text(value)[:12], value.hex()[:12], repr(value)[2:14]):
            assert form not in shown
