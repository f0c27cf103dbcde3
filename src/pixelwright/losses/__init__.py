"""What training makes small, one function a file."""

from pixelwright.registry import Registry

losses = Registry("loss", "pixelwright.losses")
