"""The crop dialog in a real Chromium: it shows what the server cuts out, and one picture at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.browser

LYING = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
COLUMN = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(canvas.width / 2, 0, 1, canvas.height);
    return [data[4 * 20], data[4 * (canvas.height - 20)]];
}"""


@pytest.mark.parametrize("name", ["photo.jpg", "photo.webp", "photo.tif"])
def test_the_dialog_shows_a_photograph_as_the_server_turns_it(
    open_view: Any, address: str, tmp_path: Path, name: str
) -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :40] = 255  # the upper half, once it is upright
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / name, **({"xmp": LYING} if name == "photo.jpg" else {"exif": exif}))
    view = open_view(address)
    view.page.locator("#upload").set_input_files(tmp_path / name)
    sync_api.expect(view.page.locator("#crop-dialog")).to_be_visible()
    above, below = view.page.locator("#crop-picture").evaluate(COLUMN)
    assert above > 200 and below < 50
    view.page.get_by_role("button", name="Use this part").click()
    sync_api.expect(view.page.locator("#seed")).to_have_value("")
    view.settle()
    made = view.picture  # the photograph itself, with its own detail
    assert made[:24].min() > 200 and made[40:].max() < 50


CROPS = """async () => {
    const { Crop } = await import(new URL("static/crop.js", document.baseURI));
    const photo = (width, height) => {
        const canvas = Object.assign(document.createElement("canvas"), { width, height });
        canvas.getContext("2d").fillRect(0, 0, width, height);
        return new Promise((resolve) => canvas.toBlob(resolve));
    };
    const crop = new Crop();
    const [first, second] = [await photo(40, 20), await photo(30, 30)];
    const asked = crop.ask(first, [64, 64]);
    while (!document.querySelector("#crop-dialog").open) await new Promise(requestAnimationFrame);
    const late = new Promise((resolve) => setTimeout(resolve, 3000, "late"));
    const other = await Promise.race([crop.ask(second, [64, 64]), late]);
    document.querySelector("#crop-dialog [value=use]").click();
    return [await asked, other];
}"""


def test_a_second_picture_does_not_take_the_place_of_the_one_in_the_crop_dialog(open_view: Any, address: str) -> None:
    assert open_view(address).page.evaluate(CROPS) == ["0.50000,0.25000,0.50000,0.00000", None]
