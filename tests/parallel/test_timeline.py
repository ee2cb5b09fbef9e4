"""What a rank notes of its rounds, and what it does not."""

import pytest

from mpinn.parallel.timeline import Kind, Timeline


def kinds(timeline: Timeline) -> list[Kind]:
    return [Kind(kind) for kind in timeline.spans()["kind"]]


def one_round(timeline: Timeline, number: int) -> None:
    timeline.begin_round(2, number)
    if timeline.active:
        timeline.learned(timeline.began, worker=3, exemplars=20, think=0.5, train=0.25, progress=0.125)
    with timeline.of_round(Kind.MERGING):
        pass
    timeline.end_round()


def test_off_nothing_is_noted() -> None:
    timeline = Timeline()
    one_round(timeline, 1)
    with timeline.span(Kind.EVALUATING):
        pass
    assert not timeline.noted and not timeline.active and not timeline.cut
    timeline.begin_round(1, 1)
    assert timeline.depart() is None


def test_the_first_rounds_are_noted_and_what_is_between_rounds_always() -> None:
    timeline = Timeline(rounds=2)
    for number in (1, 2):
        one_round(timeline, number)
    assert not timeline.cut
    one_round(timeline, 3)
    with timeline.span(Kind.EVALUATING):
        pass
    assert timeline.cut
    assert kinds(timeline) == 2 * [Kind.LEARNING, Kind.MERGING, Kind.ROUND] + [Kind.EVALUATING]
    spans = timeline.spans()
    assert spans["epoch"].tolist() == 6 * [2] + [0] and spans["round"].tolist() == [1, 1, 1, 2, 2, 2, 0]
    assert spans[0][["number", "exemplars", "think", "train", "progress"]].tolist() == (3, 20, 0.5, 0.25, 0.125)
    assert (spans["end"] >= spans["start"]).all()
    timeline.clear()
    assert not len(timeline.spans())


def test_what_is_broken_off_is_noted_to_where_it_came() -> None:
    timeline = Timeline(rounds=5)
    timeline.begin_round(1, 4)
    with pytest.raises(ZeroDivisionError), timeline.of_round(Kind.MERGING):
        raise ZeroDivisionError
    timeline.end_round()
    timeline.end_round()  # it is over
    assert kinds(timeline) == [Kind.MERGING, Kind.ROUND] and timeline.spans()["round"].tolist() == [4, 4]


def test_a_merge_under_way_is_of_the_round_that_sent_it() -> None:
    timeline = Timeline(rounds=1)
    timeline.begin_round(1, 1)
    sent = timeline.depart()
    timeline.end_round()
    timeline.begin_round(1, 2)
    assert sent
    timeline.arrive(sent)
    (_, merge) = timeline.spans()
    assert merge[["kind", "epoch", "round"]].tolist() == (Kind.UNDER_WAY, 1, 1) and merge["start"] == sent.at
