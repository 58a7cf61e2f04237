"""Tables for a terminal."""

import shutil


def table(title, heads, rows):
    """The table as text: columns as wide as they need, lines cut at the terminal's width."""
    width = shutil.get_terminal_size(fallback=(200, 24)).columns
    cells = [[_text(cell) for cell in row] for row in [heads, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    lines = ["  ".join(cell.ljust(size) for cell, size in zip(row, widths)).rstrip()[:width] for row in cells]
    return "\n".join(["", title, "-" * len(title), *lines])


def _text(cell):
    return "" if cell is None else " ".join(str(cell).split())
