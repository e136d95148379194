"""The hybrid loss of the paper: categorical cross entropy, structural similarity and Dice (Eqs. 1–4).

Each term is a mean over images, so that the loss of a batch does not change when the batch is split over devices. Dice
over a whole batch is summed over all devices.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

WINDOW = 11
SIGMA = 1.5
C1 = 0.01**2
C2 = 0.03**2
TERMS = ("cce", "ssim", "dice")  # The terms of the loss of the final output. LossSpec has the weight of each term.
# E[x²] − μ² loses digits by cancellation. With TF32 on GPUs, the error would be as large as C2.
EXACT = lax.Precision.HIGHEST


@dataclasses.dataclass(frozen=True)
class LossSpec:
    """Weights and variants of the three loss terms. A term of weight 0 is not computed.

    Attributes:
        cce: weight of the categorical cross entropy (CCE).
        ssim: weight of the SSIM loss.
        dice: weight of the Dice loss.
        ssim_mode: "windowed" (patch level, 11×11 Gaussian window) or "global" (one window, the whole image).
        dice_background: include the background in the mean over classes (Eq. 4).
        dice_epsilon: smoothing term ε of Eq. 3.
        dice_batch: compute Eq. 3 over all pixels of the batch instead of image by image. An image that lacks a class
            then does not count as a Dice of 1.
        label_smoothing: share of each label that cross entropy spreads over all classes.
        side: weight of the loss of the side heads (`network.side_heads`): the mean over the heads of cross entropy and
            Dice, weighted as above.
    """

    cce: float = 1.0
    ssim: float = 1.0
    dice: float = 1.0
    ssim_mode: str = "windowed"
    dice_background: bool = True
    dice_epsilon: float = 1.0
    dice_batch: bool = False
    label_smoothing: float = 0.0
    side: float = 0.0

    def __post_init__(self):
        if self.ssim_mode not in ("windowed", "global"):
            raise ValueError(f"loss ssim_mode {self.ssim_mode!r}; choose windowed or global")
        weights = {term: getattr(self, term) for term in TERMS}
        if min(weights.values()) < 0 or not any(weights.values()):
            listed = ", ".join(f"{term}={weight}" for term, weight in weights.items())
            raise ValueError(f"loss weights {listed}: none may be negative, and at least one must be positive")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"loss label_smoothing={self.label_smoothing}; choose at least 0 and less than 1")
        if self.side < 0 or (self.side and not self.cce + self.dice):
            raise ValueError(
                f"loss side={self.side}: it must not be negative, and if it is positive, cce or dice must be positive "
                "too, because side outputs are trained with these"
            )


def cce(logits, one_hot, mask):
    """Computes the categorical cross entropy (Eq. 1), −Σ y ln ŷ, as a mean over pixels and then over images.

    Args:
        logits, one_hot: (B, H, W, C).
        mask: (B, H, W), weight of each pixel; 0 in the padding.
    """
    pixels = -jnp.sum(one_hot * jax.nn.log_softmax(logits, axis=-1), axis=-1)
    return jnp.mean(_mean_inside(pixels, mask))


def _mean_inside(maps, mask):
    """Returns the (B,) means of (B, H, W) maps over the pixels of their masks."""
    return jnp.sum(maps * mask, axis=(1, 2)) / jnp.sum(mask, axis=(1, 2))


@functools.lru_cache(maxsize=64)
def _window_matrix(size: int) -> np.ndarray:
    """Returns the (size − 10, size) band matrix whose rows are the normalised Gaussian window at each position."""
    taps = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / SIGMA) ** 2)
    matrix = np.zeros((size - WINDOW + 1, size), np.float32)
    for row in range(len(matrix)):
        matrix[row, row : row + WINDOW] = taps / taps.sum()
    return matrix


def _similarity(mean_s, mean_g, square_s, square_g, product):
    """Computes the fraction in Eq. 2 from the first and second moments."""
    covariance = product - mean_s * mean_g
    variances = (square_s - mean_s**2) + (square_g - mean_g**2)
    numerator = (2 * mean_s * mean_g + C1) * (2 * covariance + C2)
    return numerator / ((mean_s**2 + mean_g**2 + C1) * (variances + C2))


def ssim(probabilities, one_hot, mask):
    """Computes Eq. 2 at patch level: 1 − the mean SSIM over the 11×11 Gaussian windows (σ = 1.5) inside the image.

    The windows are applied as one band matrix per axis. This is exact and much faster than a depthwise convolution.

    Args:
        probabilities, one_hot: (B, H, W, C).
        mask: (B, H, W), 1 on the image and 0 in the padding. The image is a rectangle in the top left corner.

    Raises:
        ValueError: H or W is smaller than the window.
    """
    _, height, width, _ = probabilities.shape
    if min(height, width) < WINDOW:
        raise ValueError(
            f"SSIM needs images of at least {WINDOW}×{WINDOW} px, not {height}×{width} px; use ssim_mode=global"
        )
    rows, columns = _window_matrix(height), _window_matrix(width)
    maps = jnp.stack([probabilities, one_hot, probabilities**2, one_hot**2, probabilities * one_hot], axis=-1)
    moments = jnp.einsum("ih,bhwcm->biwcm", rows, maps, precision=EXACT)
    moments = jnp.einsum("jw,biwcm->bijcm", columns, moments, precision=EXACT)
    similarity = _similarity(*jnp.moveaxis(moments, -1, 0)).mean(axis=-1)
    inside = mask[:, WINDOW - 1 :, WINDOW - 1 :]
    return 1 - jnp.mean(_mean_inside(similarity, inside))


def ssim_global(probabilities, one_hot, mask):
    """Computes Eq. 2 with the whole image as one window, as a mean over classes and images.

    Args:
        probabilities, one_hot: (B, H, W, C).
        mask: (B, H, W), 1 on the image and 0 in the padding.
    """
    weights = (mask / jnp.sum(mask, axis=(1, 2), keepdims=True))[..., None]

    def mean(maps):
        return jnp.sum(maps * weights, axis=(1, 2))

    moments = map(mean, (probabilities, one_hot, probabilities**2, one_hot**2, probabilities * one_hot))
    return 1 - jnp.mean(_similarity(*moments))


def dice(
    probabilities, one_hot, mask, *, background: bool = True, epsilon: float = 1.0, batch: bool = False, axis_name=None
):
    """Computes the Dice loss (Eqs. 3 and 4): 1 − the mean over images and classes of (ε + 2 Σ y ŷ) / (ε + Σ y + Σ ŷ).

    Args:
        probabilities, one_hot: (B, H, W, C).
        mask: (B, H, W), weight of each pixel; 0 in the padding.
        background: whether the mean includes the background class.
        epsilon: the smoothing term ε.
        batch: sum over the pixels of all images, instead of one Dice per image.
        axis_name: with `batch`, the device axis over which the sums are added.
    """
    first = 0 if background else 1
    weights = mask[..., None]
    overlap = jnp.sum(probabilities * one_hot * weights, axis=(1, 2))
    total = jnp.sum((probabilities + one_hot) * weights, axis=(1, 2))
    if batch:
        overlap, total = overlap.sum(axis=0, keepdims=True), total.sum(axis=0, keepdims=True)
        if axis_name is not None:
            overlap, total = lax.psum((overlap, total), axis_name)
    return 1 - jnp.mean(((epsilon + 2 * overlap) / (epsilon + total))[:, first:])


def smoothed(one_hot, share: float):
    """Applies label smoothing: distributes a share of one-hot labels evenly over all classes."""
    return one_hot if not share else (1 - share) * one_hot + share / one_hot.shape[-1]


def side_loss(logits, one_hot, mask, spec: LossSpec, *, axis_name=None):
    """Computes cross entropy and Dice of a side output.

    Each prediction of the side output counts for s×s pixels. The loss is computed at the low resolution, from block
    means of the labels. It equals the loss at full resolution.

    Args:
        logits: (B, h, w, C).
        one_hot: (B, h·s, w·s, C) labels at full resolution.
        mask: (B, h·s, w·s), 1 on the image and 0 in the padding.
        spec: weights and options of the two terms.
        axis_name: see `hybrid_loss`.
    """
    batch, height, width, _ = logits.shape
    stride = one_hot.shape[1] // height

    def block_means(maps):
        return maps.reshape(batch, height, stride, width, stride, -1).mean(axis=(2, 4))

    share = block_means(mask[..., None])
    soft = block_means(one_hot * mask[..., None]) / jnp.maximum(share, 1e-6)
    share = share[..., 0]
    total = 0.0
    if spec.cce:
        total += spec.cce * cce(logits, smoothed(soft, spec.label_smoothing), share)
    if spec.dice:
        # Sums over blocks are sums over pixels divided by s². Therefore ε is divided by s² too.
        total += spec.dice * _dice_of(spec, jax.nn.softmax(logits, axis=-1), soft, share, stride, axis_name)
    return total


def _dice_of(spec: LossSpec, probabilities, one_hot, mask, stride: int, axis_name):
    return dice(
        probabilities,
        one_hot,
        mask,
        background=spec.dice_background,
        epsilon=spec.dice_epsilon / stride**2,
        batch=spec.dice_batch,
        axis_name=axis_name,
    )


def hybrid_loss(logits, labels, spec: LossSpec, *, extent=None, sides=(), axis_name=None):
    """Computes the hybrid loss, the weighted sum ℓ = ℓ_CCE + ℓ_SSIM + ℓ_DC, and its terms (Sec. II-D).

    Args:
        logits: (B, H, W, C).
        labels: (B, H, W) int class indices.
        spec: weights and options of the terms.
        extent: (B, 2) rows and columns that belong to each image, at least 11 each for the windowed SSIM;
            None: all.
        sides: logits of the side heads, see `network.apply_with_sides`; used if `spec.side` is positive.
        axis_name: device axis over which the Dice sums of a whole batch are added.

    Returns:
        The scalar loss, and a dictionary of the terms that were computed, without their weights.
    """
    batch, height, width, classes = logits.shape
    logits = logits.astype(jnp.float32)
    one_hot = jax.nn.one_hot(labels, classes)
    mask = jnp.ones((batch, height, width))
    if extent is not None:
        inside_rows = jnp.arange(height)[None, :, None] < extent[:, 0, None, None]
        inside_columns = jnp.arange(width)[None, None, :] < extent[:, 1, None, None]
        mask = (inside_rows & inside_columns).astype(jnp.float32)
    predicted = jax.nn.softmax(logits, axis=-1)
    terms = {}
    if spec.cce:
        terms["cce"] = cce(logits, smoothed(one_hot, spec.label_smoothing), mask)
    if spec.ssim:
        similarity = ssim if spec.ssim_mode == "windowed" else ssim_global
        terms["ssim"] = similarity(predicted, one_hot, mask)
    if spec.dice:
        terms["dice"] = _dice_of(spec, predicted, one_hot, mask, 1, axis_name)
    if spec.side:
        # The side logits are padded to a multiple of the coarsest stride. The first side has full resolution.
        beyond = [(0, full - size) for full, size in zip(sides[0].shape[1:3], labels.shape[1:], strict=True)]
        wide, inside = jnp.pad(one_hot, ((0, 0), *beyond, (0, 0))), jnp.pad(mask, ((0, 0), *beyond))
        each = [side_loss(side, wide, inside, spec, axis_name=axis_name) for side in sides]
        terms["side"] = jnp.mean(jnp.stack(each))
    return sum(getattr(spec, name) * value for name, value in terms.items()), terms
