"""Batches made ahead keep their order, and only one is made ahead."""

import threading

import pytest

from autodrag.training.prefetch import in_order


@pytest.mark.parametrize("ahead", [False, True])
def test_the_order_is_that_of_the_parts(ahead: bool) -> None:
    assert list(in_order(lambda part: 10 * part, range(5), ahead)) == [0, 10, 20, 30, 40]
    assert list(in_order(lambda part: part, [], ahead)) == []


def test_one_part_is_made_ahead_in_another_thread() -> None:
    made, threads, second = [], set(), threading.Event()

    def make(part: int) -> int:
        made.append(part)
        threads.add(threading.current_thread())
        if part == 1:
            second.set()
        return part

    batches = in_order(make, range(5), ahead=True)
    assert next(batches) == 0
    assert second.wait(10)  # made before it is needed
    assert made == [0, 1] and threading.current_thread() not in threads
    assert next(batches) == 1
    batches.close()  # training that stops early waits only for the batch in progress
    assert len(made) <= 3


@pytest.mark.parametrize("ahead", [False, True])
def test_errors_are_raised_in_the_order_of_the_batches(ahead: bool) -> None:
    batches = in_order(lambda part: 1 // part, [1, 0, 1], ahead)
    assert next(batches) == 1
    with pytest.raises(ZeroDivisionError):
        next(batches)
