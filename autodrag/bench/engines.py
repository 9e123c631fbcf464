"""Ways to run the same computation with less overhead: torch.compile and CUDA graphs."""

from collections.abc import Callable

import torch
from torch import Tensor

Call = Callable[[Tensor], Tensor]


def compiled(call: Call) -> Call:
    """Through torch.compile, for fixed shapes."""
    result: Call = torch.compile(call, dynamic=False)
    return result


def graphed(call: Call, ws: Tensor) -> Callable[[], object]:
    """A CUDA graph of `call(ws)`, replayed; its input and output stay where they are."""
    stream = torch.cuda.Stream(ws.device)
    stream.wait_stream(torch.cuda.current_stream(ws.device))
    with torch.no_grad(), torch.cuda.stream(stream):
        for _ in range(3):  # libraries choose their algorithms before the capture
            call(ws)
    torch.cuda.current_stream(ws.device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        output = call(ws)

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay
