"""An image seen mirrored and turned, and the logits turned back: test-time augmentation."""

from typing import NamedTuple

from torch import Tensor


class View(NamedTuple):
    """One of the eight ways to lay a square onto itself.

    Args:
        across: Left and right are exchanged.
        upside: Top and bottom are exchanged.
        turned: Rows become columns, before the others.
    """

    across: bool = False
    upside: bool = False
    turned: bool = False

    @property
    def by_rows(self) -> bool:
        """Whether rows stay in their order, so that an image can be streamed."""
        return not (self.upside or self.turned)

    def of(self, images: Tensor) -> Tensor:
        """The view of "n c h w"."""
        seen = images.transpose(2, 3) if self.turned else images
        dims = [dim for dim, flipped in ((2, self.upside), (3, self.across)) if flipped]
        return seen.flip(dims) if dims else seen

    def back(self, logits: Tensor) -> Tensor:
        """The logits "n k h w" of a view, as those of the image."""
        dims = [dim for dim, flipped in ((2, self.upside), (3, self.across)) if flipped]
        seen = logits.flip(dims) if dims else logits
        return seen.transpose(2, 3) if self.turned else seen


PLAIN = (View(),)
MIRRORED = (View(), View(across=True))
ALL_EIGHT = tuple(
    View(a, u, t) for t in (False, True) for u in (False, True) for a in (False, True)
)
"""The dihedral group of the square."""
