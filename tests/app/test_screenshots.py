"""Screenshots of the editor on synthface, with AutoDrag where there are weights for it, for people to look at:

AUTODRAG_SHOTS=FOLDER python -m pytest tests/app/test_screenshots.py
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autodrag.app.hub import AppConfig
from autodrag.domains.synthface import Z_DIM, parameters, render
from autodrag.editor.export import sampled
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.session import Editor
from autodrag.images import encode, to_bytes
from autodrag.loading import load_generator
from autodrag.visualize import draw_points, save_animation, sheet

SHOTS = os.environ.get("AUTODRAG_SHOTS")
SEED = 28  # of the README's screenshot
DRAGS = {  # of the README's animation: seed -> handles, targets; the last face's nose is a pin
    3: ([(123.0, 148.0)], [(155.0, 140.0)]),
    15: ([(54.0, 196.0)], [(52.0, 224.0)]),
    14: ([(97.0, 106.0), (162.0, 106.0), (129.0, 166.0)], [(96.0, 93.0), (163.0, 93.0), (129.0, 166.0)]),
}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(SHOTS is None, reason="AUTODRAG_SHOTS names no folder for them"),
]


@pytest.fixture(scope="module")
def shown(config: AppConfig, serve: Any) -> Any:
    """A server of synthface."""
    models = ModelCache("cpu", closed=True)
    with serve(replace(config, first_method=None), models, models.add(load_generator("synthface"))) as address:
        yield address


def shoot(view: Any, name: str) -> None:
    view.page.screenshot(path=str(Path(str(SHOTS)) / f"{name}.png"))


def steps(view: Any, count: int) -> None:
    """Optimisers take a hundred steps for a drag: the screenshots need fewer."""
    slider = view.page.locator("#steps")
    if view.page.evaluate("() => document.querySelector('#steps').max") != "20":
        slider.evaluate(f"e => {{ e.value = {count}; e.dispatchEvent(new Event('change')); }}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pulling(open_view: Any, shown: str, scheme: str) -> None:
    view = open_view(shown, color_scheme=scheme, device_scale_factor=1.5)
    view.page.locator("#seed").fill("3")
    view.page.keyboard.press("Tab")
    steps(view, 20)
    view.page.wait_for_timeout(1500)
    view.page.mouse.move(*view.at(150, 178))
    view.page.mouse.down()
    for tenth in range(1, 11):
        view.page.mouse.move(*view.at(150 + 1.8 * tenth, 178 - tenth))
        view.page.wait_for_timeout(300)
    shoot(view, f"pull-{scheme}")
    view.page.mouse.up()
    view.settle()
    view.frames(1)
    view.page.keyboard.press("b")
    view.drag((90, 150), (170, 150))
    view.page.locator("#mask-clear:enabled").wait_for()
    view.page.keyboard.press("p")
    view.page.mouse.click(*view.at(128, 90))
    view.page.wait_for_timeout(500)
    shoot(view, f"mask-{scheme}")


def test_comparing(open_view: Any, shown: str) -> None:
    view = open_view(shown)
    steps(view, 8)
    view.drag((150, 178), (168, 168))
    view.page.keyboard.press("c")  # before the drag is over, too
    view.page.locator(".lane[data-method=freedrag] .numbers", has_text="px").wait_for(timeout=120_000)
    view.page.wait_for_timeout(2000)
    shoot(view, "compare")


def test_an_own_picture(open_view: Any, shown: str, tmp_path: Path) -> None:
    z = torch.randn(1, Z_DIM, generator=torch.Generator().manual_seed(123))
    (tmp_path / "face.png").write_bytes(encode(to_bytes(render(*parameters(z)).image), lossless=True))
    view = open_view(shown)
    view.page.locator("#upload").set_input_files(tmp_path / "face.png")
    view.page.get_by_role("button", name="Use this part").click()
    view.page.wait_for_timeout(5000)
    shoot(view, "own")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone(open_view: Any, shown: str, scheme: str) -> None:
    view = open_view(shown, phone=True, color_scheme=scheme)
    shoot(view, f"phone-{scheme}")
    view.page.evaluate("() => scrollTo(0, 600)")
    view.page.wait_for_timeout(300)
    shoot(view, f"phone-{scheme}-below")


def test_the_picture_of_the_readme(open_view: Any, shown: str) -> None:
    """editor.jpg: after a pull of the mouth's corner, once the numbers are gone, which are those of this machine."""
    view = open_view(shown, device_scale_factor=1.5, viewport={"width": 1200, "height": 760})
    view.page.locator("#seed").fill(str(SEED))
    view.page.keyboard.press("Tab")
    view.page.wait_for_timeout(3000)
    view.drag((146, 176), (160, 168), steps=12)
    view.frames(1)
    view.page.locator("#speed").wait_for(state="hidden", timeout=60_000)
    picture = view.page.screenshot(type="jpeg", quality=88)
    (Path(str(SHOTS)) / "editor.jpg").write_bytes(picture)


def test_the_animation_of_the_readme() -> None:
    """drag.gif: a head that turns, hair that grows and brows that rise, with their arrows."""
    editor, films = Editor("synthface", method="landing"), []
    for seed, (handles, targets) in DRAGS.items():
        editor.choose(seed)
        editor.drag(handles, targets)
        motion = editor.state.motion
        there = [torch.from_numpy(editor.render(frame)).permute(2, 0, 1) for frame in sampled(motion, 8)]
        ends = torch.tensor(handles), torch.tensor(targets)
        moving = [draw_points(picture, targets=ends[1]) for picture in there]
        films.append([draw_points(there[0], *ends)] * 3 + moving + moving[-1:] * 3)
    rows = zip(*films, strict=True)
    save_animation([sheet([list(row)]) for row in rows], Path(str(SHOTS)) / "drag.gif", fps=8)
