"""From a trained network to files for other programs, checked against it.

content = onnx_of(source)                                        # an ONNX file
backend = opened("openvino", source, keep=folder)                # runs it, from a file that is kept
backend = choose(source, NAMES, sample, keep=folder)             # the fastest one here
verify(backend, source)                                          # ExportError if it differs
"""

from pixelwright.exporting.onnx import onnx_of
from pixelwright.exporting.opening import choose, opened
from pixelwright.exporting.source import Source
from pixelwright.exporting.verify import Agreement, verify

__all__ = ["Agreement", "Source", "choose", "onnx_of", "opened", "verify"]
