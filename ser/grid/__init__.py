"""Many experiments at once: which there are, what state they are in, and making those that are missing."""

from ser.grid.cells import Cell, Grid, Places, open_grid

__all__ = ["Cell", "Grid", "Places", "open_grid"]
