"""The contestants and their variants. The fastest variant of each contestant counts."""

OURS = "ours"
REFERENCE = "reference"
PRODUCT = "product"

MODULES = {
    OURS: "benchmarks.ours",
    REFERENCE: "benchmarks.reference",
    PRODUCT: "benchmarks.product",
    "torch": "benchmarks.rivals.torch_straight",
    "torch-rewritten": "benchmarks.rivals.torch_rewritten",
    "keras": "benchmarks.rivals.keras_straight",
    "keras-tuned": "benchmarks.rivals.keras_straight",
}
VARIANTS: dict[str, tuple[str, ...]] = {
    "torch": ("eager", "compiled"),
    "torch-rewritten": ("channels_last", "compiled", "compiled channels_last"),
    # oneDNN is off by default on processors without AVX-512; "keras-tuned" turns it on. With XLA, TensorFlow took 2.4
    # and 1.9 times as long as with oneDNN for training steps, and minutes for a forward pass at 256².
    "keras": ("graph",),
    "keras-tuned": ("graph onednn",),
}
# On GPUs, only these variants run: compilation takes long, and the other variants are much slower.
GPU_VARIANTS: dict[str, tuple[str, ...]] = {
    "torch": ("compiled channels_last",),
    "torch-rewritten": ("compiled channels_last",),
}
TITLES = {
    OURS: "FOANet in JAX (ours)",
    "torch": "PyTorch, straight",
    "torch-rewritten": "PyTorch, our rewrite",
    "keras": "Keras/TensorFlow, as installed",
    "keras-tuned": "Keras/TensorFlow, tuned",
}
RIVALS = ("torch", "torch-rewritten", "keras", "keras-tuned")


def variants_of(name: str, device: str = "cpu") -> tuple[str, ...]:
    """Returns the variants of a contestant on a device; at least one."""
    return (GPU_VARIANTS if device == "gpu" else VARIANTS).get(name, ("",))
