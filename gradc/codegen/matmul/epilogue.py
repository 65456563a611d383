"""What follows a product: a function that takes every tile of C as soon as it is complete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

FOLLOWING = ("ptr %table", "ptr %context")
"""Parameters of a product with an epilogue, which are handed to it."""


@dataclass(frozen=True)
class Epilogue:
    """`symbol(columns, stride)` names the function for tiles of so many columns, their rows `stride` elements
    apart: `void (ptr %table, ptr %tile, i64 %row, i64 %rows, i64 %column, ptr %context)`.

    It takes the `rows` rows of the tile at `row`, `column`; rows of a batch are counted through. C itself is
    stored only if the caller wants to `keep` it.

    `sums`: the function adds up what is in a column, so that tiles above each other must come one after the
    other. `effort`: what it does for an element is worth so many multiply-adds. `far`: it moves more than
    caches hold, and so no product that takes up its sums again should have it. `columns`: the C that it knows
    has so many.
    """

    symbol: Callable[[int, int], str]
    keep: bool
    sums: bool
    effort: int
    far: bool
    columns: int
