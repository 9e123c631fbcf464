"""What a program computes before its one computing thread begins."""

import threading

import pytest

from autodrag.devices import in_passing


def test_work_in_passing_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    worker = in_passing(threading.current_thread)
    assert worker is not threading.main_thread() and not worker.is_alive()
    assert threading.active_count() == before


def test_what_goes_wrong_in_passing_is_the_callers() -> None:
    with pytest.raises(ZeroDivisionError):
        in_passing(lambda: 1 / 0)
