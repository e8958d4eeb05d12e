"""The calendar of the virtual runtime, against a list that is sorted anew each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.calendar_queue import BUCKETS_A_SECOND, CalendarQueue
from tests.builders import QUICK

BUCKET = 1 / BUCKETS_A_SECOND
WAITS = st.sampled_from([0.0, BUCKET / 3, BUCKET, 1.5 * BUCKET, 0.1, 7.0]) | st.floats(0.0, 20.0)
"""seconds, at the borders of buckets and anywhere."""
STEPS = st.lists(st.tuples(st.sampled_from(["add", "add", "pop", "pass"]), WAITS), max_size=80)


class SortedList:
    """What the calendar should be like."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, int]] = []
        self.count = 0

    def add(self, time: float) -> int:
        self.count += 1
        self.waiting.append((time, self.count))
        self.waiting.sort()
        return self.count

    def pop(self, until: float) -> tuple[float, int] | None:
        return self.waiting.pop(0) if self.waiting and self.waiting[0][0] <= until else None


def popped(queue: CalendarQueue, until: float) -> tuple[float, object] | None:
    event = queue.pop(until)
    return None if event is None else (event[0], event[3])


@QUICK
@given(STEPS, st.sampled_from([0.0, 1.0, 123.456, 1e6]))
def test_events_come_by_their_time_and_at_one_time_in_the_order_of_asking(
    steps: list[tuple[str, float]], start: float
) -> None:
    queue, model, now = CalendarQueue(), SortedList(), start
    for what, wait in steps:
        if what == "add":
            # As the runtime does: never for a time that is over.
            queue.add(now + wait, print, model.add(now + wait))
            continue
        found, due = popped(queue, now + wait), model.pop(now + wait)
        assert found == due
        if due is not None:
            now = due[0]
        elif what == "pass":
            now += wait
    rest = [popped(queue, float("inf")) for _ in range(len(model.waiting) + 1)]
    assert rest == [*model.waiting, None]


@QUICK
@given(st.lists(WAITS, max_size=20), st.lists(st.sampled_from([0.0, BUCKET / 5]), max_size=20))
def test_what_is_asked_for_in_the_bucket_that_is_being_emptied_comes_in_its_place(
    first: list[float], later: list[float]
) -> None:
    queue, model = CalendarQueue(), SortedList()
    for time in first:
        queue.add(time, print, model.add(time))
    for wait in later:
        found, due = popped(queue, 100.0), model.pop(100.0)
        assert found == due
        time = (due[0] if due is not None else 100.0) + wait
        queue.add(time, print, model.add(time))
    while (due := model.pop(1000.0)) is not None:
        assert popped(queue, 1000.0) == due


def test_an_event_that_is_not_due_stays() -> None:
    queue = CalendarQueue()
    queue.add(1.0004, print, "later in the bucket")
    queue.add(1.0001, print, "earlier in it")
    assert queue.pop(0.5) is None
    assert queue.pop(1.0) is None
    assert popped(queue, 1.0002) == (1.0001, "earlier in it")
    assert queue.pop(1.0002) is None
    queue.add(1.0003, print, "between")
    assert [popped(queue, 2.0) for _ in range(3)] == [(1.0003, "between"), (1.0004, "later in the bucket"), None]
