"""What is computed for every pixel alone, on one device as on the other, and its written-out gradients."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from third_party.stylegan2.pointwise import broadcast_scale_shift_lrelu_, mix, modulate, scale_shift_lrelu, shift_lrelu_

LAYOUTS = (torch.channels_last, torch.contiguous_format)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("clamp", [None, 0.5])
@pytest.mark.parametrize("noises", [0, 1, 3])
def test_what_a_gpu_computes_is_what_a_cpu_does(
    close: Any, layout: torch.memory_format, clamp: float | None, noises: int
) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(3, 6, 8, 4, generator=draw).contiguous(memory_format=layout)
    scale, bias = torch.randn(3, 6, generator=draw), torch.randn(6, generator=draw)
    noise = torch.randn(noises, 8, 4, generator=draw) if noises else None
    wanted = scale_shift_lrelu(x.clone(memory_format=torch.preserve_format), scale, bias, noise, clamp)
    found = broadcast_scale_shift_lrelu_(x, scale, bias, None if noise is None else noise.flatten(1), clamp)
    assert found.data_ptr() == x.data_ptr() and found.is_contiguous(memory_format=layout)
    assert close(found, wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_written_out_gradients_are_those_of_the_functions(close: Any, layout: torch.memory_format) -> None:
    rng = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=rng)

    x = draw(2, 3, 4, 2).contiguous(memory_format=layout).requires_grad_()
    scale, bias = draw(2, 3).requires_grad_(), draw(3).requires_grad_()
    for noise in (None, draw(1, 4, 2).requires_grad_(), draw(2, 4, 2).requires_grad_()):
        for clamp in (None, 0.7):
            arguments = (x, scale, bias, noise, clamp)
            assert torch.autograd.gradcheck(scale_shift_lrelu, arguments)
            assert torch.autograd.gradgradcheck(scale_shift_lrelu, arguments)
            y = scale_shift_lrelu(*arguments)
            pure = [None if t is None else t.detach().clone() for t in (x, scale, bias, noise)]
            assert close(scale_shift_lrelu(*pure, clamp), y)  # type: ignore[arg-type]
            added = x.detach() * scale.detach()[:, :, None, None] + bias.detach()[:, None, None]
            added = added.contiguous(memory_format=layout)
            assert close(shift_lrelu_(added, pure[3], clamp), y)
    assert torch.autograd.gradcheck(modulate, (x, scale))
    assert torch.autograd.gradgradcheck(modulate, (x, scale))
    assert close(modulate(x.detach(), scale.detach()), x.detach() * scale.detach()[:, :, None, None])
    weight = draw(5, 3)
    assert close(mix(x.detach(), weight[None]), F.conv2d(x.detach(), weight[:, :, None, None]))
