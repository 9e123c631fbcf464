"""The project's own files, state dicts for others, and conversion."""

import dataclasses
import json
import os

import pytest
import torch
from safetensors.torch import save_file

from third_party.stylegan2.readers import (
    CheckpointError,
    convert,
    read_checkpoint,
    write_safetensors,
    write_state_dict,
)


def refuses(path, *words):
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_round_trip(variants, make_random, tmp_path):
    for kind, config in variants.items():
        state = make_random(config).state_dict()
        write_safetensors(tmp_path / "file", config, state)
        checkpoint = read_checkpoint(tmp_path / "file")
        assert (checkpoint.config, checkpoint.kind) == (config, "safetensors"), kind
        assert all(torch.equal(checkpoint.state[name], tensor) for name, tensor in state.items()), kind
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_half_precision_is_read_as_float32(tiny_config, make_random, tmp_path):
    state = make_random(tiny_config).half().state_dict()
    write_safetensors(tmp_path / "file", tiny_config, state)
    read = read_checkpoint(tmp_path / "file").state
    assert all(read[name].dtype == torch.float32 and torch.equal(read[name], state[name].float()) for name in state)


def test_wrong_metadata(tiny_config, make_random, tmp_path):
    path, state = tmp_path / "file", make_random(tiny_config).state_dict()
    for metadata in (None, {"kind": "autodrag"}, {"kind": "stylegan2"}):
        save_file(state, path, metadata)
        refuses(path, "metadata")
    good = json.loads(tiny_config.to_json())
    wrong = [
        *({"z_dim": value} for value in ("a", None, 6.5, -1)),
        {"unheard": 1},
        {"resolution": [float("inf"), 16]},
        {"resolution": [2**70, 2**70]},
        {"channels": {"4": 7, "16": 5}},
        {"conv_clamp": "a"},
        {"resample_filter": []},
    ]
    for text in ("", "[" * 100_000, "null", "9" * 5000, *(json.dumps(good | change) for change in wrong)):
        save_file(state, path, {"kind": "stylegan2", "config": text})
        refuses(path, "config")
    for change in (
        {"channels": {"4": 7}},
        {"mapping_layers": 10**9},
        {"w_dim": 10**12},
        {"c_dim": 5},
        {"architecture": "orig"},
    ):
        save_file(state, path, {"kind": "stylegan2", "config": json.dumps(good | change)})
        refuses(path, "tensor")


def test_cut_short(tiny_config, make_random, tmp_path):
    path = tmp_path / "file"
    write_safetensors(path, tiny_config, make_random(tiny_config).state_dict())
    data = path.read_bytes()
    for size in (20, 1000, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        refuses(path, "truncated")


def test_state_dict_has_nvidias_names(tiny_config, make_random, tmp_path):
    state = make_random(tiny_config).state_dict()
    write_state_dict(tmp_path / "file", tiny_config, state)
    stored = torch.load(tmp_path / "file", weights_only=True)
    assert set(stored) == set(state)
    assert all(torch.equal(stored[name], tensor) for name, tensor in state.items())


def test_convert(forger, tiny_config, make_random, tmp_path):
    config = dataclasses.replace(tiny_config, z_dim=8)
    source = forger.nvidia(config)
    for suffix in (".safetensors", ".pt"):
        convert(source, tmp_path / f"out{suffix}")
        checkpoint = read_checkpoint(tmp_path / f"out{suffix}")
        assert checkpoint.config == config
        assert all(torch.equal(checkpoint.state[n], t) for n, t in make_random(config, 1).state_dict().items())
    convert(source, tmp_path / "out.pth")
    assert len(torch.load(tmp_path / "out.pth", weights_only=True)) == len(checkpoint.state)
    for target, word in (("out.pkl", "format"), ("no/folder/out.safetensors", "folder"), ("no/out.pt", "folder")):
        with pytest.raises(CheckpointError, match=word):
            convert(source, tmp_path / target)
    assert not list(tmp_path.glob(".*"))


def test_command_line(forger, command, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'executed'}",)

    given = [f"src={forger.dump(Evil())}", f"dst={tmp_path / 'out.safetensors'}"]
    status, out, err = command("convert", *given)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "posix.system" in err
    assert not (tmp_path / "executed").exists()
