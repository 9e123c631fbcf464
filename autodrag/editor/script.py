"""A session as Python code that reproduces it."""

from dataclasses import asdict
from pathlib import Path

from autodrag.config import dataset_names
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.session import Editor
from autodrag.editor.state import Arrows
from autodrag.editor.tuning import AS_IS


def script(editor: Editor) -> str:
    """Python code for a session: complete for at most one drag of a seed, otherwise starting from the saved file.

    A drag is repeated with the method that is chosen now. Planned arrows are the last drag.
    """
    state, origin = editor.state, editor.state.origin
    whole = (
        origin.seed is not None
        and origin.c is None
        and state.base == 0
        and state.mask is None
        and state.frame.under is None
    )
    imports = ["from autodrag import Editor"]
    lines, shared = _models(editor.models, editor.scene.dataset)
    if lines:
        imports = ["from autodrag import Editor, load_generator", "from autodrag.editor.model_cache import ModelCache"]
    if whole:
        style = "" if origin.style is None else f", style={origin.style}"
        steps = "" if editor.steps is None else f", steps={editor.steps}"
        chosen = f"seed={origin.seed}, psi={origin.psi:g}{style}, method={editor.method!r}{steps}"
        lines.append(f"editor = Editor({editor.scene.dataset!r}, {chosen}{shared})")
    else:
        lines.append(f'editor = Editor.load("autodrag.session.safetensors"{shared})  # saved from the page')
    if editor.tuning != AS_IS:
        values = ", ".join(f"{name}={value!r}" for name, value in asdict(editor.tuning).items() if value is not None)
        lines.append(f"editor.choose_method({editor.method!r}, {editor.steps}, Tuning({values}))")
        imports.append("from autodrag.editor.tuning import Tuning")
    drags = [state.arrows] if whole else []
    lines += [_drag(arrows) for arrows in (*drags, state.plan) if arrows is not None and arrows.handles]
    return "\n".join([*imports, "", *lines, 'editor.save("edited.png")']) + "\n"


def _models(models: ModelCache, dataset: str) -> tuple[list[str], str]:
    """Code that loads the generator of a file, which has no name outside this program, and an argument to pass it on.

    Both are empty where the dataset's name or path is enough.
    """
    if dataset in dataset_names() or Path(dataset).is_file():
        return [], ""
    # Its folder stays the server's secret.
    added = f"models.add(load_generator({models.dataset(dataset).source.path.name!r}))  # the generator's file"
    return ["models = ModelCache()", added], ", models=models"


def _drag(arrows: Arrows) -> str:
    handles, targets, pins = (
        "[" + ", ".join(f"({x:g}, {y:g})" for x, y in points) + "]"
        for points in (arrows.handles, arrows.targets, arrows.pins)
    )
    return f"editor.drag({handles}, {targets}{f', pins={pins}' if arrows.pins else ''})"
