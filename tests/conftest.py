"""What every test needs: shape types are checked, and the cores are shared."""

import torch
from jaxtyping import install_import_hook

# Before anything imports pixelwright: jaxtyping annotations are then enforced at run time.
install_import_hook("pixelwright", "beartype.beartype")

# Tests run side by side: two threads each wait for one another and take three times as long.
torch.set_num_threads(1)
