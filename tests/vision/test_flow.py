"""Flow of images whose motion is known."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from autodrag.errors import InputError
from autodrag.vision.flow import Flow, log_expansion


def texture() -> Tensor:
    noise = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return F.interpolate(noise, (128, 128), mode="bicubic").clamp(-1, 1)


def warped(image: Tensor, scale: float, shift: tuple[float, float]) -> Tensor:
    """The image enlarged about its middle, then shifted by pixels (x, y)."""
    matrix = torch.tensor([[1 / scale, 0, -shift[0] / 64 / scale], [0, 1 / scale, -shift[1] / 64 / scale]])
    grid = F.affine_grid(matrix[None], list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)


def test_finds_a_translation() -> None:
    image = texture()
    flow = Flow("dis")(image.repeat(2, 1, 1, 1), torch.cat([image, warped(image, 1, (3, -2))]))
    assert flow.shape == (2, 2, 128, 128)
    inner = flow[:, :, 32:-32, 32:-32]
    assert inner[0].abs().mean() < 0.05
    assert (inner[1] - torch.tensor([3.0, -2.0])[:, None, None]).norm(dim=0).mean() < 0.3


def test_finds_an_expansion() -> None:
    image = texture()
    flow = Flow("dis")(image, warped(image, 1.1, (0, 0)))
    assert log_expansion(flow)[0, 40:-40, 40:-40].mean().item() == pytest.approx(math.log(1.1), abs=0.02)


def test_log_expansion_in_closed_form() -> None:
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    flow = torch.stack([x * 0.2, y * -0.1])[None]
    inner = log_expansion(flow)[0, 10:-10, 10:-10]
    assert torch.allclose(inner, torch.tensor(0.5 * math.log(1.2 * 0.9)), atol=1e-4)
    turn = torch.stack([x * (math.cos(0.3) - 1) - y * math.sin(0.3), x * math.sin(0.3) + y * (math.cos(0.3) - 1)])
    assert log_expansion(turn[None])[0, 10:-10, 10:-10].abs().max() < 1e-3


def test_raft_is_used_if_its_weights_are_installed(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    from torchvision.models.optical_flow import raft_small

    weights = tmp_path / "raft.pth"
    weights.touch()
    monkeypatch.setattr("autodrag.vision.flow._raft_file", lambda: weights)
    monkeypatch.setattr("autodrag.vision.flow._raft", lambda *_: raft_small(weights=None).eval())
    flow = Flow()
    assert flow.name == "raft"
    assert flow(texture(), texture()).shape == (1, 2, 128, 128)


def test_raft_without_weights_gives_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert Flow().name == "dis"
    with pytest.raises(InputError, match=r"needs torchvision's raft_large.*put it into .* or use flow=dis"):
        Flow("raft")
    with pytest.raises(InputError, match="There is no flow 'vcn'"):
        Flow("vcn")
