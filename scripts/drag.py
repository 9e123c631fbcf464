"""Drag: python scripts/drag.py dataset=synthface seed=3 handles=[[120,150]] targets=[[140,138]] out=drag.gif."""

from autodrag.commands import run

if __name__ == "__main__":
    run("drag")
