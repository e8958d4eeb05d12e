"""What no single line of a script shows: that its groups, meshes and bridges fit together, and what builds on them."""

from __future__ import annotations

from scenarios.script import Begins, Script
from scenarios.script_meaning import check_expectations, check_timeline
from scenarios.script_names import Findings, is_host
from scenarios.selectors import RESERVED


def check(script: Script, found: Findings) -> None:
    groups = {group.name: group for group in script.hosts}
    for name in groups:
        if name in RESERVED:
            found.wrong(groups[name].line, f"hosts.{name}", "means something else", "another name")
        if is_host(script, name):
            found.wrong(groups[name].line, f"hosts.{name}", "is a host of another group, too", "another name")
        if groups[name].begins is not Begins.OUTSIDE and not script.meshes_of(groups[name]):
            found.wrong(groups[name].line, f"hosts.{name}", "is in no mesh", "one that has it, or `begins: outside`")
    for mesh, said in script.meshes.items():
        line = found.lines.get(f"meshes.{mesh}", 1)
        for name in said:
            if name not in groups:
                found.missing(line, f"meshes.{mesh}", "group", name, groups)
        founders = [*said, *(name for name, meshes in script.bridges.items() if mesh in meshes)]
        able = [name for name in founders if name in groups and _may_found(script, name)]
        if groups and not able:
            found.wrong(line, f"meshes.{mesh}", "has no peer that is a member from the start", "one who founds it")
    for name, meshes in script.bridges.items():
        line = found.lines.get(f"bridges.{name}", 1)
        if name not in groups:
            found.missing(line, f"bridges.{name}", "group", name, groups)
        elif groups[name].role == "client":
            found.wrong(line, f"bridges.{name}", "is a client", "peers: a client forwards nothing")
        if len(set(meshes)) < 2:
            found.wrong(line, f"bridges.{name}", f"is in {len(set(meshes))} meshes", "at least two")
        for mesh in meshes:
            if mesh not in script.meshes:
                found.missing(line, f"bridges.{name}", "mesh", mesh, script.meshes)
    check_timeline(script, found)
    check_expectations(script, found)


def _may_found(script: Script, name: str) -> bool:
    group = script.group(name)
    return group.role == "peer" and group.begins is Begins.MEMBER
