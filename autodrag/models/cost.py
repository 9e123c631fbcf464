"""Cost of a model: parameters of its parts and FLOPs of a drag."""

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from autodrag.models.autodrag import AutoDrag


def parameter_count(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def rollout_flops(model: AutoDrag, points: int = 1, n: int | None = None) -> int:
    """FLOPs of one drag of one image (matrix products, convolutions and attention; a multiply-add counts as 2).

    points: handle-target pairs. n: steps, default as in the model's config.
    """
    shape, device = model.shape, model.predictor.cell_centres.device
    ws = torch.zeros(1, shape.num_ws, shape.w_dim, device=device)
    features = torch.zeros(1, *shape.feature_shape, device=device)
    places = torch.zeros(1, points, 2, device=device)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        model.rollout(ws, features, places, places, n=n)
    return int(counter.get_total_flops())


def cost_table(model: AutoDrag) -> str:
    """Parameters of each part and FLOPs of a drag, as a text table."""
    rows = []
    for network in (model.predictor, model.regularizer):
        if network is not None:
            rows.append((type(network).__name__.lower(), parameter_count(network)))
            rows += [(f"  {name}", parameter_count(part)) for name, part in network.named_children()]
    lines = [f"{name:<24}{count / 1e6:>10.2f} M parameters" for name, count in rows if count]
    lines.append(f"{'all':<24}{parameter_count(model) / 1e6:>10.2f} M parameters")
    for points in (1, 68):
        flops = rollout_flops(model, points)
        lines.append(f"{f'drag, {points} point(s)':<24}{flops / 1e9:>10.2f} GFLOP in {model.config.steps} steps")
    return "\n".join(lines)
