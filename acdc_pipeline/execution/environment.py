"""What a result was made with: recorded beside it, and no part of its identity."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch

import acdc_pipeline


def environment(device: torch.device, dtype: str) -> dict[str, str]:
    """Versions, device and floating-point type, as text."""
    packages = ("torch", "transformer-lens", "transformers", "numpy")
    return {
        "acdc-pipeline": acdc_pipeline.__version__,
        **{name: version(name) for name in packages},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": _device_name(device),
        "threads": str(torch.get_num_threads()),
        "dtype": dtype,
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type
