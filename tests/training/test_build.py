"""Stages are built from the config: new networks, and networks of earlier stages."""

from dataclasses import replace
from typing import Any

import torch

from autodrag.training.build import TrainConfig, build_stage1


def test_new_weights_are_a_function_of_seed_and_stage(tiny: Any, config: TrainConfig) -> None:
    def weights(seed: int, stage: str) -> torch.Tensor:
        stage1 = build_stage1(replace(config, seed=seed, stage=stage), tiny)
        return next(parameter for parameter in stage1.model.parameters() if parameter.dim() == 2).detach()

    torch.manual_seed(0)
    first = weights(0, "1")
    after = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(3))  # the global generator is left as it was
    assert torch.equal(first, weights(0, "1"))
    assert not torch.equal(first, weights(1, "1")) and not torch.equal(first, weights(0, "other"))
