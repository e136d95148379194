"""Decoders for compressed images. GDCM, a C++ library, decodes JPEG, JPEG-LS and JPEG 2000 in a child process."""

from foanet_jax.data.dicom.decoding.child import decode_frame
from foanet_jax.data.dicom.decoding.decoder import Decoder, frame_format

__all__ = ["Decoder", "decode_frame", "frame_format"]
