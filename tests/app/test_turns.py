"""Sessions take turns; a draft gets the number of threads that is fastest."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from autodrag.app.turns import EVERY, TRIAL, Threads, Turns


def alone(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine, run in a thread of its own: another one may have a loop already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.mark.parametrize(("sessions", "together"), [(["a"] * 4, 1), (["a", "b"] * 2, 2)])
def test_one_session_works_alone_and_several_at_the_same_time(sessions: list[str], together: int) -> None:
    running, most, lock = 0, 0, threading.Lock()
    order: list[int] = []

    def moment(number: int) -> int:
        nonlocal running, most
        with lock:
            running, most = running + 1, max(most, running + 1)
            order.append(number)
        threading.Event().wait(0.05)
        with lock:
            running -= 1
        return number

    async def work() -> list[int]:
        turns = Turns(2)
        try:
            await asyncio.gather(*(turns.run(name, int) for name in set(sessions)))
            return await asyncio.gather(*(turns.run(name, moment, i) for i, name in enumerate(sessions)))
        finally:
            turns.close()

    assert alone(work()) == [0, 1, 2, 3]
    assert most == together and sorted(order[:together]) == list(range(together))  # first come, first served


def test_a_turn_that_is_no_longer_waited_for_passes_to_the_next() -> None:
    async def work() -> str:
        turns, gate = Turns(1), threading.Event()
        first = asyncio.ensure_future(turns.run("a", gate.wait, 60))
        given_up = asyncio.ensure_future(turns.run("b", int))
        last = asyncio.ensure_future(turns.run("c", str, "done"))
        await asyncio.sleep(0)
        given_up.cancel()
        gate.set()
        await first
        try:
            return await asyncio.wait_for(last, 60)
        finally:
            turns.close()

    assert alone(work()) == "done"


def test_only_drafts_have_fewer_threads_than_cores() -> None:
    async def work() -> list[int]:
        turns = Turns(2)
        try:
            return [
                await turns.run(session, torch.get_num_threads, draft=draft)
                for session, draft in (("a", True), ("b", True), ("b", False))
            ]
        finally:
            turns.close()

    cores = torch.get_num_threads()
    assert alone(work()) == [cores, max(1, cores // 2), cores]


def fed(threads: Threads, seconds: dict[int, float], pictures: int) -> list[int]:
    """The number of threads of each picture, where pictures take `seconds` with so many threads."""
    used = []
    for _ in range(pictures):
        used.append(threads.now)
        threads.took(seconds[threads.now], "draft")
    return used


def test_the_faster_number_of_threads_is_found_and_found_again() -> None:
    threads = Threads(8)
    idle, busy = {8: 0.03, 1: 0.06}, {8: 0.14, 1: 0.06}
    used = fed(threads, idle, 4 * EVERY)
    assert used.count(1) <= 4 * TRIAL and threads.now == 8
    used = fed(threads, busy, 40)
    assert set(used[3 * TRIAL :]) == {1}  # it does not wait for the next trial
    assert fed(threads, idle, 2 * EVERY)[-1] == 8


def test_a_trial_ends_where_pictures_become_others() -> None:
    threads = Threads(2)
    for _ in range(TRIAL):
        threads.took(0.03, "rough")
    assert threads.now == 1 and threads.trying
    threads.took(0.01, "rougher")  # says nothing about the number of threads
    assert threads.now == 2 and not threads.trying
