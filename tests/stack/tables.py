"""Tables for a terminal."""


def table(title, heads, rows, width=200):
    """The table as text: columns as wide as they need, the last one cut at WIDTH."""
    cells = [[_text(cell) for cell in row] for row in [heads, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    lines = ["  ".join(cell.ljust(size) for cell, size in zip(row, widths)).rstrip()[:width] for row in cells]
    return "\n".join(["", title, "-" * len(title), *lines])


def _text(cell):
    return "" if cell is None else " ".join(str(cell).split())
