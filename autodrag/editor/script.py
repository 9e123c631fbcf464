"""A session as Python code that reproduces it."""

from dataclasses import asdict

from autodrag.editor.session import Editor
from autodrag.editor.state import PointList
from autodrag.editor.tuning import AS_IS


def script(editor: Editor) -> str:
    """Python code for a session: complete for one drag of a seed, otherwise starting from the saved file."""
    state, origin = editor.state, editor.state.origin
    lines = ["from autodrag import Editor", ""]
    whole = (
        origin.seed is not None
        and origin.c is None
        and state.base == 0
        and state.mask is None
        and state.frame.under is None
    )
    if whole:
        style = "" if origin.style is None else f", style={origin.style}"
        steps = "" if editor.steps is None else f", steps={editor.steps}"
        chosen = f"seed={origin.seed}, psi={origin.psi:g}{style}, method={editor.method!r}{steps}"
        lines.append(f"editor = Editor({editor.scene.dataset!r}, {chosen})")
    else:
        lines.append('editor = Editor.load("autodrag.session.safetensors")  # saved from the page')
    if editor.tuning != AS_IS:
        values = ", ".join(f"{name}={value!r}" for name, value in asdict(editor.tuning).items() if value is not None)
        lines.append(f"editor.choose_method({editor.method!r}, {editor.steps}, Tuning({values}))")
        lines.insert(1, "from autodrag.editor.tuning import Tuning")
    arrows = state.plan or (state.arrows if whole else None)
    if arrows is not None and arrows.handles:
        pins = f", pins={_list(arrows.pins)}" if arrows.pins else ""
        lines.append(f"editor.drag({_list(arrows.handles)}, {_list(arrows.targets)}{pins})")
    lines.append('editor.save("edited.png")')
    return "\n".join(lines) + "\n"


def _list(points: PointList) -> str:
    return "[" + ", ".join(f"({x:g}, {y:g})" for x, y in points) + "]"
