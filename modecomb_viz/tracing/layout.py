"""How the units along an axis may move: layouts, and the constraints that tie them together.

A layout is a row of pieces, each either fixed or the units of a *symbol*, a block of entries per unit. A symbol
stands for units that may be permuted freely until a constraint ties it to another, cuts it in two or fixes it.
Every constraint only ever takes freedom away, so the order in which constraints come does not matter for
correctness: whatever is still free at the end satisfies all of them.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple

__all__ = [
    "Layout",
    "Piece",
    "Symbol",
    "Symmetry",
    "fixed",
    "fresh",
    "is_fixed",
    "length",
    "repeat",
    "resolve",
    "scale",
]


@dataclass(eq=False)
class Symbol:
    """``size`` units that may be permuted; once bound it only stands for another layout."""

    size: int
    bound: "Layout | None" = field(default=None, repr=False)


class Piece(NamedTuple):
    """Consecutive entries of an axis: ``block`` entries for every unit of the symbol, or ``block`` fixed ones."""

    symbol: Symbol | None
    block: int

    @property
    def length(self) -> int:
        """Number of entries."""
        return self.block * (self.symbol.size if self.symbol else 1)


Layout = tuple[Piece, ...]


def fixed(length: int) -> Layout:
    """Entries that keep their order."""
    return (Piece(None, length),) if length else ()


def fresh(length: int) -> Layout:
    """Units that nothing restricts yet; a single one has nowhere to go."""
    return (Piece(Symbol(length), 1),) if length > 1 else fixed(length)


def resolve(layout: Layout) -> Layout:
    """The layout in free symbols, neighbouring fixed pieces joined."""
    pieces: list[Piece] = []
    for piece in layout:
        for part in _expand(piece):
            if part.symbol is None and pieces and pieces[-1].symbol is None:
                pieces[-1] = Piece(None, pieces[-1].block + part.block)
            else:
                pieces.append(part)
    return tuple(pieces)


def _expand(piece: Piece) -> Layout:
    if piece.symbol is None or piece.symbol.bound is None:
        return (piece,)
    piece.symbol.bound = resolve(piece.symbol.bound)
    return scale(piece.symbol.bound, piece.block)


def scale(layout: Layout, block: int) -> Layout:
    """Every entry of the layout becomes ``block`` consecutive ones, as when a channel is flattened."""
    return tuple(Piece(piece.symbol, piece.block * block) for piece in layout)


def repeat(layout: Layout, times: int) -> Layout:
    """The layout ``times`` times in a row, as when an outer axis is flattened into it."""
    return fixed(times * length(layout)) if is_fixed(layout) else layout * times


def length(layout: Layout) -> int:
    """Number of entries."""
    return sum(piece.length for piece in layout)


def is_fixed(layout: Layout) -> bool:
    """Whether nothing of the layout may move."""
    return all(piece.symbol is None for piece in resolve(layout))


def _pattern(layout: Layout) -> list[tuple[int, int]]:
    """Sizes and blocks of the pieces: what a layout looks like, whichever its symbols are."""
    return [(piece.symbol.size if piece.symbol else 0, piece.block) for piece in layout]


def _fix_symbol(symbol: Symbol):
    symbol.bound = fixed(symbol.size)


class Symmetry:
    """The constraints of one network, collected while its graph is read and settled at the end."""

    def __init__(self):
        self._products: list[tuple[Layout, tuple[Layout, ...], str]] = []
        self.decided: dict[str, list[str]] = defaultdict(list)

    def fix(self, layout: Layout):
        """Nothing of the layout may move."""
        for piece in resolve(layout):
            if piece.symbol is not None:
                _fix_symbol(piece.symbol)

    def cut(self, layout: Layout, at: int) -> tuple[Layout, Layout]:
        """The first ``at`` entries and the rest; no unit may move from one side to the other."""
        left: list[Piece] = []
        rest = list(resolve(layout))
        while rest and at >= rest[0].length:
            at -= rest[0].length
            left.append(rest.pop(0))
        if at:
            first, second = self._cut_piece(rest.pop(0), at)
            left, rest = [*left, *first], [*second, *rest]
        return resolve(tuple(left)), resolve(tuple(rest))

    def _cut_piece(self, piece: Piece, at: int) -> tuple[Layout, Layout]:
        if piece.symbol is None:
            return fixed(at), fixed(piece.block - at)
        if at % piece.block:
            _fix_symbol(piece.symbol)
            return fixed(at), fixed(piece.length - at)
        units = at // piece.block
        parts = fresh(units), fresh(piece.symbol.size - units)
        piece.symbol.bound = parts[0] + parts[1]
        return scale(parts[0], piece.block), scale(parts[1], piece.block)

    def take(self, layout: Layout, start: int, stop: int) -> Layout:
        """The entries from start to stop, cut out."""
        return self.cut(self.cut(layout, stop)[0], start)[1]

    def tie(self, first: Layout, second: Layout) -> Layout:
        """Both layouts move alike; the layout that both have from now on."""
        if length(first) != length(second):
            raise AssertionError(f"layouts of {length(first)} and {length(second)} entries cannot be tied")
        left, right = resolve(first), resolve(second)
        while left:
            if left[0] == right[0]:
                left, right = left[1:], right[1:]
            elif left[0].symbol is right[0].symbol is None:
                common = min(left[0].block, right[0].block)
                left, right = (fixed(rest[0].block - common) + rest[1:] for rest in (left, right))
            else:
                self._tie_pieces(left[0], right[0])
                left, right = resolve(left), resolve(right)
        return resolve(first)

    def _tie_pieces(self, first: Piece, second: Piece):
        """Take away the freedom that keeps two different pieces, which begin at one entry, from being equal."""
        if first.length != second.length:
            short, long = sorted((first, second), key=lambda piece: piece.length)
            if long.symbol is None:
                self.fix((short,))
            else:
                self._cut_piece(long, short.length)
        elif first.symbol is None or second.symbol is None:
            self.fix((first, second))
        else:
            coarse, fine = sorted((first, second), key=lambda piece: -piece.block)
            if coarse.block % fine.block:
                self.fix((first, second))
            else:
                fine.symbol.bound = (Piece(coarse.symbol, coarse.block // fine.block),)

    def product(self, flat: Layout, dims: Sequence[Layout], where: str):
        """The flat axis is the row-major product of the dims: ``reshape(a·b) = (a, b)``.

        Only one of the dims can move in the end; which one is left open until :meth:`settle`.
        """
        self._products.append((flat, tuple(dims), where))

    def settle(self):
        """Turn every product into ties; where several dims could move, the outermost does and the others are fixed."""
        while self._products:
            waiting = [product for product in self._products if not self._reduce(*product[:2])]
            if len(waiting) == len(self._products):
                self._decide(*waiting[0])
            self._products = waiting

    def _decide(self, flat: Layout, dims: tuple[Layout, ...], where: str):
        outer, *inner = [i for i, dim in enumerate(dims) if not is_fixed(dim)]
        for i in inner:
            self.fix(dims[i])
        block = prod(map(length, dims[outer + 1 :]))
        self.decided[f"units move in whole blocks of {block}, {length(dims[outer])} of them"].append(where)

    def _reduce(self, flat: Layout, dims: tuple[Layout, ...]) -> bool:
        """Tie the flat axis to the one dim that can move; False while several can."""
        flat, dims = resolve(flat), [resolve(dim) for dim in dims]
        sizes = [length(dim) for dim in dims]
        free = [i for i, dim in enumerate(dims) if not is_fixed(dim)]
        spread = {i: repeat(scale(dims[i], prod(sizes[i + 1 :])), prod(sizes[:i])) for i in free}
        moving = [i for i in free if len(free) == 1 or _pattern(spread[i]) == _pattern(flat)]
        if is_fixed(flat) or not free:
            moving = []
        elif not moving:
            return False
        for i in set(free) - set(moving[:1]):
            self.fix(dims[i])
        if moving:
            self.tie(flat, spread[moving[0]])
        else:
            self.fix(flat)
        return True
