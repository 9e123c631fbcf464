"""What waits: of pulls and pictures the newest only, and nothing that a later order depends on is lost."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from autodrag.app.events import Changed, Look, Note, Work
from autodrag.app.protocol import AnyMessage, Command, Picture, Pull, Release
from autodrag.app.queues import IN_FLIGHT, MAX_ORDERS, Inbox, Outbox
from autodrag.errors import InputError

POINTS = {"handles": ((1.0, 2.0),), "targets": ((3.0, 4.0),), "pins": (), "again": False}


def alone(work: Coroutine[Any, Any, Any]) -> Any:
    """`asyncio.run` in a thread of its own: the browser of other tests may have a loop running in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def pull(gesture: int, time: float) -> Pull:
    return Pull(type="pull", gesture=gesture, time=time, **POINTS)


def release(gesture: int) -> Release:
    return Release(type="release", gesture=gesture, time=9.0, **POINTS)


def taken(inbox: Inbox) -> list[AnyMessage]:
    async def drain() -> list[AnyMessage]:
        return [await inbox.get() for _ in iter(lambda: bool(inbox), False)]

    return alone(drain())


def test_of_the_pulls_that_wait_the_newest_is_kept() -> None:
    inbox = Inbox()
    for time in range(100):
        inbox.put(pull(1, float(time)))
    assert taken(inbox) == [pull(1, 99.0)]


def test_a_release_replaces_its_pulls_and_is_replaced_by_nothing() -> None:
    inbox = Inbox()
    orders = [pull(1, 0.0), release(1), pull(2, 0.0), pull(2, 1.0), Command(type="undo"), pull(2, 2.0)]
    for order in orders:
        inbox.put(order)
    assert taken(inbox) == [release(1), pull(2, 1.0), Command(type="undo"), pull(2, 2.0)]


def test_a_sliding_slider_stays_one_step_of_undo() -> None:
    def slid(seed: int, amend: bool) -> Picture:
        return Picture(type="picture", seed=seed, psi=1.0, style=None, amend=amend, settled=False)

    inbox = Inbox()
    for order in (slid(1, False), slid(2, True), slid(3, True), slid(4, False)):
        inbox.put(order)
    assert taken(inbox) == [slid(3, False), slid(4, False)]


def test_another_setting_is_not_lost_in_a_sliding_slider() -> None:
    seed = Picture(type="picture", seed=5, amend=False, settled=True)
    psi = Picture(type="picture", psi=0.5, amend=True, settled=False)
    inbox = Inbox()
    for order in (seed, psi, psi):
        inbox.put(order)
    assert taken(inbox) == [seed, psi]


def test_too_many_orders_are_refused() -> None:
    inbox = Inbox()
    with pytest.raises(InputError, match="still busy"):
        for _ in range(MAX_ORDERS + 1):
            inbox.put(Command(type="undo"))


def test_a_page_that_is_too_fast_waits_until_there_is_room_and_loses_nothing() -> None:
    orders = [release(gesture) for gesture in range(3 * MAX_ORDERS)]

    async def hurry(inbox: Inbox) -> None:
        for order in orders:
            await inbox.room(order)
            inbox.put(order)

    async def converse() -> list[AnyMessage]:
        inbox = Inbox()
        page = asyncio.ensure_future(hurry(inbox))
        await asyncio.sleep(0)  # the page has said what there is room for
        assert not page.done()
        taken = [await asyncio.wait_for(inbox.get(), 10) for _ in orders]
        await page
        return taken

    assert alone(converse()) == orders


def test_a_pull_has_room_in_place_of_the_one_before() -> None:
    inbox = Inbox()
    for gesture in range(MAX_ORDERS):
        inbox.put(pull(gesture, 0.0))
    alone(asyncio.wait_for(inbox.room(pull(MAX_ORDERS - 1, 1.0)), 10))
    inbox.put(pull(MAX_ORDERS - 1, 1.0))
    assert taken(inbox)[-1] == pull(MAX_ORDERS - 1, 1.0)


def test_what_is_told_comes_in_the_order_of_its_newest() -> None:
    async def converse() -> list[str]:
        outbox = Outbox()
        for event in (Work(""), Changed({}), Work("compare", 0, 9)):
            outbox.put(event)
        return [(await outbox.get())["type"] for _ in range(2)]

    assert alone(converse()) == ["session", "work"]


def test_the_end_of_a_file_is_not_that_of_the_work_beside_it() -> None:
    async def converse() -> list[tuple[str, str]]:
        outbox = Outbox()
        for event in (Work("compare", 0, 9), Work("film", 1, 1, beside=True), Work("", beside=True)):
            outbox.put(event)
        told = [await outbox.get() for _ in range(2)]
        return [(message["type"], message["what"]) for message in told]

    assert alone(converse()) == [("work", "compare"), ("file", "")]


def look(lane: str, number: int) -> Look:
    return Look(lane, lambda: np.zeros((1, 1, 3), np.uint8), False, {"number": number})


def test_pictures_wait_for_the_page_and_stale_ones_are_dropped() -> None:
    async def converse() -> None:
        outbox = Outbox()
        sent = []
        for number in range(50):
            outbox.put(look("main", number))
            if number < IN_FLIGHT:
                sent.append(await outbox.get())
        with pytest.raises(asyncio.TimeoutError):  # the page has drawn none of them yet
            await asyncio.wait_for(outbox.get(), 0.05)
        outbox.put(Work("drag", 1, 2))
        outbox.put(Work("drag", 2, 2))
        outbox.put(Note("first"))
        outbox.put(look("draggan", 7))
        outbox.shown()
        told = [await outbox.get() for _ in range(3)]
        assert [message["text"] for message in told[:1]] == ["first"]  # texts do not wait for pictures
        assert told[1] == {"type": "work", "what": "drag", "step": 2, "steps": 2}
        assert told[2].header == {"number": 49}
        outbox.shown()
        assert (await outbox.get()).lane == "draggan"
        assert [each.header["number"] for each in sent] == list(range(IN_FLIGHT))

    alone(converse())
