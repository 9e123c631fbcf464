"""The sessions of a server. A session outlives its page for a while, so that the page can return to it."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from autodrag.app.client import Client
from autodrag.app.controller import Controller
from autodrag.app.orders import Hello
from autodrag.app.turns import Turns
from autodrag.config import DatasetConfig
from autodrag.editor.inversion import InvertConfig
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.session import Editor
from autodrag.errors import InputError
from autodrag.precision import Asked
from autodrag.typed import check_bounds


@dataclass(frozen=True)
class AppConfig:
    """`configs/app.yaml`."""

    dataset: DatasetConfig  # of a new session
    first_method: str | None  # of a new session; None, or without weights: the first that can be used
    first_seed: int  # of a new session
    weights: str | None  # file of a model for the dataset; None: the shipped ones
    host: str  # network interface to listen on
    port: int  # 0: any free port
    hosts: tuple[str, ...]  # host names besides the loopback's that the page may be opened under
    device: str  # auto | cpu | cuda | cuda:1
    dtype: Asked  # of synthesis
    workers: int | None  # jobs at the same time, of all pages together; None: one a core, 1 on a GPU
    max_clients: int  # pages that are open at the same time
    keep_minutes: float  # how long a session is kept after its page has disconnected
    max_upload_mb: int  # of a picture or a mask
    max_session_mb: int  # of a session's file, which holds the weights of a fine-tuned generator
    max_generator_mb: int  # of a generator's file that a page opens; 0: none may
    invert: InvertConfig  # how pictures of users are inverted
    open_browser: bool  # whether to open the page at the start

    def __post_init__(self) -> None:
        some = (1, math.inf)
        check_bounds("", self, port=(0, 65535), workers=some, max_clients=some, keep_minutes=(0.0, math.inf))


class Hub:
    """Sessions by token, including those without a page, and the models that they share."""

    def __init__(self, config: AppConfig, models: ModelCache, dataset: str) -> None:
        self.config, self.models, self.dataset = config, models, dataset
        self.turns = Turns(1 if config.workers is None and models.device.type != "cpu" else config.workers)
        self.clients: dict[str, Client] = {}

    def client(self, token: str) -> Client:
        """The session of a token. Raises InputError if it has ended."""
        if token not in self.clients:
            raise InputError("The session of this page is gone: reload the page.")
        return self.clients[token]

    @asynccontextmanager
    async def page(self, token: str, fresh: bool) -> AsyncIterator[tuple[Client, asyncio.Event]]:
        """Connect a page to the session of its token, or to a new session if there is none.

        fresh: the page was loaded anew. The event is set when another page takes the session. Raises InputError if too
        many pages are open.
        """
        client = self.clients.get(token)
        if client is None or client.visit is None:
            self._check_room(new=client is None)
        if client is None:
            client, visit = await self._new()
        else:
            client.inbox.put(Hello(fresh))
            visit = client.arrive()
        try:
            yield client, visit
        finally:
            if client.leave(visit):
                seconds = 60 * self.config.keep_minutes
                asyncio.get_running_loop().call_later(seconds, self._forget, client, seconds)

    def _check_room(self, new: bool) -> None:
        """Raises InputError if too many pages are open.

        new: the page needs a session of its own. If too many wait already, the one that has waited longest ends.
        """
        waiting = sorted((c for c in self.clients.values() if c.visit is None), key=lambda c: c.left)
        if len(self.clients) - len(waiting) >= self.config.max_clients:
            raise InputError(f"{self.config.max_clients} pages are open already: close one, or raise max_clients.")
        if new and len(waiting) >= self.config.max_clients:
            self._forget(waiting[0])

    async def _new(self) -> tuple[Client, asyncio.Event]:
        client = Client(self.turns)
        self.clients[client.token], visit = client, client.arrive()  # it counts from now on, though it takes a while
        try:
            await client.open(self._controller)
        except BaseException:
            del self.clients[client.token]
            raise
        return client, visit

    def _forget(self, client: Client, seconds: float = 0.0) -> None:
        """End a session whose page has not returned in time."""
        if client.visit is None and asyncio.get_running_loop().time() >= client.left + seconds:
            self.clients.pop(client.token, None)
            client.close()

    def close(self) -> None:
        """End all sessions."""
        for client in self.clients.values():
            client.close()
        self.turns.close()

    def _controller(self) -> Controller:
        method = self.models.usable(self.config.first_method, self.dataset)
        return Controller(
            self.models, Editor(self.dataset, seed=self.config.first_seed, method=method, models=self.models)
        )
