"""FOANet: two-stage segmentation of the heart in cardiac MR, in JAX.

import foanet_jax

model = foanet_jax.load("runs/acdc")
result = model.predict("study.nii.gz")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foanet_jax.api import Measured, Result, Segmenter, load, measure

__version__ = "0.1.0"
__all__ = ["Measured", "Result", "Segmenter", "__version__", "load", "measure"]


def __getattr__(name: str) -> Any:
    """Imports the names of `api` on first access (PEP 562), because JAX and the readers take seconds to import."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from foanet_jax import api

    return getattr(api, name)
