"""Pixels and sizes of images."""

import torch

from autodrag import images as module


def test_to_size_averages() -> None:
    images = torch.arange(16.0).view(1, 1, 4, 4)
    assert module.to_size(images, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert module.to_size(images, 4) is images
    assert module.to_size(torch.zeros(1, 3, 64, 32), 128).shape == (1, 3, 128, 64)


def test_pixels_are_rounded_clipped_and_rgb() -> None:
    image = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert module.to_pixels(image)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]
    assert module.to_pixels(image[:, :1]).shape == (1, 1, 5, 3)
