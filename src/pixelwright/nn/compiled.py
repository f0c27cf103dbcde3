"""A network whose steps `torch.compile` fuses.

running = Compiled(model, "train.compile")
logits = running(images)    # slow the first time for a shape of batch
"""

import torch
from torch import Tensor, nn

from pixelwright.errors import RecipeError


class Compiled(nn.Module):
    """Calls a model through `torch.compile`; gradients reach the weights of the model itself.

    Hooks of this module stay outside of what is compiled, and so do copies of the model and its
    `state_dict`, which know nothing of it.

    Args:
        model: Whose weights are used, and trained, in place.
        option: What to leave out where nothing can be compiled.
    """

    def __init__(self, model: nn.Module, option: str) -> None:
        super().__init__()
        self.model, self._option = model, option
        try:
            self._run = torch.compile(model.forward)
        except RuntimeError as error:  # a Python or a system that the compiler does not know
            raise self._refused(error) from error

    def forward(self, images: Tensor) -> Tensor:
        """What the model gives.

        Raises:
            RecipeError: Nothing can be compiled here, or not this model.
        """
        from torch._dynamo.exc import TorchDynamoException

        try:
            logits: Tensor = self._run(images)
        except TorchDynamoException as error:
            raise self._refused(error) from error
        return logits

    def _refused(self, error: Exception) -> RecipeError:
        why = str(error).strip().partition("\n")[0]
        return RecipeError(
            f"PyTorch could not compile the network: {why.rstrip('.')}. Leave {self._option} out, "
            f"or give PyTorch what it needs: a C++ compiler on a CPU, Triton on a GPU."
        )
