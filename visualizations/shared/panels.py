"""How many rows and columns a picture of small panels has."""


def grid_of(count: int, widest: int) -> tuple[int, int]:
    """Rows and columns for so many panels, at most `widest` in a row, the last row as full as it can be."""
    rows = -(-count // widest)
    return rows, -(-count // rows)
