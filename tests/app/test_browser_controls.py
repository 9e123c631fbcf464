"""In a real Chromium, under a prefix: every control once without a word in the console, and the comparison's cards."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autodrag.app.hub import AppConfig
from autodrag.editor.model_cache import ModelCache
from autodrag.generator import FrozenGenerator
from third_party.stylegan2.readers import write_safetensors

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.browser

# What a user touches, by id or, for those without one, by their attributes.
NAMES = """() => [...document.querySelectorAll("button, input, select, summary, canvas[tabindex]")].map(NAME)"""
NAME = """(e) => e.id || Object.entries(e.dataset).flat().join("=") || e.value || e.textContent.trim()"""
WATCH = """() => {
    const name = NAME;
    window.touched = new Set();
    for (const kind of ["click", "input", "change", "pointerdown", "keydown"]) {
        document.addEventListener(kind, ({ target }) => {
            const part = target.closest("button, input, select, summary, canvas[tabindex]");
            if (part) window.touched.add(name(part));
        }, true);
    }
}"""
HIDDEN = {"class", "align"}  # of generators with classes, and of those of aligned faces


@pytest.fixture
def place(config: AppConfig, serve: Any, tiny: FrozenGenerator) -> Iterator[str]:
    """A server of the tiny generator under a prefix, where an inversion takes long enough to be stopped."""
    models = ModelCache("cpu", closed=True)
    longer = replace(config, invert=replace(config.invert, steps=600), keep_minutes=1.0)
    with serve(longer, models, models.add(tiny), prefix="/some/place") as address:
        yield f"{address}/"


def move(view: Any, slider: str, value: float) -> None:
    script = (
        "(e, value) => { e.value = value; for (const kind of ['input', 'change']) e.dispatchEvent(new Event(kind)); }"
    )
    view.page.locator(f"#{slider}").evaluate(script, value)


def test_every_control_works_without_a_word_in_the_console(place: str, open_view: Any, tmp_path: Path) -> None:
    view = open_view(place, permissions=["clipboard-read", "clipboard-write"])
    page, click = view.page, lambda name: view.page.locator(f"#{name}").click()
    page.evaluate(WATCH.replace("NAME", NAME))
    assert page.evaluate("() => document.documentElement.scrollHeight <= innerHeight")  # only parts of it scroll
    look_around(view, click)
    choose_pictures(view, click)
    drag_about(view, click)
    paint(view, click, tmp_path)
    compare(view, click)
    invert(view, click, tmp_path)
    keep(view, tmp_path)
    every = set(page.evaluate(NAMES.replace("NAME", NAME)))
    touched = set(page.evaluate("() => [...window.touched]"))
    assert every - touched == HIDDEN
    notes = page.locator(".note.wrong").all_inner_texts()
    assert not [
        text for text in notes if "inversion is poor" not in text
    ]  # of a picture that is no face, which may last


def look_around(view: Any, click: Any) -> None:
    page = view.page
    for name in ("theme", "theme", "zoom-in", "zoom-out", "help"):
        click(name)
    page.get_by_role("button", name="Close").click()
    for summary in page.locator("summary").all():
        summary.click()
        summary.click()
    for tool in page.locator("[data-tool]").all():
        tool.click()
    page.keyboard.press("v")


def choose_pictures(view: Any, click: Any) -> None:
    page = view.page
    for name in ("dice", "style-dice"):
        before = view.picture
        click(name)
        view.changes_from(before)
    move(view, "psi", 0.5)
    sync_api.expect(page.locator("#psi-text")).to_have_text("0.50")
    page.locator("#style").fill("")
    page.locator("#seed").fill("5")
    page.keyboard.press("Enter")
    view.settle()
    for name in ("freedrag", "draggan"):
        page.locator(f"[data-method={name}]").click()
        sync_api.expect(page.locator(f"[data-method={name}]")).to_have_attribute("aria-checked", "true")
    for method in page.locator("#methods [aria-disabled=true]").all():
        method.click(force=True)  # it says why it cannot be used
    page.locator("[data-method=autodrag]").click(force=True)
    sync_api.expect(page.locator("#method-note")).to_contain_text("weights")
    move(view, "steps", 4)
    for name, own in (("lr", "0.001"), ("lambda", "20")):
        for given, shown in (("0.5", "0.5"), ("", own)):  # empty: what the server says is the method's own
            page.locator(f"#{name}").fill(given)
            page.keyboard.press("Tab")
            sync_api.expect(page.locator(f"#{name}")).to_have_value(shown)
    sync_api.expect(page.locator("#method-note")).to_contain_text("weights")  # also after other answers
    page.locator("#lr").fill("0.01")
    page.keyboard.press("Tab")


def drag_about(view: Any, click: Any) -> None:
    page, first = view.page, view.picture
    view.drag((20, 30), (26, 30))
    view.frames(2)
    after = view.changes_from(first)
    page.locator("#before").dispatch_event("pointerdown")
    view.becomes(first)
    page.locator("#before").dispatch_event("pointerup")
    view.becomes(after)
    click("before")
    move(view, "scrub", 0)
    view.becomes(first)
    click("play")
    view.becomes(after)
    click("undo")
    view.becomes(first)
    click("redo")
    view.becomes(after)
    click("reset")
    view.becomes(first)
    click("mirror")
    page.keyboard.press("a")
    view.drag((14, 40), (18, 44))
    assert page.locator("#run").is_enabled()
    click("run")
    view.frames(2)
    click("clear")
    click("mirror")
    page.locator(".history button").first.click()


def paint(view: Any, click: Any, folder: Path) -> None:
    page = view.page
    move(view, "brush", 6)
    page.keyboard.press("b")
    view.drag((18, 30), (30, 30))
    sync_api.expect(page.locator("#mask-save")).to_be_enabled()
    with page.expect_download() as download:
        click("mask-save")
    download.value.save_as(folder / "mask.png")
    for name in ("mask-invert", "veil", "veil", "grow", "mask-clear"):
        click(name)
    sync_api.expect(page.locator("#mask-clear")).to_be_disabled()
    page.locator("#mask-load").set_input_files(folder / "mask.png")
    sync_api.expect(page.locator("#mask-clear")).to_be_enabled()
    click("mask-clear")
    page.keyboard.press("v")


def compare(view: Any, click: Any) -> None:
    page = view.page
    view.drag((20, 30), (24, 30))
    view.frames(2)
    click("compare")
    lane = page.locator(".lane[data-method=draggan]")
    sync_api.expect(lane.locator(".numbers")).to_contain_text("left")
    lane.locator(".look").click()
    move(view, "large-split", 20)
    page.locator("#large-result").click()
    click("lanes-close")
    click("job-stop")
    lane.get_by_role("button", name="Use this").click()
    sync_api.expect(page.locator("#comparison")).to_be_hidden()


def invert(view: Any, click: Any, folder: Path) -> None:
    page, photo = view.page, np.full((64, 96, 3), 90, np.uint8)
    photo[20:50, 30:70] = (200, 120, 40)
    Image.fromarray(photo).save(folder / "photo.png")
    page.locator("#quality").select_option("tuned")
    page.locator("#quality").select_option("good")
    before = view.picture
    for end in ("job-stop", "job-take"):
        page.locator("#upload").set_input_files(folder / "photo.png")
        sync_api.expect(page.locator("#crop-dialog")).to_be_visible()
        move(view, "crop-zoom", 0.5)
        move(view, "crop-turn", 5)
        page.locator("#crop-picture").press("ArrowLeft")
        page.get_by_role("button", name="Cancel" if end == "job-stop" else "Use this part").first.click()
        if end == "job-stop":
            page.locator("#upload").set_input_files(folder / "photo.png")
            page.get_by_role("button", name="Use this part").click()
        sync_api.expect(page.locator("#job-text")).to_contain_text("Inverting")
        click(end)
        view.settle()
        if end == "job-stop":
            view.becomes(before)
    sync_api.expect(page.locator("#seed")).to_have_value("")
    assert not np.array_equal(view.picture, before)
    before = view.picture
    page.locator("#detail").uncheck()
    view.changes_from(before)


def keep(view: Any, folder: Path) -> None:
    page, name = view.page, view.dataset
    for kind in ("png", "jpg", "gif", "mp4", "safetensors"):
        with page.expect_download() as download:
            page.locator(f"[data-export={kind}]").click()
        download.value.save_as(folder / download.value.suggested_filename)
    assert {path.name for path in folder.glob("autodrag-*")} >= {f"autodrag-{name}-own.png"}
    page.locator("#copy-script").click()
    sync_api.expect(page.locator(".note", has_text="as Python")).to_be_visible()
    assert "Editor" in page.evaluate("() => navigator.clipboard.readText()")
    page.locator("#copy").click()
    sync_api.expect(page.locator(".note", has_text="The picture is in the clipboard")).to_be_visible()
    network = FrozenGenerator.random(resolution=(32, 32), w_dim=16, seed=5).trainable_copy()
    write_safetensors(folder / "mine.safetensors", network.config, network.state_dict())
    page.locator("#generator-load").set_input_files(folder / "mine.safetensors")
    sync_api.expect(page.locator("#dataset")).to_have_value("mine")
    page.locator("#load").set_input_files(next(folder.glob("*.session.safetensors")))
    sync_api.expect(page.locator("#dataset")).to_have_value(name)
    page.locator("#earlier").click()
    sync_api.expect(page.locator(".note", has_text="There is no further session")).to_be_visible()
    page.locator("#dataset").select_option("mine")
    sync_api.expect(page.locator("#seed")).to_have_value(re.compile(r"\d+"))


def test_taps_and_plans_during_an_inversion_change_nothing(place: str, open_view: Any, tmp_path: Path) -> None:
    view = open_view(place)
    page = view.page
    move(view, "steps", 3)
    view.drag((20, 30), (26, 30))
    view.frames(2)
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "photo.png")
    page.locator("#upload").set_input_files(tmp_path / "photo.png")
    page.get_by_role("button", name="Use this part").click()
    sync_api.expect(page.locator("#job-text")).to_contain_text("Inverting")
    page.mouse.click(*view.at(45, 45))
    sync_api.expect(page.locator("#clear")).to_be_enabled()  # for the arrow of the drag
    page.locator("#clear").click()
    sync_api.expect(page.locator(".note", has_text="being prepared")).to_be_visible()
    sync_api.expect(page.locator("#clear")).to_be_enabled()  # it is there again
    sync_api.expect(page.locator("#job-text")).to_contain_text("Inverting")
    page.locator("#job-stop").click()
    view.frames(2)


def test_every_moment_of_the_history_has_its_picture(place: str, open_view: Any) -> None:
    view = open_view(place)
    for _ in range(3):
        before = view.picture
        view.page.keyboard.press("r")
        view.changes_from(before)
    drawn = "() => [...document.querySelectorAll('.history canvas')].map((canvas) => canvas.width)"
    sync_api.expect(view.page.locator(".history canvas")).to_have_count(4)
    view.page.wait_for_function(f"() => ({drawn})().every((width) => width === 64)")


CARDS = """async (count) => {
    const { Comparison } = await import(new URL("static/comparison.js", document.baseURI));
    const $ = (id) => document.getElementById(id);
    const comparison = new Comparison(
        { cards: $("lanes"), missing: $("lanes-missing"), large: $("large"), original: $("large-original"),
          result: $("large-result"), split: $("large-split"), title: $("large-title") }, () => {});
    scrollTo(0, 400);
    $("frame").hidden = true;
    comparison.start([...Array(count)].map((_, i) => ({ name: `m${i}`, label: "UserControllableLT" })), $("picture"));
    const numbers = "12.34 s · 100 steps\\n12.3 px left";
    for (const element of document.querySelectorAll(".numbers")) element.textContent = numbers;
    await new Promise(requestAnimationFrame);
    const boxes = [...document.querySelectorAll(".lane")].map((card) => card.getBoundingClientRect());
    return boxes.map(({ x, y, width, height }) => [x, y, width, height]);
}"""


@pytest.mark.parametrize("size", [(1280, 820), (834, 1112), (390, 844)])
def test_cards_of_a_comparison_have_one_size_and_are_in_view(place: str, open_view: Any, size: tuple[int, int]) -> None:
    view = open_view(place, viewport={"width": size[0], "height": size[1]})
    for count in (2, 3, 4, 5):
        boxes = np.array(view.page.evaluate(CARDS, count))
        assert len(boxes) == count
        assert np.ptp(boxes[:, 2:], axis=0).max() < 1
        assert boxes[:, 0].min() >= 0
        assert (boxes[:, 0] + boxes[:, 2]).max() <= size[0]
        assert -1 <= boxes[0, 1] < size[1] / 2
        if size[0] > 860:
            assert (boxes[:, 1] + boxes[:, 3]).max() <= size[1]
        assert boxes[:, 2].min() > 110
