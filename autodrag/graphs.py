"""Many small operations as one CUDA graph: a GPU runs those of a drag faster than Python can launch them one by one.

A graph is replayed on the memory of its recording, so inputs are copied in and outputs copied out.
"""

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Work: TypeAlias = Callable[[], Sequence[Tensor]]
#: Records work; returns a function that replays it, and the tensors that it writes to.
Recorder: TypeAlias = Callable[[Work], tuple[Callable[[], object], Sequence[Tensor]]]

WARM_UPS = 2  # runs before a recording, during which libraries choose their kernels
REMEMBERED = 8  # recordings kept for a function, by the shapes of its inputs


def record_cuda(work: Work) -> tuple[Callable[[], object], Sequence[Tensor]]:
    """The `Recorder` for a GPU. Other threads may use the GPU meanwhile."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = work()
    return graph.replay, outputs


class Graphed:
    """A function of tensors (or None), without gradients, that is recorded at its second call with the same shapes.

    The first call for given shapes runs the function, so that a single call costs no recording. So do calls on a CPU,
    calls while a gradient is recorded, and all calls after a recording has failed, which prints a warning. The function
    must depend on its arguments alone and must neither synchronise with the GPU nor copy to it. Thread-safe.
    """

    def __init__(self, function: Callable[..., Sequence[Tensor]], record: Recorder | None = None) -> None:
        """record: in place of `record_cuda`, and then on any device."""
        self._function, self._record = function, record
        self._lock = threading.Lock()
        self._recorded: OrderedDict[object, _Recording | None] = OrderedDict()  # None: seen once
        self._failed = False

    def __call__(self, *inputs: Tensor | None) -> Sequence[Tensor]:
        """The results of the function, in new memory."""
        given = [x for x in inputs if x is not None]
        usable = self._record is not None or all(x.is_cuda for x in given)
        if self._failed or not usable or (torch.is_grad_enabled() and any(x.requires_grad for x in given)):
            return self._function(*inputs)
        key = tuple(None if x is None else (x.shape, x.dtype, x.device) for x in inputs)
        with self._lock, torch.no_grad():
            if key not in self._recorded:
                self._remember(key, None)
                return self._function(*inputs)
            try:
                recording = self._recorded[key] or _Recording(self._function, inputs, self._record or record_cuda)
            except RuntimeError as error:
                self._failed = True
                reason = str(error).strip().partition("\n")[0]
                print(f"CUDA graphs are off, which is slower: {reason}", file=sys.stderr)
                return self._function(*inputs)
            self._remember(key, recording)
            return recording.replay(inputs)

    def _remember(self, key: object, recording: "_Recording | None") -> None:
        self._recorded[key] = recording
        self._recorded.move_to_end(key)
        while len(self._recorded) > REMEMBERED:
            self._recorded.popitem(last=False)


class _Recording:
    """The recording of one call: the memory of its inputs and outputs, and the replay."""

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
