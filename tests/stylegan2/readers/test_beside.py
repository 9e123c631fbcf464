"""What else is in the file of a generator: it is neither executed nor in the way."""

import argparse
import collections
import datetime
import functools
import pathlib
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from third_party.stylegan2.readers import read_checkpoint


def schedule(rate):
    """A function such as a scheduler holds."""
    return rate


def everything_else():
    """What training scripts save next to their generator."""
    network = nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU())
    adam = torch.optim.Adam(network.parameters())
    one = torch.optim.lr_scheduler.OneCycleLR(adam, 0.1, total_steps=4)
    network(torch.ones(1, 2)).sum().backward()
    adam.step()
    return {
        "D": network,
        "optimizer": adam,
        "d_optim": adam.state_dict(),
        "scheduler": one.state_dict(),
        "partial": functools.partial(schedule, rate=1),
        "args": argparse.Namespace(path=pathlib.PurePosixPath("/x"), when=datetime.datetime(2020, 1, 2)),
        "counts": collections.Counter("hello"),
        "default": collections.defaultdict(list, {3: [1, 2]}),
        "queue": collections.deque([1, 2], maxlen=4),
        "random": [np.random.RandomState(0).get_state(), torch.get_rng_state(), np.random.default_rng(0)],
        "names": np.array(["a", "b"]),
        "objects": np.array([None, "x"], dtype=object),
        "scalar": np.float64(3),
        "types": [torch.float16, torch.device("cpu"), torch.Size([1]), np.dtype("float32"), 1 + 2j],
        "complex": torch.ones(2, dtype=torch.complex64),
        "without a storage": [torch.ones(2).to(torch.float8_e4m3fn), torch.ones(3, dtype=torch.uint16)],
        "sparse": torch.eye(2).to_sparse(),
        "subclass": nn.Parameter(torch.ones(2)),
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_whatever_is_beside_a_state_dict_is_left_alone(read, config, state, theirs, legacy, same):
    content = everything_else() | {"g_ema": theirs, "latent_avg": state["mapping.w_avg"]}
    found = read(content, _use_new_zipfile_serialization=not legacy)
    assert found.config == config
    assert same(found.state, state)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_whatever_is_beside_a_pickled_generator_is_left_alone(forger, tiny_config, make_random, protocol, same):
    snapshot = everything_else() | {"G_ema": forger.generator(tiny_config)}
    found = read_checkpoint(forger.dump(snapshot, protocol))
    assert found.config == tiny_config
    assert same(found.state, make_random(tiny_config, 1).state_dict())


def test_a_class_that_says_how_it_is_built_is_not_asked(forger, tiny_config, tmp_path):
    class Evil:
        def __reduce__(self):
            return pathlib.Path.touch, (tmp_path / "executed",)

    read_checkpoint(forger.dump({"G_ema": forger.generator(tiny_config), "x": Evil()}))
    assert not (tmp_path / "executed").exists()


def test_what_no_pickle_of_a_generator_holds_is_said(forger, tiny_config, refuses):
    def edit(ema):
        ema.attributes["_modules"]["synthesis"].attributes["_parameters"] = {"weight": "text"}

    assert "a parameter that is no tensor" in refuses(forger.nvidia(tiny_config, edit=edit), "damaged")
    refuses(forger.dump({"g_ema": {"input.input": "text", "style.1.weight": 3}}), "input.input", "no tensor")
    refuses(forger.write(pickle.dumps([1, 2])[:-1] + b"\xff."), "damaged", "instructions")
    refuses(forger.dump({"g_ema": everything_else()["D"]}), "g_ema (torch.nn.modules.container.Sequential)")


def test_a_state_dict_of_stylegan3_is_called_so(tmp_path, refuses):
    torch.save({"mapping.fc0.weight": torch.ones(2, 2), "synthesis.input.freqs": torch.ones(2)}, tmp_path / "file")
    refuses(tmp_path / "file", "is a StyleGAN3 generator")
