"""What this machine can multiply, and what a network asks of it: for shares of the machine's rate.

    python benchmarks/machine_rate.py

    rate = device_rate("cpu")                       # multiply-adds of float32 in a second
    asked = multiply_adds(network, 3, 1024, 1024)   # of one picture
    share = asked / seconds / rate

The rate is that of torch's product of two large square matrices, the best of several, with all
threads: what a convolution could reach if memory were no hindrance. A multiply-add is one, not two.
"""

import time

import torch
from torch import nn

SIDE = {"cpu": 2048, "cuda": 8192}
"""Of the matrices: large enough that the caches' and the launch's share is lost in the noise."""

TRIES = 8


def device_rate(device: str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """Multiply-adds in a second: the best of several products of large square matrices.

    Args:
        device: "cpu" or "cuda".
        dtype: Of the matrices. Float32 on a GPU is float32, not TF32.
    """
    side = SIDE[torch.device(device).type]
    a = torch.rand(side, side, device=device, dtype=dtype)
    b = torch.rand(side, side, device=device, dtype=dtype)
    out = torch.empty_like(a)
    best = float("inf")
    for _ in range(TRIES):
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        if out.is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return side**3 / best


def multiply_adds(network: nn.Module, channels: int, height: int, width: int) -> int:
    """Of convolutions and matrix products for one picture; nothing is computed.

    Args:
        network: Takes "n c h w".
        channels: Of the picture.
        height: Of it, in pixels, as the network takes it.
        width: Likewise.
    """
    from pixelwright.nn.footprint import footprint

    return footprint(network, (1, channels, height, width), torch.float32).multiply_adds


def main() -> None:
    rate = device_rate()
    print(f"CPU, {torch.get_num_threads()} threads: {rate / 1e9:.1f} G multiply-adds/s in float32")
    if torch.cuda.is_available():
        for dtype in (torch.float32, torch.bfloat16):
            rate = device_rate("cuda", dtype)
            name = str(dtype).removeprefix("torch.")
            print(f"{torch.cuda.get_device_name()}: {rate / 1e12:.1f} T multiply-adds/s in {name}")


if __name__ == "__main__":
    main()
