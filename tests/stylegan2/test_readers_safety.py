"""Damaged, hostile and other files give a clear error at once, and nothing in them is executed."""

import builtins
import io
import os
import pathlib
import pickle
import random
import shutil
import struct
import time
import zipfile

import pytest
import torch

from third_party.stylegan2.readers import CheckpointError, read_checkpoint


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.fixture
def refuses(forger, tmp_path):
    """A function (bytes, *words) that reads them as a file, expects one sentence with the words, and no execution."""

    def check(data, *words):
        path = forger.write(data)
        start = time.process_time()  # of this process: other ones may keep the machine busy
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(path)
        text = str(caught.value).removeprefix(f"{path} ")
        assert time.process_time() - start < 30  # a bomb that goes off takes minutes or all memory
        assert text.endswith(".")
        assert "expected: " in text
        assert "\n" not in text
        assert len(text) < 600
        assert all(word in text for word in words), text
        assert not (tmp_path / "executed").exists()

    return check


def torch_bytes(thing, legacy):
    buffer = io.BytesIO()
    torch.save(thing, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


@pytest.mark.parametrize("protocol", range(6))
def test_calls_are_refused(refuses, tmp_path, protocol):
    touch = f"touch {tmp_path / 'executed'}"
    refuses(pickle.dumps(Call(os.system, touch), protocol), "posix.system", "executed")
    refuses(pickle.dumps({"G_ema": Call(eval, f"__import__('os').system({touch!r})")}, protocol), "builtins.eval")
    for function in (builtins.__import__, exec, os.popen, torch.load, torch.hub.load, open):
        refuses(pickle.dumps([Call(function, touch)], protocol), "was refused")
    for function in (getattr, shutil.rmtree, pathlib.Path.touch):
        refuses(pickle.dumps(Call(function, tmp_path / "executed"), protocol))


def test_calls_spelt_otherwise_are_refused(refuses, tmp_path):
    touch = f"touch {tmp_path / 'executed'}".encode()
    refuses(b"cos\nsystem\n(S'" + touch + b"'\ntR.", "os.system")
    refuses(b"(S'" + touch + b"'\nios\nsystem\n.", "os.system")
    refuses(b"(cos\nsystem\nS'" + touch + b"'\no.", "os.system")
    refuses(b"\x80\x02cos\nsystem\nU" + bytes([len(touch)]) + touch + b"\x85\x81.", "os.system")
    refuses(b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system")
    refuses(b"\x80\x04\x8c\x05torch\x8c\x0bhub.load_ab\x93.", "torch.hub")
    refuses(b"\x80\x02\x82\x01.", "pickle")  # the registry of copyreg
    refuses(b"\x80\x02cdnnlib.util\ncall_func_by_name\n.", "dnnlib.util.call_func_by_name")
    refuses(b"\x80\x02ctorch_utils.misc\nevil\n.", "torch_utils.misc.evil")


@pytest.mark.parametrize("legacy", [False, True])
def test_calls_in_torch_files_are_refused(refuses, forger, tmp_path, legacy):
    call = Call(os.system, f"touch {tmp_path / 'executed'}")
    inner = torch_bytes({"g_ema": {"x": torch.ones(2), "y": call}}, legacy)
    refuses(inner, "posix.system")
    refuses(pickle.dumps({"G_ema": Call(torch.storage._load_from_bytes, inner)}), "posix.system")
    deeper = torch_bytes(Call(torch.storage._load_from_bytes, torch_bytes(torch.ones(2), True)), legacy)
    refuses(pickle.dumps({"G_ema": Call(torch.storage._load_from_bytes, deeper)}), "_load_from_bytes")


def test_files_cut_short(refuses, forger, tiny_config):
    snapshot = forger.nvidia(tiny_config).read_bytes()
    for size in (1, 2, 100, len(snapshot) // 2, len(snapshot) - 1):
        refuses(snapshot[:size], "truncated")
    for legacy in (False, True):
        whole = torch_bytes({"g_ema": {"x": torch.ones(3000)}, "latent_avg": torch.ones(9)}, legacy)
        for size in (20, len(whole) // 2, len(whole) - 1):
            refuses(whole[:size], "truncated")


def test_other_kinds_of_files(refuses, tmp_path):
    refuses(b"", "is empty")
    refuses(b"hello\nworld\n" * 50, "text file")
    refuses(b"content: of a config\nor so: 1\n", "text file")
    refuses("Grüße".encode(), "text file")
    refuses(b"<!DOCTYPE html><html></html>", "web page")
    refuses(b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG")
    refuses(bytes(1000), "binary file")
    for thing in (None, 3, [1, 2], {"a": 1}, (1, 2), "text", {1: 2}):
        refuses(pickle.dumps(thing), "is a pickle of")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("generator.pkl", "data")
    refuses(buffer.getvalue(), "zip archive")
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(CheckpointError, match=r"is a folder|does not exist"):
            read_checkpoint(path)


def test_absurd_sizes(refuses):
    refuses(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"abc.", "truncated")
    refuses(b"\x80\x04B" + struct.pack("<I", (1 << 32) - 1) + b"abc.", "truncated")
    refuses(b"\x80\x04X" + struct.pack("<I", (1 << 32) - 1) + b"abc.", "truncated")
    refuses(b"\x80\x04\x8b" + struct.pack("<I", 100_000) + b"\xff" * 100_000 + b".", "damaged")
    refuses(b"\x80\x04]r\xff\xff\xff\x7f.", "pickle")  # a memo slot far away
    storage = torch_bytes({"g_ema": {"x": torch.ones(7)}}, legacy=True)
    at = storage.rindex(struct.pack("<q", 7))
    refuses(storage[:at] + struct.pack("<q", 1 << 50) + storage[at + 8 :], "damaged")
    wide = torch.as_strided(torch.ones(1), (1 << 30, 1 << 8), (0, 0))  # a terabyte in one number
    names = ("style.1.weight", "style.1.bias", "input.input", "conv1.conv.weight")
    refuses(torch_bytes({"g_ema": dict.fromkeys(names, wide)}, legacy=True), "damaged")


def test_bombs(refuses):
    many = 3_000_000
    for filler in (b"}", b"]", b"(", b"\x8f", b")", b"N", b"K\x00"):
        refuses(b"\x80\x04" + filler * many + b".", "instructions")
    deep = 100_000
    refuses(b"\x80\x04" + b"]" * deep + b"a" * (deep - 1) + b".", "list")
    refuses(b"\x80\x04)" + b"\x85" * deep + b".", "tuple")
    refuses(b"\x80\x04})" + b"\x85" * deep + b"Ns.", "damaged")  # as a key it would have to be hashed
    namespace = b"cargparse\nNamespace\n)\x81"
    refuses(b"\x80\x04" + namespace * deep + b"b" * (deep - 1) + b".", "instructions")
    refuses(b"\x80\x04" + namespace * 60_000 + b"b" * 59_999 + b".", "Namespace")
    laughs = b"]\x94" + b"".join(b"]\x94(h" + bytes([i, ord("h"), i]) + b"e" for i in range(60))
    refuses(b"\x80\x04" + laughs + b".", "list")
    refuses(b"\x80\x04" + laughs + b"}X\x01\x00\x00\x00ah\x3cs.", "pickle of a")
    cycle = []
    cycle.append(cycle)
    refuses(pickle.dumps(cycle), "list")
    refuses(pickle.dumps({"G_ema": cycle, "g_ema": cycle}), "G_ema")


def test_cycles_in_a_snapshot(forger, tiny_config):
    def edit(ema):
        ema.attributes["_modules"]["synthesis"].attributes["conv_clamp"] = ema.attributes
        ema.attributes["itself"] = ema.attributes

    read_checkpoint(forger.nvidia(tiny_config, edit=edit))


def test_random_damage_is_always_one_sentence(forger, tiny_config):
    draw = random.Random(0)
    whole = forger.nvidia(tiny_config).read_bytes()
    buffer = torch_bytes({"g_ema": {f"style.{i}.weight": torch.ones(3) for i in range(9)}}, legacy=False)
    for i in range(300):
        data = bytearray(buffer if i % 3 == 0 else whole)
        for _ in range(draw.choice((1, 2, 9))):
            data[int(draw.random() ** 3 * len(data))] = draw.randrange(256)
        try:
            read_checkpoint(forger.write(data))
        except CheckpointError as error:
            assert "\n" not in str(error)
