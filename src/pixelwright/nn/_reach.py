"""What the positions of an intermediate map see of the image, and how each kind of step widens it.

Exact rational arithmetic on one axis at a time; no tensors.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

Atom = tuple[str, int]
"""Part of a tensor's dimension: "h", "w" or "" (neither), and its length."""

Dims = tuple[tuple[Atom, ...], ...]
"""The atoms of each dimension; several where dimensions were merged, none where the length is 1."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Position `i` of a map sees the image from `i * scale + first` to `i * scale + last`.

    Args:
        scale: Image pixels from one position to the next.
        first: In image pixels, at most 0 for a network that is centred.
        last: In image pixels, inclusive.
        stride: Moving the image by this moves every map on the way by a whole step.
    """

    scale: Fraction = Fraction(1)
    first: Fraction = Fraction(0)
    last: Fraction = Fraction(0)
    stride: int = 1

    def at(self, scale: Fraction, first: Fraction, last: Fraction) -> "Axis":
        """The next map, whose first and last look `first` and `last` of our steps further."""
        return Axis(
            scale,
            self.first + first * self.scale,
            self.last + last * self.scale,
            math.lcm(self.stride, scale.numerator),
        )

    def window(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> "Axis":
        """A convolution or a pooling."""
        reach = dilation * (kernel - 1) - padding
        return self.at(self.scale * stride, Fraction(-padding), Fraction(reach))

    def spread(self, kernel: int, stride: int, padding: int, dilation: int) -> "Axis":
        """A transposed convolution: `i` writes to `i * stride - padding + dilation * m`."""
        first = Fraction(padding - dilation * (kernel - 1), stride)
        return self.at(self.scale / stride, first, Fraction(padding, stride))

    def finer(self, factor: int) -> "Axis":
        """Nearest upsampling or pixel shuffle: position `j` reads `floor(j / factor)`."""
        return self.at(self.scale / factor, Fraction(1 - factor, factor), Fraction(0))

    def resized(self, ratio: Fraction, taps: tuple[int, int]) -> "Axis":
        """Interpolation with half-pixel centres.

        Args:
            ratio: Our steps per step of the result.
            taps: Positions read, from the one at or below the centre: (0, 1) for bilinear.
        """
        half = Fraction(1, 2)
        offsets = [
            math.floor((j + half) * ratio - half) - j * ratio for j in range(ratio.denominator)
        ]
        return self.at(self.scale * ratio, min(offsets) + taps[0], max(offsets) + taps[1])

    def join(self, other: "Axis") -> "Axis | None":
        """Two maps added or stacked; None where their scales differ."""
        if self.scale != other.scale:
            return None
        return Axis(
            self.scale,
            min(self.first, other.first),
            max(self.last, other.last),
            math.lcm(self.stride, other.stride),
        )


@dataclass(frozen=True, slots=True)
class Reach:
    """What a tensor sees of the image.

    Args:
        h: Down the rows.
        w: Along the columns.
        dims: Where the tensor keeps them.
        unbounded: The step that made it see the whole image, in plain words; the rest is then void.
    """

    h: Axis = Axis()
    w: Axis = Axis()
    dims: Dims = ()
    unbounded: str | None = None

    def of_maps(self, shape: tuple[int, ...], h: Axis, w: Axis) -> "Reach":
        """The same tensor after a step that gave it another size, as "n c h w"."""
        if 1 in shape[-2:]:
            return whole("a map of one pixel")
        plain = tuple((("", size),) if size > 1 else () for size in shape[:-2])
        return Reach(h, w, (*plain, (("h", shape[-2]),), (("w", shape[-1]),)))

    def is_maps(self) -> bool:
        """Whether the tensor lies as "... h w", so that windows run over the image."""
        labels = ["".join(label for label, _ in atoms) for atoms in self.dims]
        return labels[-2:] == ["h", "w"] and not any(labels[:-2])

    def sees(self, dim: int) -> bool:
        """Whether a dimension runs over the image."""
        return any(label for label, _ in self.dims[dim])

    def resize(self, shape: tuple[int, ...]) -> "Reach":
        """The same layout, where dimensions off the image have new lengths."""
        return replace(
            self,
            dims=tuple(
                atoms if any(label for label, _ in atoms) else _plain(size)
                for atoms, size in zip(self.dims, shape, strict=True)
            ),
        )

    def regroup(self, shape: tuple[int, ...]) -> "Reach":
        """A reshape: dimensions merged, or cut where they do not run over the image."""
        atoms = [atom for dim in self.dims for atom in dim if atom[1] > 1]
        dims: list[tuple[Atom, ...]] = []
        for size in shape:
            group: list[Atom] = []
            missing = size
            while missing > 1:
                label, length = atoms.pop(0) if atoms else ("", 0)
                if length and missing % length == 0:
                    group.append((label, length))
                    missing //= length
                elif length and label == "" and length % missing == 0:
                    group.append(("", missing))
                    atoms.insert(0, ("", length // missing))
                    missing = 1
                else:
                    return whole("cutting the image into patches")
            dims.append(tuple(group))
        return replace(self, dims=tuple(dims))._absorbed()

    def _absorbed(self) -> "Reach":
        """An image axis merged with plain atoms behind it is a finer image axis."""
        reach = self
        for position, atoms in enumerate(self.dims):
            labels = [label for label, _ in atoms]
            if labels in (["h", ""], ["w", ""]):
                (label, size), (_, factor) = atoms
                dims = list(reach.dims)
                dims[position] = ((label, size * factor),)
                reach = replace(reach, dims=tuple(dims))
                axis = getattr(reach, label).finer(factor)
                reach = replace(reach, h=axis) if label == "h" else replace(reach, w=axis)
        return reach


def _plain(size: int) -> tuple[Atom, ...]:
    return (("", size),) if size > 1 else ()


def whole(step: str) -> Reach:
    """A tensor that sees the whole image, because of `step`."""
    return Reach(unbounded=step)


def join(reaches: list[Reach]) -> Reach:
    """Tensors combined position by position, last dimensions aligned as in broadcasting."""
    rank = max(len(reach.dims) for reach in reaches)
    h, w = reaches[0].h, reaches[0].w
    dims: list[tuple[Atom, ...]] = [()] * rank
    for reach in reaches:
        joined_h, joined_w = h.join(reach.h), w.join(reach.w)
        if joined_h is None or joined_w is None:
            return whole("joining maps of different scales")
        h, w = joined_h, joined_w
        padded = ((),) * (rank - len(reach.dims)) + reach.dims
        for position, atoms in enumerate(padded):
            seen = [label for label, _ in dims[position] if label]
            new = [label for label, _ in atoms if label]
            if seen and new and seen != new:
                return whole("mixing rows and columns")
            if new or not dims[position]:
                dims[position] = atoms
    return Reach(h, w, tuple(dims))
