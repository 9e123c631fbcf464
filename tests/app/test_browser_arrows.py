"""Arrows of the page, as a module in a real Chromium: what a page sends where gestures and answers overlap."""

from collections.abc import Callable
from typing import Any

import pytest

from autodrag.app import queues
from autodrag.app.protocol import MAX_POINTS

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.browser

SETUP = """async () => {
    const { Arrows } = await import(new URL("static/arrows.js", document.baseURI));
    const state = { gesture: 0, revision: 0, motion: 0, handles: [], targets: [], pins: [], plan: null, points: [] };
    const arrows = new Arrows();
    arrows.follow(state);
    const sent = (type) => structuredClone(arrows.message(type));
"""


@pytest.fixture
def outcome(open_view: Any, address: str) -> Callable[[str], Any]:
    """What a script returns, given `arrows` that follow the `state` of a new session."""
    view = open_view(address)
    return lambda script: view.page.evaluate(f"{SETUP}{script}}}")


RELEASED = """
    arrows.grab(1, [20, 30], 5, false, null);
    arrows.move(1, [40, 30]);
    arrows.drop(1);
    arrows.points = [[25, 30]]; // so far
"""


def test_a_tip_that_is_corrected_while_its_drag_runs_starts_where_that_did(outcome: Callable[[str], Any]) -> None:
    pulled = outcome(f'{RELEASED} arrows.grab(1, [40, 30], 5, false, null); return sent("pull");')
    assert pulled["handles"] == [[20, 30]]
    assert pulled["again"]


def test_an_arrow_drawn_from_a_tip_while_its_drag_runs_starts_there(outcome: Callable[[str], Any]) -> None:
    draw = "arrows.plan(1, [40, 30], 5); arrows.move(1, [48, 30]); arrows.drop(1);"
    plan = outcome(f"{RELEASED} {draw} return structuredClone(arrows.setting());")
    assert plan["handles"] == [[40, 30]]
    assert plan["targets"] == [[48, 30]]


PRESSED = """
    arrows.grab(1, [20, 30], 5, false, 3); // in a step of the motion
    arrows.grab(2, [50, 50], 5, true, null);
"""


def test_two_fingers_start_in_the_step_that_is_shown(outcome: Callable[[str], Any]) -> None:
    pulled = outcome(f'{PRESSED} arrows.move(1, [40, 30]); return sent("pull");')
    assert pulled["handles"] == [[20, 30], [50, 50]]
    assert pulled["at"] == 3


def test_a_drag_is_kept_whichever_finger_is_lifted_last(outcome: Callable[[str], Any]) -> None:
    held = "arrows.move(1, [40, 30]); arrows.drop(1); arrows.drop(2); return arrows.moved;"
    assert outcome(f"{PRESSED} {held}")


def test_a_finger_that_taps_during_a_drag_does_not_give_it_up(outcome: Callable[[str], Any]) -> None:
    tap = "arrows.grab(2, [50, 50], 5, true, null); arrows.drop(2); arrows.drop(1); return arrows.moved;"
    assert outcome(f"arrows.grab(1, [20, 30], 5, false, null); arrows.move(1, [40, 30]); {tap}")
    assert not outcome(f"arrows.grab(1, [20, 30], 5, false, null); {tap}")


TAPPED = """
    arrows.width = 64;
    arrows.plan(1, [20, 30], 5);
    arrows.drop(1);
    arrows.open = 0; // it waits for its tip, and so does its mirror image
"""


def test_an_arrow_without_a_tip_is_no_part_of_a_pull_and_no_pin_waits_for_it(outcome: Callable[[str], Any]) -> None:
    pulled = outcome(
        f'{TAPPED} arrows.width = null; arrows.grab(1, [50, 50], 5, false, null); return [sent("pull"), arrows.open];'
    )
    assert pulled[0]["handles"] == [[50, 50]]
    assert pulled[1] is None
    handles, pins, waits = outcome(
        f"{TAPPED} arrows.pin([10, 10], 5); return [arrows.handles, arrows.pins, arrows.open];"
    )
    assert (handles, pins, waits) == ([], [[10, 10]], None)


def test_an_arrow_without_a_tip_ends_with_its_picture(outcome: Callable[[str], Any]) -> None:
    assert outcome(f"{TAPPED} arrows.follow(state); return arrows.handles.length;") == 2  # the same picture
    after = outcome(f"{TAPPED} arrows.follow({{ ...state, motion: 1 }}); return [arrows.handles, arrows.open];")
    assert after == [[], None]


GIVEN_UP = "[arrows.handles, arrows.targets, arrows.open, arrows.planned]"


def test_an_arrow_without_a_tip_is_the_first_that_undo_takes(outcome: Callable[[str], Any]) -> None:
    draw = "arrows.plan(1, [10, 10], 5); arrows.move(1, [20, 10]); arrows.drop(1); arrows.setting();"  # not answered
    kept = outcome(f"{draw} {TAPPED.replace('= 0', '= 1')} arrows.giveUp(state); return {GIVEN_UP};")
    assert kept == [[[10, 10]], [[20, 10]], None, True]
    dragged = "{ ...state, motion: 1, handles: [[10, 10]], targets: [[20, 10]], points: [[20, 10]] }"
    back = outcome(f"const now = {dragged}; arrows.follow(now); {TAPPED} arrows.giveUp(now); return {GIVEN_UP};")
    assert back == [[[10, 10]], [[20, 10]], None, False]  # those of the last drag again


