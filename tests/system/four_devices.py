"""One, two and four devices predict a study, one and four train: `python -m tests.system.four_devices FOLDER`."""

import sys
from pathlib import Path

import jax
import numpy as np

import foanet_jax.network
from foanet_jax.image.prepare import PrepareSpec
from foanet_jax.network import NetworkSpec, init_network
from foanet_jax.pipeline import Model, Network, predict_study
from foanet_jax.system import devices
from tests.faults.child import Small
from tests.test_pipeline import LV_CLASSES, ring_study
from tests.training.test_parallel import trained

COUNTS = (1, 2, 4)


def random_model() -> Model:
    """A network that has learned nothing, whose labels hang on every rounding."""
    spec = NetworkSpec("net1", 3, width=1 / 32, side_maps=2)
    variables = devices.everywhere(jax.jit(init_network, static_argnames="spec")(jax.random.key(1), spec))
    network = Network(spec, PrepareSpec(spacing_mm=2.0), variables)
    return Model(LV_CLASSES, (), (network,), margin_px=10, cyclic=True)


def main(folder: Path) -> None:
    """Writes the mask and the variables to COUNT.npz."""
    assert jax.local_device_count() == max(COUNTS)
    foanet_jax.network.FoaNet = Small  # type: ignore[assignment, misc]  # little to compile
    for count in COUNTS:
        jax.local_device_count = lambda count=count: count
        # 15 slices do not go round.
        mask = predict_study(ring_study(frames=5, slices=3), random_model()).mask
        found = {"mask": mask}
        if count != 2:  # Two are tested where they are.
            variables, _ = trained("batch", count)
            leaves = jax.tree_util.tree_leaves_with_path(variables)
            found |= {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
        np.savez(folder / f"{count}.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
