"""Never two acting at a time, whatever happens to processes and what lies between them."""

import random

from hypothesis import given
from hypothesis import strategies as st

from caios_federation.clients import errors
from leases import SETTINGS, STEP, Link, Process, World

_SENT_IN_TIME = SETTINGS.duration_seconds - SETTINGS.renew_deadline_seconds - 4 * STEP
"""A write may take so long to come about. One that takes longer is what a Lease cannot prevent."""
_LINKS = st.builds(
    Link,
    there=st.sampled_from([0.0, 0.5, 1.0, 3.0, 7.0]),
    back=st.sampled_from([0.0, 0.5, 2.0, 6.0, 20.0]),
    lost=st.sampled_from([False, False, False, True]),
    answers_lost=st.sampled_from([False, False, False, True]),
    refused=st.sampled_from([None, None, None, errors.Unavailable, errors.WriteConflict]),
)
_SLOW = st.builds(Link, there=st.floats(0, _SENT_IN_TIME), back=st.sampled_from([0.0, 1.0, 30.0]))
_EVENTS = st.one_of(
    st.tuples(st.just("kill"), st.none()),
    st.tuples(st.just("terminate"), st.none()),
    st.tuples(st.just("stopped"), st.booleans()),
    st.tuples(st.just("link"), _LINKS),
    st.tuples(st.just("work"), _SLOW),
    st.tuples(st.just("ending_takes"), st.sampled_from([0.0, 3.0, 30.0])),
)
_STORY = st.lists(
    st.tuples(
        st.integers(0, 2),
        _EVENTS,
        st.sampled_from([0.5, 1.0, 2.0, 4.0, 9.0, 10.0, 11.0, 15.0, 17.0]),
    ),
    max_size=15,
)


def befall(process: Process, what: str, value: object) -> None:
    """Have something happen to a process, unless it is dead."""
    if process in process.world.dead:
        return
    if value is None:
        getattr(process, what)()
    else:
        setattr(process, what, value)


@given(
    story=_STORY,
    epochs=st.lists(st.sampled_from([0.0, 17.3, 1e6]), min_size=2, max_size=3),
    seed=st.integers(0, 2**16),
)
def test_each_write_comes_about_while_the_lease_names_its_writer(
    story: list[tuple[int, tuple[str, object], float]], epochs: list[float], seed: int
) -> None:
    random.seed(seed)
    with World() as world:
        processes = [world.start(f"p{n}", epoch=epoch) for n, epoch in enumerate(epochs)]
        world.advance(3)
        for who, (what, value), seconds in story:
            befall(processes[who % len(processes)], what, value)
            world.advance(seconds)
        assert [write for write in world.writes if write.by != write.holder] == []

        # And then all is well again: somebody acts, unless all are gone.
        for process in processes:
            process.link, process.work, process.ending_takes = Link(), Link(), 0
            process.stopped = process in world.dead
        world.advance(60)
        left = [each for each in processes if each not in world.dead and not each.task.done()]
        assert sum(process.acting for process in left) == min(len(left), 1)