def test_undo_takes_an_arrow_without_a_tip_before_the_picture(open_view: Any, address: str) -> None:
    view = open_view(address)
    first, seed = view.picture, view.page.locator("#seed").input_value()
    view.page.keyboard.press("r")
    view.changes_from(first)
    view.page.keyboard.press("a")
    view.page.mouse.click(*view.at(20, 30))
    sync_api.expect(view.page.locator("#hint")).to_have_text("Now press where it should go.")
    view.page.keyboard.press("Control+z")
    sync_api.expect(view.page.locator("#hint")).to_have_text("Draw arrows, then press Run.")
    assert view.page.locator("#seed").input_value() != seed
    view.page.keyboard.press("Control+z")
    view.becomes(first)


def test_the_undo_button_takes_the_first_arrow_of_a_session(open_view: Any, address: str) -> None:
    view = open_view(address)
    button = view.page.locator("#undo")
    sync_api.expect(button).to_be_disabled()
    view.page.keyboard.press("a")
    view.page.mouse.click(*view.at(20, 30))
    button.click()
    sync_api.expect(button).to_be_disabled()
    sync_api.expect(view.page.locator("#hint")).to_have_text("Draw arrows, then press Run.")


def test_arrows_of_another_moment_are_no_mirror_images(outcome: Callable[[str], Any]) -> None:
    mirrored = (
        "arrows.plan(1, [10, 30], 3); arrows.move(1, [15, 30]); arrows.drop(1); const { revision } = arrows.setting();"
    )
    plan = "{ handles: [[20, 20], [40, 50]], targets: [[25, 20], [40, 60]], pins: [] }"
    chosen = (
        f"arrows.follow({{ ...state, revision, plan: {plan} }}); arrows.plan(1, [25, 20], 3); arrows.move(1, [30, 25]);"
    )
    assert outcome(f"arrows.width = 64; {mirrored} {chosen} return arrows.targets;") == [[30, 25], [40, 60]]


def test_a_picture_that_comes_while_an_arrow_is_drawn_is_shown(open_view: Any, address: str) -> None:
    view = open_view(address)
    first, seed = view.picture, view.page.locator("#seed").input_value()
    view.page.keyboard.press("a")
    view.page.mouse.move(*view.at(20, 30))
    view.page.mouse.down()
    view.page.mouse.move(*view.at(30, 30), steps=3)
    view.page.keyboard.press("r")
    sync_api.expect(view.page.locator("#seed")).not_to_have_value(seed)
    view.changes_from(first)
    view.page.mouse.up()


def test_arrows_of_a_refused_drag_return_to_what_the_server_has(outcome: Callable[[str], Any]) -> None:
    refused = 'sent("pull"); arrows.follow(state); arrows.drop(1); sent("release"); arrows.follow(state);'
    after = outcome(
        f"arrows.grab(1, [20, 30], 5, false, null); arrows.move(1, [40, 30]); {refused}"
        "return [arrows.handles, arrows.pulling];"
    )
    assert after == [[], False]


def test_no_more_arrows_and_pins_than_the_server_takes(outcome: Callable[[str], Any]) -> None:
    draw = "(x) => { const drawn = arrows.plan(1, [x, 30], 1); arrows.move(1, [x, 40]); arrows.drop(1); return drawn; }"
    drawn, again, moved, pinned, handles, pins = outcome(
        f"""
        arrows.most = 3;
        arrows.width = 64;
        const draw = {draw};
        const drawn = [draw(10), draw(20), draw(30)]; // the first has a mirror image, for the second there is no room
        const pinned = [5, 10, 15, 20].map((x) => arrows.pin([x, 5], 1));
        return [drawn, arrows.grab(1, [50, 50], 1, true, null), arrows.plan(1, [20, 40], 1), pinned,
            arrows.handles, arrows.pins.length];
        """
    )
    assert drawn == [True, True, False]
    assert not again
    assert moved
    assert pinned == [True, True, True, False]
    assert handles == [[10, 30], [53, 30], [20, 30]]
    assert pins == 3


def test_who_sets_too_many_pins_is_told_and_goes_on(
    open_view: Any, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "MAX_ORDERS", 1)  # as of a server that is busy
    view = open_view(address)
    view.page.keyboard.press("p")
    for number in range(MAX_POINTS + 1):
        view.page.mouse.click(*view.at(3 + 7 * (number % 9), 3 + 7 * (number // 9)))
    note = f"There is room for {MAX_POINTS} arrows and as many pins: remove some."
    sync_api.expect(view.page.locator(".note")).to_have_text(note)
    view.page.locator("#clear").click()
    view.page.keyboard.press("Control+z")
    sync_api.expect(view.page.locator("#clear")).to_be_enabled()  # page and server have the same pins
