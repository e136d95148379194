"""Keras on TensorFlow, written as the paper draws it: a functional model, a `tf.function` for each step."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks.program import Inputs, Program, Settings, load_inputs

STRIDES = (1, 2, 4, 8, 16)
DEPTHS = (2, 2, 3, 3, 3)
WINDOW, SIGMA = 11, 1.5


def build(inputs: Inputs, settings: Settings) -> keras.Model:
    """Net.1 or Net.2 with the given parameters, (B, H, W, 3) images to logits."""
    case = settings.case

    def convolution(name: str, x, *, activation: str | None = "relu", dilation: int = 1):
        size, _, _, maps = inputs.params[name]["kernel"].shape
        return layers.Conv2D(maps, size, padding="same", activation=activation, dilation_rate=dilation, name=name)(x)

    images = x = keras.Input((case.size, case.size, 3), case.batch)
    sides = []
    for stage, (depth, stride) in enumerate(zip(DEPTHS, STRIDES, strict=True), start=1):
        if stage > 1:
            x = layers.MaxPooling2D()(x)
        x = convolution(f"block{stage}_conv1", x)
        x = convolution(f"block{stage}_conv2", x)
        if depth == 3 and case.architecture == "net2":
            first = convolution(f"block{stage}_conv3", x, dilation=2)
            second = convolution(f"block{stage}_dilated2", first, dilation=2)
            third = convolution(f"block{stage}_dilated3", second, dilation=2)
            x = convolution(f"block{stage}_project", layers.Concatenate()([first, second, third]))
        elif depth == 3:
            x = convolution(f"block{stage}_conv3", x)
        fine = x
        if stride > 1:
            # Bilinear up-sampling of the zero-padded features is the fixed up-convolution.
            fine = layers.ZeroPadding2D(1)(fine)
            fine = layers.UpSampling2D(stride, interpolation="bilinear")(fine)
            fine = layers.Cropping2D(stride)(fine)
        sides.append(convolution(f"side{stage}", fine, activation=None))
    logits = convolution("score", layers.Concatenate()(sides), activation=None)
    model = keras.Model(images, logits)
    for name, group in inputs.params.items():
        model.get_layer(name).set_weights([group["kernel"], group["bias"]])
    return model


def ssim(predicted, truth):
    """Eq. 2 at patch level; the windows are a depthwise convolution."""
    maps = tf.concat([predicted, truth, predicted**2, truth**2, predicted * truth], axis=-1)
    line = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / SIGMA) ** 2)
    square = (line[:, None] * line[None, :] / line.sum() ** 2).astype(np.float32)
    window = tf.constant(np.repeat(square[:, :, None, None], maps.shape[-1], axis=2))
    found = tf.nn.depthwise_conv2d(maps, window, (1, 1, 1, 1), "VALID")
    mu_x, mu_y, square_x, square_y, product = tf.split(found, 5, axis=-1)
    c1, c2 = 0.01**2, 0.03**2
    covariance = product - mu_x * mu_y
    variances = (square_x - mu_x**2) + (square_y - mu_y**2)
    above = (2 * mu_x * mu_y + c1) * (2 * covariance + c2)
    return 1 - tf.reduce_mean(above / ((mu_x**2 + mu_y**2 + c1) * (variances + c2)))


def hybrid_loss(logits, labels, terms: tuple[str, ...]):
    """The sum of the given terms ("cce", "ssim", "dice" with ε = 1), each a mean over images."""
    total = 0.0
    if "cce" in terms:
        total += tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    if "ssim" in terms or "dice" in terms:
        predicted, truth = tf.nn.softmax(logits), tf.one_hot(labels, logits.shape[-1])
    if "ssim" in terms:
        total += ssim(predicted, truth)
    if "dice" in terms:
        overlap = tf.reduce_sum(predicted * truth, (1, 2))
        sizes = tf.reduce_sum(predicted + truth, (1, 2))
        total += 1 - tf.reduce_mean((1 + 2 * overlap) / (1 + sizes))
    return total


def make(settings: Settings) -> Program:
    """The program of a case; the variant is "graph" or "graph onednn"."""
    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
    inputs = load_inputs(settings.inputs)
    model = build(inputs, settings)
    images, labels = tf.constant(inputs.images), tf.constant(inputs.labels.astype(np.int32))
    del inputs
    adam = keras.optimizers.Adam(0.002, beta_1=0.9, beta_2=0.999, epsilon=0.001)
    adam.build(model.trainable_variables)
    compile_ = tf.function()

    @compile_
    def forward():
        return {"probabilities": tf.nn.softmax(model(images, training=False))}

    @compile_
    def train():
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = hybrid_loss(logits, labels, settings.case.terms)
        gradients = tape.gradient(loss, model.trainable_variables)
        adam.apply(gradients, model.trainable_variables)
        return {"loss": loss, "gradient_norm": tf.linalg.global_norm(gradients), "logits": logits}

    def fetch(outcome) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in outcome.items()}

    note = {"tensorflow": tf.__version__, "keras": keras.__version__}
    return Program(train if settings.case.kind == "train" else forward, fetch, note)
