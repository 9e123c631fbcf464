"""CUDA graphs of many small operations: a GPU runs those of a drag faster than Python can launch them.

A graph is replayed in the memory of its recording, so inputs are copied in and outputs are copied out.
"""

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

Work: TypeAlias = Callable[[], Sequence[Tensor]]
#: Records work; returns a function that replays it, and the output tensors.
Recorder: TypeAlias = Callable[[Work], tuple[Callable[[], object], Sequence[Tensor]]]

RECORDING = threading.Lock()  # PyTorch records one graph at a time
WARM_UPS = 2  # runs before a recording, in which libraries choose their kernels
REMEMBERED = 8  # recordings cached per function, by the shapes of its inputs


def record_cuda(work: Work) -> tuple[Callable[[], object], Sequence[Tensor]]:
    """The `Recorder` for the current GPU. Other threads may use it at the same time."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with RECORDING, torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
        outputs = work()
    return graph.replay, outputs


class Graphed:
    """A function of tensors (or None), without gradients, that is recorded at its second call with the same shapes.

    It runs normally at the first call for given shapes, so that a single call costs no recording; on a CPU; while
    gradients are recorded; and after a recording has failed, which prints a warning. The function must depend only on
    its arguments, and neither synchronise the GPU nor copy to it. Thread-safe.
    """

    def __init__(self, function: Callable[..., Sequence[Tensor]], record: Recorder | None = None) -> None:
        """record: replaces `record_cuda`, and is then used on any device."""
        self._function, self._record = function, record
        self._lock = threading.Lock()
        self._recorded: OrderedDict[object, _Recording | None] = OrderedDict()  # None: seen once
        self._failed = False

    def usable(self, x: Tensor) -> bool:
        """Whether functions of a tensor can be recorded: those on a GPU."""
        return self._record is not None or x.is_cuda

    def __call__(self, *inputs: Tensor | None, **settings: int) -> Sequence[Tensor]:
        """The outputs of the function, in new memory. settings: its other arguments; each value has its recording."""
        given = [x for x in inputs if x is not None]
        usable = all(self.usable(x) for x in given)
        if self._failed or not usable or (torch.is_grad_enabled() and any(x.requires_grad for x in given)):
            return self._function(*inputs, **settings)
        shapes = [None if x is None else (x.shape, x.dtype, x.device) for x in inputs]
        key = (*shapes, *sorted(settings.items()))
        with self._lock, torch.no_grad(), _current(given[0].device):
            if key not in self._recorded:
                self._remember(key, None)
                return self._function(*inputs, **settings)
            try:
                function = partial(self._function, **settings)
                recording = self._recorded[key] or _Recording(function, inputs, self._record or record_cuda)
            except RuntimeError as error:
                self._failed = True
                reason = str(error).strip().partition("\n")[0]
                print(f"CUDA graphs are off, which is slower: {reason}", file=sys.stderr)
                return function(*inputs)
            self._remember(key, recording)
            return recording.replay(inputs)

    def _remember(self, key: object, recording: "_Recording | None") -> None:
        self._recorded[key] = recording
        self._recorded.move_to_end(key)
        while len(self._recorded) > REMEMBERED:
            self._recorded.popitem(last=False)


class _Recording:
    """The recording of one call: its input and output tensors, and the replay."""

    def __init__(
        self, function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor | None], record: Recorder
    ) -> None:
        self._inputs = [None if x is None else x.clone() for x in inputs]
        self._replay, self._outputs = record(lambda: function(*self._inputs))

    def replay(self, inputs: Sequence[Tensor | None]) -> list[Tensor]:
        for mine, given in zip(self._inputs, inputs, strict=True):
            if mine is not None and given is not None:
                mine.copy_(given)
        self._replay()
        return [output.clone() for output in self._outputs]


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Make a GPU the current one of this thread, which starts with GPU 0: streams and graphs belong to it."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
