"""Folders of samples: written, resumed, repaired, refused. The samples are made up, so no generator is needed."""

from collections.abc import Container, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autodrag.data.matching import Matches, MatchingConfig
from autodrag.data.outlines import NO_OUTLINES, Outlines
from autodrag.data.shards import ShardIndex, fill, pack, read_index, read_shard, unpack
from autodrag.data.trajectories import NO_MATCHES, MatchedMotion, Recipe, TrajectoryConfig
from autodrag.errors import InputError

MATCHING = MatchingConfig(512, 500, 8, 16, "auto", 6.0, 3.0, 5.0, 5, 200.0, 1.0)
TRAJECTORY = TrajectoryConfig(
    3,
    "toward",
    "trajectory",
    "one",
    (90.0, 90.0),
    (0.1, 0.2),
    1.0,
    None,
    0.5,
    60.0,
    50.0,
    None,
    True,
    True,
    8,
    5,
    MATCHING,
)
RECIPE = Recipe("0" * 64, "float32", 7, None, TRAJECTORY)


def made_up(index: int) -> MatchedMotion:
    """A sample whose numbers encode its index; every third has an empty step."""
    draw = np.random.default_rng(index)

    def matches(count: int) -> Matches:
        return Matches(*draw.random((2, count, 2), dtype=np.float32))

    steps = (matches(2), matches(0 if index % 3 == 0 else 1), matches(4))
    outlines = Outlines(*draw.random((3, index % 3, 2), dtype=np.float32))
    return MatchedMotion(index, index % 2, matches(1 + index % 5), matches(index % 2 * 68), steps, outlines)


class Maker:
    """Makes samples, records which, and is killed after `lives` of them. in_vain: samples without a match."""

    def __init__(self, lives: int | None = None, in_vain: Container[int] = ()) -> None:
        self.lives, self.in_vain = lives, in_vain
        self.indices: list[int] = []

    def __call__(self, indices: list[int]) -> Iterator[MatchedMotion]:
        for index in indices:
            if self.lives is not None and len(self.indices) == self.lives:
                raise KeyboardInterrupt
            self.indices.append(index)
            sample = made_up(index)
            yield replace(sample, attempt=5, ends=NO_MATCHES) if index in self.in_vain else sample


def run(
    folder: Path, count: int = 10, recipe: Recipe = RECIPE, maker: Maker | None = None
) -> tuple[ShardIndex, list[int], list[str]]:
    maker = maker or Maker()
    said: list[str] = []
    manifest = fill(folder, recipe, count, 4, maker, said.append)
    return manifest, maker.indices, said


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same(a: MatchedMotion, b: MatchedMotion) -> bool:
    pairs = zip((a.ends, a.landmarks, *a.steps, a.outlines), (b.ends, b.landmarks, *b.steps, b.outlines), strict=True)
    return (
        np.array_equal(a.outlines.normals, b.outlines.normals)
        and (a.index, a.attempt) == (b.index, b.attempt)
        and all(np.array_equal(p.handles, q.handles) and np.array_equal(p.targets, q.targets) for p, q in pairs)
    )


def test_unpack_inverts_pack() -> None:
    samples = [made_up(i) for i in range(9)]
    assert all(same(a, b) for a, b in zip(samples, unpack(pack(samples)), strict=True))


def test_shards_without_outlines_are_read() -> None:
    samples = [made_up(i) for i in range(4)]
    older = {name: tensor for name, tensor in pack(samples).items() if not name.startswith("outline")}
    assert all(same(replace(a, outlines=NO_OUTLINES), b) for a, b in zip(samples, unpack(older), strict=True))


def test_shards_round_trip(tmp_path: Path) -> None:
    run(tmp_path)
    manifest = read_index(tmp_path)
    samples = [s for number in range(3) for s in read_shard(tmp_path, manifest.shards[number])]
    assert all(same(a, made_up(i)) for i, a in enumerate(samples)) and len(samples) == 10


def test_manifest_counts(tmp_path: Path) -> None:
    run(tmp_path)
    totals = read_index(tmp_path).totals()
    assert totals.samples == 10
    assert totals.redraws == 5  # odd indices
    assert totals.empty_steps == 4 and totals.empty_step_share == pytest.approx(4 / 30)
    assert totals.matches_a_sample == 3


