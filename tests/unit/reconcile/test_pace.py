"""What others undo is not done again and again, and not said again and again."""

from caios_federation.reconcile.pace import Once, Pace


def test_a_burst_is_free_and_then_one_each_period() -> None:
    pace, now = Pace(burst=3, period_seconds=6), 100.0
    for _ in range(3):
        assert pace.wait(now) == 0
        pace.took(now)
    assert pace.wait(now) == 6
    assert pace.wait(now + 4) == 2
    assert pace.wait(now + 6) == 0
    pace.took(now + 6)
    assert pace.wait(now + 6) == 6


def test_who_rested_has_the_whole_burst_again() -> None:
    pace = Pace(burst=2, period_seconds=6)
    assert pace.rested(0)
    pace.took(0)
    assert not pace.rested(5)
    assert pace.rested(6)


def test_a_problem_is_news_when_it_begins_or_becomes_another() -> None:
    once = Once()
    told = [once.news("a", problem) for problem in ("", "x", "x", "y", "", "", "y")]
    assert told == [False, True, False, True, False, False, True]
    assert once.news("b", "y")
