"""Images rewritten in other transfer syntaxes, by pydicom and by GDCM's own tools."""

from pathlib import Path

import gdcm
import numpy as np
import pydicom
from pydicom import uid as uids

_GDCM = {
    uids.JPEGLossless: "JPEGLosslessProcess14",
    uids.JPEGLosslessSV1: "JPEGLosslessProcess14_1",
    uids.JPEGLSLossless: "JPEGLSLossless",
    uids.JPEG2000Lossless: "JPEG2000Lossless",
    uids.JPEGBaseline8Bit: "JPEGBaselineProcess1",
    uids.JPEGLSNearLossless: "JPEGLSNearLossless",
    uids.JPEG2000: "JPEG2000",
}
LOSSLESS = (
    uids.ImplicitVRLittleEndian,
    uids.DeflatedExplicitVRLittleEndian,
    uids.ExplicitVRBigEndian,
    uids.RLELossless,
    uids.JPEGLossless,
    uids.JPEGLosslessSV1,
    uids.JPEGLSLossless,
    uids.JPEG2000Lossless,
)


def rewrite(path: Path, syntax: uids.UID) -> None:
    """Rewrites an uncompressed image of 16 bits in another transfer syntax, with the losses that it has."""
    if syntax in _GDCM:
        _with_gdcm(path, _GDCM[syntax])
        return
    image = pydicom.dcmread(path)
    if syntax == uids.RLELossless:
        image.compress(syntax, encoding_plugin="pydicom", generate_instance_uid=False)
    elif syntax == uids.ExplicitVRBigEndian:
        image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
        image["PixelData"].VR = "OW"
    image.file_meta.TransferSyntaxUID = syntax
    rewritten = pydicom.Dataset(image)
    rewritten.file_meta = image.file_meta
    rewritten.save_as(path, enforce_file_format=True)


def _with_gdcm(path: Path, name: str) -> None:
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()