def test_a_killed_run_continues_to_the_same_bytes(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    run(whole)
    with pytest.raises(KeyboardInterrupt):
        run(killed, maker=Maker(lives=6))
    _, made, said = run(killed)
    assert made == list(range(4, 10))
    assert said == ["1 of 3 shards exist already."]
    assert contents(whole) == contents(killed)


def test_a_finished_folder_is_left_alone(tmp_path: Path) -> None:
    run(tmp_path)
    before = contents(tmp_path)
    assert run(tmp_path)[1] == [] and run(tmp_path, count=5)[1] == []
    assert contents(tmp_path) == before


def test_a_larger_count_adds_samples(tmp_path: Path) -> None:
    run(tmp_path, count=6)
    manifest, made, _ = run(tmp_path, count=13)
    assert made == list(range(4, 13))
    assert manifest.samples == 13


def test_samples_without_a_match_are_skipped_and_counted(tmp_path: Path) -> None:
    manifest, _, _ = run(tmp_path, maker=Maker(in_vain=(1, 8, 9)))  # one of a shard, and all of the last
    totals = manifest.totals()
    assert (totals.samples, totals.skipped, totals.skipped_share) == (7, 3, pytest.approx(0.3))
    assert totals.redraws == 3 + 3 * 5  # of 3, 5 and 7, and all draws of the skipped ones
    kept = [s for number in range(3) for s in read_shard(tmp_path, manifest.shards[number])]
    assert [s.index for s in kept] == [0, 2, 3, 4, 5, 6, 7] and all(same(s, made_up(s.index)) for s in kept)
    assert run(tmp_path)[1] == []  # nobody tries them again
    assert run(tmp_path, count=13)[1] == [8, 9, 10, 11, 12]  # but a short shard is made anew


@pytest.mark.parametrize("in_vain", [range(2, 10), range(3)])
def test_a_recipe_without_matches_is_refused(tmp_path: Path, in_vain: range) -> None:
    with pytest.raises(InputError, match=rf"^{len(in_vain)} sample.* no match farther than 50 px .* in 5 draws"):
        run(tmp_path, count=3 if len(in_vain) == 3 else 12, maker=Maker(in_vain=in_vain))


def test_a_recipe_without_matches_is_refused_again(tmp_path: Path) -> None:
    for _ in range(2):  # the second time, there is nothing left to make
        with pytest.raises(InputError, match=r"^3 sample.* no match farther than 50 px"):
            run(tmp_path, count=3, maker=Maker(in_vain=range(3)))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "deleted"])
def test_a_damaged_shard_is_replaced(tmp_path: Path, damage: str) -> None:
    run(tmp_path)
    before = contents(tmp_path)
    path = tmp_path / "shard-00001.safetensors"
    good = path.read_bytes()
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(good[:-9] if damage == "truncated" else good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(InputError, match=r"damaged|missing"):
        read_shard(tmp_path, read_index(tmp_path).shards[1])
    _, made, said = run(tmp_path)
    assert made == [4, 5, 6, 7]
    assert any("making it again" in line for line in said)
    assert contents(tmp_path) == before


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    run(tmp_path)
    other = replace(RECIPE, trajectory=replace(TRAJECTORY, handle_px=20.0, match=replace(MATCHING, levels=4)))
    with pytest.raises(InputError, match=r"trajectory.handle_px=50.0 \(now 20.0\).*match.levels=8 \(now 4\)") as error:
        run(tmp_path, recipe=other)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", '{"format": 99}', "[]"])
def test_a_manifest_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError):
        read_index(tmp_path)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no trajectories"):
        read_index(tmp_path)


def test_a_full_disk_is_a_clear_error_and_the_next_run_goes_on(tmp_path: Path, files_of_at_most: Any) -> None:
    with files_of_at_most(1000), pytest.raises(InputError, match=r"shard-00000.* cannot be written .*free disk space"):
        fill(tmp_path, RECIPE, 6, 4, Maker(), print)
    assert not list(tmp_path.iterdir())
    fill(tmp_path, RECIPE, 6, 4, Maker(), print)
    assert read_index(tmp_path).samples == 6
