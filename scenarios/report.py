"""The report of a run: one page of HTML that a browser opens from a file, made of a run's record and nothing else.

Equal records make equal pages. It loads nothing, and is whole without its script, which only follows a pointer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import orjson

from scenarios import report_curves as curves
from scenarios import report_strips as strips
from scenarios.again import again, legible
from scenarios.markup import seconds, tag, volume, words
from scenarios.report_run import Judged, Sample, Site, Told, told
from scenarios.report_topology import ENDED, Layout, topology, worst
from scenarios.run_record import put
from scenarios.script_files import LIBRARY
from smeg.errors import LocalError

PAGE = Path(__file__).parent / "page"
MOST_FACTS = 600
"""Samples that the script is given."""


def write(record: Path) -> Path:
    """The page of a record, beside it; where it is. Raises `LocalError`."""
    path = record.with_suffix(".html")
    try:
        made = page(orjson.loads(record.read_bytes()), record.name)
        put(path, made.encode())
    except OSError as error:
        raise LocalError("report-unwritable", f"cannot write {path}: {error}", "name another folder") from error
    return path


def page(record: Mapping[str, Any], name: str) -> str:
    """Of the record in a file of this name. Raises `LocalError` for what is no record of a run."""
    run = told(record)
    title = f"{run.script.name}: {_whole(run)[0]}"
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        + tag("title", words(title))
        + tag("style", (PAGE / "report.css").read_text(encoding="utf-8"))
    )
    body = _head(run) + tag("main", "".join(_sections(run, name))) + tag("div", id="cursor", aria_live="polite")
    script = tag("script", _facts(run), type="application/json", id="facts")
    script += tag("script", (PAGE / "report.js").read_text(encoding="utf-8"))
    return f"<!DOCTYPE html>\n{tag('html', tag('head', head) + tag('body', body + script), lang='en')}\n"


def _head(run: Told) -> str:
    words_of_all, colour = _whole(run)
    verdict = tag("p", words_of_all, class_=f"verdict {colour}")
    sent = sum(sample.volume for sample in run.samples)
    roles = Counter(site.role for site in run.before)
    facts = [
        ("world", run.world),
        ("hosts", f"{len(run.hosts):,}" + (f", {roles['client']:,} of them clients" if roles["client"] else "")),
        ("meshes", str(len(run.meshes))),
        ("seed", str(run.seed)),
        *([("patience", f"{run.patience:g}")] if run.patience != 1.0 else []),
        ("lasted", seconds(run.seconds)),
        ("each sent", f"{volume(sent / max(1, len(run.hosts)) / run.span)}/s"),
        *([("trace", run.trace)] if run.trace else []),
    ]
    listed = "".join(tag("div", tag("dt", words(name)) + tag("dd", words(value))) for name, value in facts)
    return tag("header", tag("div", tag("h1", words(run.script.name)) + verdict, class_="title")
               + tag("p", words(run.script.about), class_="about") + tag("dl", listed))  # fmt: skip


def _whole(run: Told) -> tuple[str, str]:
    """The verdict of all, and its colour."""
    failed = sum(not one.held for one in run.verdicts)
    if failed:
        return f"✗ {failed} of {len(run.verdicts)} failed", "bad"
    if not run.verdicts:
        return "nothing was expected", "none"
    return f"✓ {'all ' if len(run.verdicts) > 1 else ''}{len(run.verdicts)} held", "good"


def _sections(run: Told, name: str) -> list[str]:
    quiet = strips.quiet_hosts(run)
    kept = f" {quiet:,} others were up all the time, and nobody thought otherwise." if quiet else ""
    unsaid = f" {run.left_out:,} later changes of mind were counted only." if run.left_out else ""
    said = "".join(tag("li", words(one)) for one in curves.spread_words(run))
    return [
        _section("What had to hold", _verdicts(run.verdicts) if run.verdicts else ""),
        _section("What happened", _figure(strips.faults(run), _kinds()) + _figure(strips.waits(run))),
        _section(
            "Who knew what when",
            tag("p", words(f"A row a host, a column a moment.{kept}{unsaid}"), class_="note")
            + _figure(strips.knowledge(run), _legend()),
        ),
        _section("How fast it was known", _figure(curves.spread(run)) + tag("ul", said, class_="note")) if said else "",
        _section("Leader and liveness", _figure(curves.leaders(run)) + _figure(curves.alive(run), _lines())),
        _section("What was sent", _figure(curves.traffic(run))),
        _section("Before and after", _topologies(run)),
        _section("Again", _again(run, name)),
    ]


def _section(title: str, inside: str) -> str:
    return tag("section", tag("h2", words(title)) + inside) if inside else ""


def _figure(inside: str, legend: str = "") -> str:
    return tag("figure", tag("div", inside, class_="scroll") + legend) if inside else ""


def _verdicts(verdicts: Sequence[Judged]) -> str:
    rows = "".join(
        tag(
            "tr",
            tag("td", "✓ holds" if one.held else "✗ fails", class_="sign")
            + tag(
                "td",
                tag("span", words(one.when or "event"), class_="when") + words(one.about.removeprefix(f"{one.when}: ")),
            )
            + tag("td", words(one.what), class_="what")
            + tag("td", words(seconds(one.at)), class_="at"),
            class_="good" if one.held else "bad",
        )
        for one in sorted(verdicts, key=lambda one: one.held)
    )
    head = "".join(tag("th", name, scope="col") for name in ("verdict", "what", "how", "at"))
    return tag("div", tag("table", tag("thead", tag("tr", head)) + tag("tbody", rows)), class_="scroll")


def _keys(*keys: tuple[str, str]) -> str:
    return tag(
        "figcaption", "".join(tag("span", tag("i", class_=kind) + words(text)) for kind, text in keys), class_="keys"
    )


def _kinds() -> str:
    return _keys(("k-fault", "a fault"), ("k-mend", "undoes one, or adds somebody"), ("k-else", "anything else"))


def _legend() -> str:
    return _keys(
        ("k-alive", "up, and thought so"), ("k-unknown", "down or standing still, and nobody knows"),
        ("k-known", "down: few know … all know"), ("k-wrong", "up, but some … all think it dead"),
        ("k-outside", "no member"),
    )  # fmt: skip


def _lines() -> str:
    return _keys(
        ("k-up", "up"), ("k-thought", "thought alive by the one in the middle"), ("k-band", "by the least to the most")
    )


def _topologies(run: Told) -> str:
    layout = Layout(run)
    shown: list[tuple[str, Sequence[Site], Sample]] = [("Before", run.before, run.samples[0])]
    bad = worst(run)
    if bad is not None:
        at, sites = bad
        shown.append((f"At the worst, until {seconds(at)}", sites, _last_before(run, at)))
    shown.append(("After", run.after, run.samples[-1]))
    found = "".join(
        tag(
            "figure",
            topology(layout, sites, [led.leader for led in sample.meshes], name)
            + tag("figcaption", words(f"{name}: {_standing(sites)}")),
        )
        for name, sites, sample in shown
    )
    keys = _keys(
        ("k-peer", "peer"),
        ("k-client", "client"),
        ("k-bridge", "bridge"),
        ("k-leader", "leader"),
        ("k-dead", "down"),
        ("k-paused", "stands still"),
    )
    return tag("div", found, class_="several") + keys


def _last_before(run: Told, at: float) -> Sample:
    return next((sample for sample in reversed(run.samples) if sample.at < at), run.samples[0])


def _standing(sites: Sequence[Site]) -> str:
    down = sum(site.state in ENDED for site in sites)
    outside = sum(not site.meshes and site.state not in ENDED for site in sites)
    rest = (f", {down:,} down" if down else "") + (f", {outside:,} in no mesh" if outside else "")
    return f"{len(sites) - down - outside:,} members up{rest}"


def _again(run: Told, name: str) -> str:
    stem = Path(run.source).stem
    library = LIBRARY / f"{stem}.yaml"
    known = library.exists() and library.read_text(encoding="utf-8") == run.text
    play = again(stem if known else run.source, run.nodes, run.seed, run.world, run.patience)
    # Of a script only the name of its file is known, but its record is beside this page.
    commands = tag("p", "Where this page is:", class_="note") + _command(f"smeg-scenario replay {quote(legible(name))}")
    commands += tag("p", "Anywhere:" if known else "Where the script is:", class_="note") + _command(play)
    what = "It comes out the same, byte for byte." if run.trace else "No two real runs are quite alike."
    notes = "".join(tag("li", words(f"{name} ({count:,} times)")) for name, count in run.noticed.items())
    unable = "".join(
        tag("li", words(f"line {line}: {name} was not seen here: {why}")) for line, name, why in run.limits
    )
    return (
        commands
        + tag("p", words(what), class_="note")
        + (tag("h3", "What daemons told of") + tag("ul", notes, class_="note") if notes else "")
        + (tag("h3", "What this world could not see") + tag("ul", unable, class_="note") if unable else "")
        + tag("details", tag("summary", "The script") + tag("pre", tag("code", words(run.text)), tabindex=0))
    )


def _command(line: str) -> str:
    return tag("pre", tag("code", words(line)), class_="command", tabindex=0)


def _facts(run: Told) -> str:
    """What the script says of a moment."""
    every = -(-len(run.samples) // MOST_FACTS)
    samples = [
        [one.at, sum(led.running for led in one.meshes), sum(led.middle for led in one.meshes),
         ", ".join(dict.fromkeys(led.leader or "nobody" for led in one.meshes)),
         round(one.volume / max(1e-9, one.at - before.at))]
        for before, one in list(zip(run.samples, run.samples[1:], strict=False))[::every]
    ]  # fmt: skip
    said = {"span": run.span, "left": strips.LEFT, "long": strips.LONG, "wide": strips.WIDE, "samples": samples}
    # Nothing in it may end the element that holds it.
    return orjson.dumps(said).decode().replace("<", "\\u003c")
