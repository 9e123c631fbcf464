"""Scheduling: whose turn it is to compute, and with how many threads."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any, TypeVar

import torch

T = TypeVar("T")

ACTIVE = 0.5  # seconds since its last moment for which a session counts as being at work
TRIAL = 5  # pictures that another number of threads is tried for; the first one sets up and does not count
EVERY = 120  # pictures between two trials
SLOWER, FASTER = 1.3, 0.9  # times the seconds before: enough for a trial at once, and to keep what was tried


class Turns:
    """The turns of a server's sessions. While one session is active, its turns use all cores.

    While several are active, as many turns as there are cores run in parallel, drafts with one thread each, which
    wastes less time. All other turns keep their number of threads, because the last bits of results depend on it. most:
    largest number of parallel turns; None: one for each core.
    """

    def __init__(self, most: int | None = None) -> None:
        self._cores = torch.get_num_threads()
        self._most = self._cores if most is None else most
        self._executor = ThreadPoolExecutor(self._most, thread_name_prefix="autodrag")
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._at_work = 0
        self._asked: dict[Hashable, float] = {}  # when each session last asked, by the loop's clock
        self._threads = Threads(self._cores)

    async def run(self, session: Hashable, function: Callable[..., T], *arguments: Any, draft: bool = False) -> T:
        """Compute a function after those that wait already."""
        loop = asyncio.get_running_loop()
        self._asked.pop(session, None)
        self._asked[session] = loop.time()
        await self._begin()
        threads = self._for_draft() if draft else self._cores
        try:
            return await loop.run_in_executor(self._executor, _with_threads, threads, function, *arguments)
        finally:
            self._end()

    def took(self, seconds: float, kind: Hashable) -> bool:
        """Record the time of a draft. Returns whether it is representative, which a trial of other threads is not."""
        if self._places() > 1:
            return True
        usual = not self._threads.trying
        self._threads.took(seconds, kind)
        return usual

    def close(self) -> None:
        """Accept no more turns."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _for_draft(self) -> int:
        places = self._places()
        return self._threads.now if places == 1 else max(1, self._cores // places)

    def _places(self) -> int:
        """How many turns may run in parallel now."""
        past = asyncio.get_running_loop().time() - ACTIVE
        while self._asked and self._asked[first := next(iter(self._asked))] < past:
            del self._asked[first]
        return self._most if len(self._asked) > 1 else 1

    async def _begin(self) -> None:
        if self._at_work < self._places() and not self._waiting:
            self._at_work += 1
            return
        gate = asyncio.get_running_loop().create_future()
        self._waiting.append(gate)
        try:
            await gate
        except asyncio.CancelledError:
            if gate.done() and not gate.cancelled():
                self._end()
            raise

    def _end(self) -> None:
        self._at_work -= 1
        while self._waiting and self._at_work < self._places():
            gate = self._waiting.popleft()
            if not gate.done():
                gate.set_result(None)
                self._at_work += 1


class Threads:
    """The number of threads of drafts while one session is active: all cores, or one if that is faster, found by trial.

    With all cores, each of many small operations waits for the slowest core, which other programs may use.
    """

    def __init__(self, most: int) -> None:
        self._counts = (most, 1)
        self._chosen = self.now = most
        self._kind: Hashable = None
        self._seconds: list[float] = []
        self._usual: float | None = None

    @property
    def trying(self) -> bool:
        """Whether `now` is a trial."""
        return self.now != self._chosen

    def took(self, seconds: float, kind: Hashable) -> None:
        """Record the time of a draft with `now` threads. Only drafts of the same kind are compared."""
        if kind != self._kind:
            self._kind, self.now, self._seconds, self._usual = kind, self._chosen, [], None
        self._seconds.append(seconds)
        if len(self._seconds) < TRIAL:
            return
        recent = median(self._seconds[1 - TRIAL :])
        if self.trying:
            assert self._usual is not None  # a trial begins with it
            self._chosen = self.now if recent < FASTER * self._usual else self._chosen
            self.now, self._seconds = self._chosen, []
        elif self._usual is None or recent > SLOWER * self._usual or len(self._seconds) >= EVERY:
            self._usual, self._seconds = recent, []
            self.now = next((count for count in self._counts if count != self._chosen), self._chosen)


def _with_threads(count: int, function: Callable[..., T], *arguments: Any) -> T:
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)  # of this thread
    return function(*arguments)
