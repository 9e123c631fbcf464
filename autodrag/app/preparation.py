"""The inversion of a user's image, before the session continues with it. Only "stop" and "cancel" end it early."""

from collections.abc import Iterator

from autodrag.app.events import Event, Look, Note, Work
from autodrag.app.orders import OwnImage
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.session import Editor
from autodrag.editor.user_photo import POOR, OwnPicture

FAR_OFF = (
    "The inversion is poor: this generator hardly draws such pictures. Crop yours as its own are, take more effort, or "
    "choose a generator of this kind of picture."
)
PREVIEW = 8  # steps of an inversion between two pictures of it


class Preparation:
    """The current inversion, if any."""

    def __init__(self, models: ModelCache) -> None:
        self._models = models
        self._own: OwnPicture | None = None

    def __bool__(self) -> bool:
        return self._own is not None

    def run(self, editor: Editor, order: OwnImage) -> Iterator[Event]:
        """Run the inversion with intermediate images; at the end the session continues with it, as a step for undo."""
        dataset = editor.scene.dataset
        own = self._own = OwnPicture(order.data, dataset, self._models, order.config, order.crop)
        try:
            for progress in own.run():
                yield Work(progress.phase, progress.step, progress.steps)
                started = progress.phase == "start" and progress.step == progress.steps
                if started or (progress.phase == "invert" and progress.step % PREVIEW == 1):
                    yield Look.of_frame(own.render, own.frame(), final=False)
        finally:
            self._own = None
        yield from self._adopted(editor, own)

    def end(self, editor: Editor, take: bool) -> Iterator[Event]:
        """End the inversion. take: the session continues with its current result."""
        own, self._own = self._own, None  # at once: `run` may be closed before its successor begins
        return self._adopted(editor, own) if take and own is not None else iter(())

    def _adopted(self, editor: Editor, own: OwnPicture) -> Iterator[Event]:
        made = Editor.of_picture(own, self._models, editor.method)
        made.choose_method(editor.method, editor.steps, editor.tuning)
        editor.adopt(made)
        if own.unlike > POOR:
            yield Note(FAR_OFF)
