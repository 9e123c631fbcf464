"""Training of the dlib landmark predictor of synthface on renders and generated images with known landmarks."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from autodrag.domains.synthface.parameters import Z_DIM, parameters
from autodrag.domains.synthface.renderer import render
from autodrag.generator import FrozenGenerator
from autodrag.images import to_pixels
from autodrag.seeding import rng
from autodrag.vision.detectors import SYNTHFACE_SCALE, SYNTHFACE_THRESHOLD, find_face, train_predictor

# Fewer and shallower trees than dlib's 99.7 MB model: 8 MB. Half as many of depth 4: the same size, 4 % more error.
TREES = {"tree_depth": 3, "cascade_depth": 10, "num_trees_per_cascade_level": 116, "nu": 0.1, "feature_pool_size": 400}


def labelled_faces(
    generator: FrozenGenerator, count: int, seed: int, batch: int = 8
) -> tuple[UInt8[np.ndarray, "N H W 3"], Float[Tensor, "N 68 2"]]:
    """RGB images with landmarks: seven of eight batches from the generator, one from the renderer."""
    images, landmarks = [], []
    for start in range(0, count, batch):
        z = torch.randn(batch, Z_DIM, generator=rng(seed, "synthface/landmarks", start))
        drawn = render(*parameters(z))
        generated = start // batch % 8 != 0
        images.append(to_pixels(generator.synthesize(generator.map(z)) if generated else drawn.image))
        landmarks.append(drawn.landmarks)
    return np.concatenate(images)[:count], torch.cat(landmarks)[:count]


def make_landmark_predictor(generator: FrozenGenerator, path: Path, count: int = 3000, seed: int = 0) -> None:
    """Train on `count` faces and write dlib's .dat to `path`. Faces missed by the detector are skipped."""
    pictures, landmarks = labelled_faces(generator, count, seed)
    boxes = [find_face(np.ascontiguousarray(p), threshold=SYNTHFACE_THRESHOLD) for p in pictures]
    seen = [i for i, box in enumerate(boxes) if box is not None]
    train_predictor(
        [pictures[i] for i in seen],
        [box for box in boxes if box is not None],
        [landmarks[i].numpy() for i in seen],
        path,
        SYNTHFACE_SCALE,
        oversampling_amount=5,
        **TREES,
    )
