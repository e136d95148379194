"""Cine MR in DICOM files: nothing in a file is believed before it is checked, and nothing names the patient."""

import contextlib
import dataclasses
import functools
import itertools
import logging
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import uid as uids
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_file_meta_info
from pydicom.valuerep import DA, TM

from foanet_jax import __version__
from foanet_jax.atomic import atomic_path
from foanet_jax.data.nifti import DEFAULT_BUDGET_BYTES, SPACING_RANGE_MM
from foanet_jax.data.refs import StudyRef, empty_root, natural_key, safe_case
from foanet_jax.data.study import LV_CLASSES, Study, validate_study
from foanet_jax.errors import InputError

LOGGER = logging.getLogger(__name__)

MOST_FILES = 100_000

# These need no decoder beside NumPy.
_SYNTAXES = (
    uids.ImplicitVRLittleEndian,
    uids.ExplicitVRLittleEndian,
    uids.ExplicitVRBigEndian,
    uids.RLELossless,
)
_ENHANCED = (uids.EnhancedMRImageStorage, uids.EnhancedMRColorImageStorage, uids.LegacyConvertedEnhancedMRImageStorage)
_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "FrameOfReferenceUID",
    "ImageType",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelSpacing",
    "SliceThickness",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "TriggerTime",
    "TemporalPositionIdentifier",
    "InstanceNumber",
    "AcquisitionTime",
)
# What orders frames in time, best first.
_TIMES = ("TriggerTime", "TemporalPositionIdentifier", "InstanceNumber", "AcquisitionTime")
# For the segmentation object: tags that its standard wants at least empty, and tags that it can be without.
_DATE_TAGS = ("StudyDate", "StudyTime", "PatientBirthDate")
_EMPTIED_TAGS = (*_DATE_TAGS, "PatientName", "PatientID", "PatientSex", "AccessionNumber", "StudyID")
_PATIENT_TAGS = (
    "ReferringPhysicianName",
    "ConsultingPhysicianName",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "StudyDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "OtherPatientIDs",
    "OtherPatientNames",
    "OtherPatientIDsSequence",
    "EthnicGroup",
    "Occupation",
    "PatientComments",
    "AdditionalPatientHistory",
    "IssuerOfPatientID",
)
_ANATOMY = {
    "myocardium": ("74281007", "SCT", "Myocardium"),
    "cavity": ("87878005", "SCT", "Left ventricle"),
    "left ventricle": ("87878005", "SCT", "Left ventricle"),
    "right ventricle": ("53085002", "SCT", "Right ventricle"),
    "left atrium": ("82471001", "SCT", "Left atrium"),
    "right atrium": ("73829009", "SCT", "Right atrium"),
    "ascending aorta": ("54247002", "SCT", "Ascending aorta"),
    "pulmonary artery": ("81040000", "SCT", "Pulmonary artery"),
}
_MOST_BESIDE_PIXELS = 64 * 2**20
_ANGLE_TOLERANCE = 1e-3  # Of direction cosines; scanners write four digits and more.
_SAME_PLACE_MM = 0.01
_FURTHEST_MM = 1e5


@dataclasses.dataclass(frozen=True)
class DicomSource:
    """The header of a study that was read from DICOM: where its images came from.

    Attributes:
        files: of frame t and slice z at files[t][z].
    """

    files: tuple[tuple[Path, ...], ...]


@dataclasses.dataclass(frozen=True)
class _Image:
    """One single-frame image, as its header has it; patient, study and series stay in memory."""

    path: Path
    syntax: str
    instance: str
    patient: str
    study: str
    series: str
    series_number: int | None
    frame_of_reference: str
    kind: tuple[str, ...]
    shape: tuple[int, int]
    dtype: np.dtype
    bits: int
    slope: float
    intercept: float
    spacing_mm: tuple[float, float]
    thickness_mm: float | None
    orientation: np.ndarray
    position: np.ndarray
    times: dict[str, float]

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.orientation[:3], self.orientation[3:])


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Whether a file starts as DICOM files do, with "DICM" after 128 bytes, whatever its name is."""
    try:
        if not Path(path).is_file():
            return False
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def holds_dicom(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder, or one below it, has a DICOM file."""
    return any(is_dicom(path) for path in _walk(Path(folder)))


def list_dicom(path: str | os.PathLike[str], *, classes: tuple[str, ...] = LV_CLASSES) -> list[StudyRef]:
    """One unlabelled study for each stack of MR slices in a DICOM file, or in a folder and the folders below it.

    The images of a series that share size, pixel spacing, orientation and image type are a stack, a cine where
    there are several at each position. Series of one slice each, of the same examination and frame of reference,
    are joined to one stack where sizes, spacing, orientation and numbers of frames agree and the slices are evenly
    spaced; where they are not, the reason is logged and each is a study. Files that are no DICOM are passed over,
    and so are objects that are no single-frame MR images, which is logged. Patients and cases are called by their
    folders: no tag that could name a patient gets into ids, messages or logs.

    Raises:
        InputError: nothing is there or nothing of this kind, a header cannot be used (all such files are named
            at once), or a folder mixes patients; loading raises what read_dicom_series does.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("missing-file", f"{path}: no such file or folder; check the path")
    if path.is_dir():
        root = path.resolve()
        candidates = [file for file in _walk(path) if is_dicom(file)]
        if not candidates:
            raise empty_root(path, "DICOM files (with DICM after 128 bytes, of any name)")
    else:
        root = path.resolve().parent
        candidates = [path]
    images, notes = _read_headers(candidates)
    if not images:
        listed = "\n".join(f"- {note}" for note in notes)
        raise InputError("no-images", f"{path}: DICOM, but no MR images that can be read:\n{listed}")
    for note in notes:
        LOGGER.warning("passed over %s", note)

    patients = _patient_names(images, root if path.is_dir() else None)
    taken: set[str] = set()
    refs = []
    stacks = _stacks(images)
    count_of = {key: sum(_patient_key(stack[0]) == key for stack in stacks) for key in patients}
    for stack in stacks:
        key = _patient_key(stack[0])
        stem = patients[key]
        if count_of[key] > 1 and stack[0].series_number is not None:
            stem = f"{stem}_series{stack[0].series_number}"
        case = safe_case(stem, taken)
        files = tuple(image.path for image in stack)
        load = functools.partial(read_dicom_series, files, patient=patients[key], case=case, classes=classes)
        refs.append(StudyRef(patients[key], case, None, load))
    return refs


def read_dicom_series(
    files: Iterable[str | os.PathLike[str]],
    *,
    patient: str | None = None,
    case: str | None = None,
    classes: tuple[str, ...] = LV_CLASSES,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> Study:
    """The study that the images of one stack make, in whatever order their files come.

    Slices follow each other along the normal of the image, row direction × column direction; frames by trigger
    time, temporal position, instance number or acquisition time: the first that tells all images at a place apart.

    Args:
        files: single-frame MR images of one patient, as list_dicom groups them.
        patient: id of the patient; by default, the case.
        case: id of the study; by default, made from the name of the first file's folder.
        classes: of the labels that will be predicted.
        budget_bytes: the most that the voxels may take as float32.

    Returns:
        Voxels (T, Z, H, W) float32 with the rescaling applied. The slice distance is the one between positions, along
        the normal; of a single slice, its thickness. The header is a DicomSource.

    Raises:
        InputError: a file is no usable MR image, or the images do not make one evenly spaced stack.
    """
    paths = [Path(file) for file in files]
    if not paths:
        raise InputError("no-images", "no DICOM files; pass the files of a stack")
    images, notes = _read_headers(paths)
    if notes:
        raise InputError("not-an-image", f"{notes[0]}; leave it out")
    folder = images[0].path.resolve().parent
    case = safe_case(folder.name, set()) if case is None else case
    grid = _grid(images)
    frames, slices = len(grid), len(grid[0])
    height, width = images[0].shape
    voxels_bytes = 4 * frames * slices * height * width
    if voxels_bytes > budget_bytes:
        raise InputError(
            "too-large",
            f"{folder}: {frames} frames × {slices} slices × {height} × {width}, {voxels_bytes / 2**30:.2f} GiB as "
            f"float32, over the budget of {budget_bytes / 2**30:.2f} GiB; split the folder or raise the budget",
        )
    spacing_mm, affine = _geometry(grid[0])
    voxels = np.empty((frames, slices, height, width), np.float32)
    for t, row in enumerate(grid):
        for z, image in enumerate(row):
            # Values beyond float32 become infinite, and validate_study refuses those.
            with np.errstate(over="ignore", invalid="ignore"):
                voxels[t, z] = _pixels(image) * image.slope + image.intercept
    return validate_study(
        Study(
            patient=case if patient is None else patient,
            case=case,
            voxels=voxels,
            spacing_mm=spacing_mm,
            classes=classes,
            affine=affine,
            source=folder if len(images) > 1 else images[0].path,
            header=DicomSource(tuple(tuple(image.path for image in row) for row in grid)),
        )
    )


def write_mask_dicom_seg(
    mask: np.ndarray, study: Study, path: str | os.PathLike[str], *, keep_patient: bool = False
) -> list[Path]:
    """Writes a mask as DICOM segmentations of the study's source images, one binary segment a class.

    One object holds one frame in time: planes of an object must not lie on each other, so that a cine takes one for
    each of its frames, `<stem>_frame01.dcm` and so on, all of one series. Frames and slices with nothing in them are
    left out. Of the source's tags the UIDs of study, series and images stay, because references need them.

    Args:
        mask: (T, Z, H, W) uint8, the shape of `study.voxels`.
        study: read from DICOM files that are still there.
        path: the file to write, whole or not at all; of a cine, what its files are named after.
        keep_patient: copy the patient's name, id, birth date and sex, the study's date and accession number too, as an
            archive wants them; by default they are left empty.

    Returns:
        The files that were written.

    Raises:
        InputError: highdicom is not installed, the mask does not fit the study or has nothing in it, or the study
            is not from DICOM.
    """
    path = Path(path)
    if mask.dtype != np.uint8 or mask.shape != study.voxels.shape:
        raise InputError(
            "shape-mismatch",
            f"{study.name}: a mask of {mask.dtype} {mask.shape} for voxels {study.voxels.shape}; "
            "pass uint8 of the voxels' shape (T, Z, H, W)",
        )
    if not isinstance(study.header, DicomSource):
        raise InputError("not-dicom", f"{study.name}: not read from DICOM files; write the mask as NIfTI")
    if int(mask.max()) >= len(study.classes) or not mask.any():
        raise InputError(
            "unknown-label",
            f"{study.name}: a mask with values up to {int(mask.max())} for classes {study.classes}; a segmentation "
            "needs some of them and no others",
        )
    if path.is_dir():
        raise InputError("output-path", f"{path}: a folder is in the place of the file; choose another name")
    try:
        import highdicom
    except ImportError:
        raise InputError("missing-package", "DICOM segmentations need highdicom: pip install highdicom") from None
    code = highdicom.sr.CodedConcept
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=code("123037004", "SCT", "Anatomical Structure"),
            segmented_property_type=code(*_ANATOMY.get(name, ("80891009", "SCT", "Heart"))),
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=highdicom.AlgorithmIdentificationSequence(
                name="FOANet", version=__version__, family=code("123110", "DCM", "Artificial Intelligence")
            ),
        )
        for number, name in enumerate(study.classes[1:], 1)
    ]
    frames = mask.shape[0]
    written, series = [], highdicom.UID()
    with _quiet_pydicom():
        for t in np.flatnonzero(mask.any(axis=(1, 2, 3))).tolist():
            datasets = [_dataset(file) for file in study.header.files[t]]
            for dataset in datasets:
                _make_like(dataset, datasets[0], keep_patient=keep_patient)
            try:
                segmentation = highdicom.seg.Segmentation(
                    source_images=datasets,
                    pixel_array=mask[t],
                    segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
                    segment_descriptions=segments,
                    series_instance_uid=series,
                    series_number=1,
                    sop_instance_uid=highdicom.UID(),
                    instance_number=t + 1,
                    manufacturer="foanet-jax",
                    manufacturer_model_name="FOANet",
                    software_versions=__version__,
                    device_serial_number="0",
                    series_description="FOANet",
                )
            except (AttributeError, TypeError, ValueError) as error:
                # Of highdicom, on tags that an image lacks; its texts name tags, not their values.
                raise InputError(
                    "segmentation",
                    f"{study.name}: its images do not do for a DICOM segmentation ({error}); write the mask as NIfTI",
                ) from None
            name = f"{path.stem}_frame{t + 1:0{len(str(frames))}d}{path.suffix}" if frames > 1 else path.name
            with atomic_path(path.with_name(name)) as temporary:
                segmentation.save_as(temporary)
            written.append(path.with_name(name))
    return written


def _walk(folder: Path) -> Iterator[Path]:
    """The files in a folder and below, in order, without hidden ones; links to folders are not followed."""
    count = 0
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        for name in sorted((name for name in names if not name.startswith(".")), key=natural_key):
            count += 1
            if count > MOST_FILES:
                raise InputError(
                    "too-many-files", f"{folder}: more than {MOST_FILES} files; pass the folder of fewer patients"
                )
            yield Path(parent) / name


@contextlib.contextmanager
def _quiet_pydicom() -> Iterator[None]:
    """Keeps pydicom from warning and logging, which it does with the values of tags."""
    logger = logging.getLogger("pydicom")
    disabled = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled


def _guarded(path: Path, read: Callable[[], Any]) -> Any:
    """What `read` returns; whatever pydicom raises on a damaged file becomes an InputError without its values."""
    try:
        return read()
    except OSError as error:
        raise InputError(
            "unreadable", f"{path}: cannot be read ({error.strerror or 'damaged'}); check its permissions and the disk"
        ) from None
    except Exception as error:
        # pydicom has no common base of errors, and their texts may quote the patient's tags.
        raise InputError(
            "corrupt", f"{path}: damaged DICOM ({type(error).__name__}); copy or export the file again"
        ) from None


def _meta(path: Path) -> FileMetaDataset:
    """The file's meta information, once its transfer syntax is one that can be read.

    Checked before anything else is parsed: a deflated file could unpack to any size.
    """
    if not path.exists():
        raise InputError("missing-file", f"{path}: no such file; check the path")
    if not is_dicom(path):
        raise InputError("not-dicom", f"{path}: not DICOM (no DICM after 128 bytes); pass a DICOM file")
    meta = _guarded(path, lambda: read_file_meta_info(path))
    syntax = _guarded(path, lambda: uids.UID(str(meta.get("TransferSyntaxUID") or "")))
    if not syntax:
        raise InputError("missing-tag", f"{path}: no TransferSyntaxUID; export the file again")
    if syntax not in _SYNTAXES:
        name = syntax.name if syntax in uids.UID_dictionary else "not in the standard"
        raise InputError(
            "transfer-syntax",
            f"{path}: transfer syntax {syntax} ({name}); only uncompressed and RLE images can be read: convert the "
            "file, for example with dcmdjpeg or gdcmconv --raw",
        )
    return meta


def _dataset(path: Path) -> Dataset:
    """The whole file."""
    _meta(path)
    return _guarded(path, lambda: pydicom.dcmread(path))


def _read_headers(paths: Sequence[Path]) -> tuple[list[_Image], list[str]]:
    """The images of the files and, of the others, why they are none.

    Raises:
        InputError: of the one file that cannot be used, or "incomplete" with every such file named.
    """
    images: list[_Image] = []
    notes: list[str] = []
    problems: list[InputError] = []
    with _quiet_pydicom():
        for path in paths:
            try:
                image = _guarded_header(path)
            except InputError as error:
                problems.append(error)
                continue
            if isinstance(image, str):
                notes.append(image)
            else:
                images.append(image)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        raise InputError("incomplete", f"{len(problems)} of {len(paths)} DICOM files cannot be used:\n{listed}")
    return images, notes


def _guarded_header(path: Path) -> "_Image | str":
    try:
        return _header(path)
    except InputError:
        raise
    except Exception as error:
        # Values are parsed when they are asked for, so that reading a tag can fail like reading the file.
        raise InputError(
            "corrupt", f"{path}: damaged DICOM header ({type(error).__name__}); copy or export the file again"
        ) from None


def _header(path: Path) -> "_Image | str":
    """The image's header, or why the file holds no single-frame MR image."""
    if not is_dicom(path):
        raise InputError(
            "missing-file" if not path.exists() else "not-dicom",
            f"{path}: no such DICOM file (DICM after 128 bytes); check the path",
        )
    meta = _guarded(path, lambda: read_file_meta_info(path))
    stored = str(meta.get("MediaStorageSOPClassUID") or "")
    # Told from the meta information where that is possible: reports and films may come in any transfer syntax.
    if stored in _ENHANCED:
        return f"{path}: a multi-frame (enhanced) MR object; convert it to single frames, or to NIfTI"
    if stored and stored != uids.MRImageStorage:
        return f"{path}: {_class_name(stored)}, no MR image"
    syntax = str(_meta(path).TransferSyntaxUID)
    tags = _guarded(path, lambda: pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS)))
    if str(tags.get("SOPClassUID") or "") != uids.MRImageStorage:
        return f"{path}: {_class_name(str(tags.get('SOPClassUID') or ''))}, no MR image"
    if int(tags.get("NumberOfFrames") or 1) != 1:
        return f"{path}: {int(tags.NumberOfFrames)} frames in one object; convert it to single frames, or to NIfTI"

    for tag in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if not tags.get(tag):
            raise InputError("missing-tag", f"{path}: no {tag}; export the file again")
    rows, columns = (int(_numbers(tags, tag, 1, path)[0]) for tag in ("Rows", "Columns"))
    if rows < 1 or columns < 1:
        raise InputError("dimensions", f"{path}: {rows} rows × {columns} columns; export the file again")
    dtype, bits = _pixel_format(tags, path)
    if 4 * rows * columns > DEFAULT_BUDGET_BYTES:
        raise InputError("too-large", f"{path}: {rows} rows × {columns} columns; over the budget: crop the image")
    if syntax != uids.RLELossless and rows * columns * dtype.itemsize > path.stat().st_size:
        raise InputError(
            "truncated",
            f"{path}: {path.stat().st_size} bytes for {rows} × {columns} pixels of {dtype.itemsize} bytes; "
            "copy the file again",
        )
    if syntax == uids.ExplicitVRBigEndian:
        dtype = dtype.newbyteorder(">")
    row_mm, column_mm = (float(value) for value in _numbers(tags, "PixelSpacing", 2, path))
    low, high = SPACING_RANGE_MM
    if not low <= row_mm <= high or not low <= column_mm <= high:
        raise InputError(
            "spacing",
            f"{path}: PixelSpacing {row_mm:g}, {column_mm:g}; both must be from {low:g} to {high:g} mm: "
            "correct the header",
        )
    thickness = _number(tags, "SliceThickness")
    orientation = _numbers(tags, "ImageOrientationPatient", 6, path)
    along, down = orientation[:3], orientation[3:]
    off = max(abs(float(along @ along) - 1), abs(float(down @ down) - 1), abs(float(along @ down)))
    if not off <= 0.02:
        raise InputError(
            "orientation",
            f"{path}: ImageOrientationPatient {', '.join(f'{value:g}' for value in orientation)} is not two unit "
            "vectors at right angles; correct the header",
        )
    position = _numbers(tags, "ImagePositionPatient", 3, path)
    if np.abs(position).max() > _FURTHEST_MM:
        raise InputError(
            "position",
            f"{path}: ImagePositionPatient {', '.join(f'{value:g}' for value in position)} mm; correct the header",
        )
    slope, intercept = (
        _number(tags, tag, absent) for tag, absent in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if not slope or intercept is None:
        raise InputError(
            "scaling", f"{path}: RescaleSlope and RescaleIntercept must be numbers, the slope not 0; correct the header"
        )
    times = {tag: value for tag in _TIMES if (value := _number(tags, tag)) is not None}
    kind = tags.get("ImageType") or ()
    number = _number(tags, "SeriesNumber")
    return _Image(
        path=path,
        syntax=syntax,
        instance=str(tags.SOPInstanceUID),
        patient=str(tags.get("PatientID") or "").strip(),
        study=str(tags.StudyInstanceUID),
        series=str(tags.SeriesInstanceUID),
        series_number=None if number is None else int(number),
        frame_of_reference=str(tags.get("FrameOfReferenceUID") or ""),
        kind=(kind,) if isinstance(kind, str) else tuple(str(word) for word in kind),
        shape=(rows, columns),
        dtype=dtype,
        bits=bits,
        slope=slope,
        intercept=intercept,
        spacing_mm=(row_mm, column_mm),
        thickness_mm=thickness if thickness is not None and low <= thickness <= high else None,
        orientation=orientation,
        position=position,
        times=times,
    )


def _class_name(value: str) -> str:
    return uids.UID(value).name if value in uids.UID_dictionary else "an object of no known class"


def _number(tags: Dataset, tag: str, absent: float | None = None) -> float | None:
    """A finite number; `absent` where the tag is missing or empty, None where it is something else."""
    value = tags.get(tag)
    if value is None or value == "":
        return absent
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _numbers(tags: Dataset, tag: str, count: int, path: Path) -> np.ndarray:
    value = tags.get(tag)
    if value is None or value == "":
        raise InputError("missing-tag", f"{path}: no {tag}; export the file again, or convert the series to NIfTI")
    try:
        numbers = np.atleast_1d(np.array(value, np.float64))
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise InputError("tag-value", f"{path}: {tag} is not {count} finite numbers; correct the header")
    return numbers


def _pixel_format(tags: Dataset, path: Path) -> tuple[np.dtype, int]:
    """The little-endian type of a stored pixel and how many of its bits count."""
    samples = int(_number(tags, "SamplesPerPixel", 1.0) or 0)
    photometric = str(tags.get("PhotometricInterpretation") or "")
    if samples != 1 or photometric != "MONOCHROME2":
        known = photometric if photometric in ("MONOCHROME1", "RGB", "PALETTE COLOR", "YBR_FULL") else "another"
        raise InputError(
            "pixel-format", f"{path}: {samples} samples a pixel, {known} colours; only MONOCHROME2 can be read"
        )
    allocated, signed = (int(_numbers(tags, tag, 1, path)[0]) for tag in ("BitsAllocated", "PixelRepresentation"))
    bits = int(_number(tags, "BitsStored", float(allocated)) or 0)
    high = int(_number(tags, "HighBit", float(bits - 1)) or 0)
    if allocated not in (8, 16, 32) or not 1 <= bits <= allocated or high != bits - 1 or signed not in (0, 1):
        raise InputError(
            "pixel-format",
            f"{path}: {allocated} bits allocated, {bits} stored, high bit {high}, representation {signed}; "
            "8, 16 or 32 bits with the stored ones lowest can be read: export the file again",
        )
    return np.dtype(f"<{'i' if signed else 'u'}{allocated // 8}"), bits


def _pixels(image: _Image) -> np.ndarray:
    """(H, W) float64 of stored values, not rescaled."""
    path, (rows, columns) = image.path, image.shape
    expected = rows * columns * image.dtype.itemsize
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    if size > expected + _MOST_BESIDE_PIXELS:
        raise InputError("too-large", f"{path}: {size} bytes for {expected} bytes of pixels; export the file again")
    with _quiet_pydicom():
        if image.syntax == uids.RLELossless:
            stored = _guarded(path, lambda: pydicom.dcmread(path).pixel_array)
            if stored.shape != image.shape:
                raise InputError(
                    "size-mismatch", f"{path}: pixels of shape {stored.shape}, but a header of {image.shape}"
                )
            stored = stored.astype(image.dtype.newbyteorder("="))
        else:
            data = _guarded(path, lambda: pydicom.dcmread(path, specific_tags=["PixelData"]).get("PixelData"))
            found = len(data) if isinstance(data, bytes) else 0
            # One byte may pad an odd number of them.
            if found < expected or found > expected + 1:
                code = "truncated" if found < expected else "size-mismatch"
                raise InputError(
                    code,
                    f"{path}: {found} bytes of pixels where the header declares {rows} × {columns} of "
                    f"{image.dtype.itemsize}: {expected}; copy or export the file again",
                )
            stored = np.frombuffer(data, image.dtype, rows * columns).reshape(rows, columns)
            stored = stored.astype(image.dtype.newbyteorder("="))
    # Bits above the stored ones may hold an overlay; shifting back repeats the sign.
    spare = 8 * image.dtype.itemsize - image.bits
    return ((stored << spare) >> spare).astype(np.float64)


def _patient_key(image: _Image) -> tuple[str, str]:
    """Anonymous images belong together only within an examination."""
    return (image.patient, "") if image.patient else ("", image.study)


def _patient_names(images: Sequence[_Image], root: Path | None) -> dict[tuple[str, str], str]:
    """What each patient is called: the folder below the root with this patient alone, else the root's own.

    Raises:
        InputError: "mixed-patients" where one folder has files of several.
    """
    folders: dict[tuple[str, str], set[Path]] = {}
    owner: dict[Path, tuple[tuple[str, str], Path]] = {}
    for image in images:
        folder, key = image.path.resolve().parent, _patient_key(image)
        first = owner.setdefault(folder, (key, image.path))
        if first[0] != key:
            raise InputError(
                "mixed-patients",
                f"{image.path}: of another patient than {first[1]}; put each patient's files into their own folder",
            )
        folders.setdefault(key, set()).add(folder)
    if root is None:
        return {key: safe_case(images[0].path.stem, set()) for key in folders}
    tops: dict[tuple[str, str], tuple[str, ...]] = {}
    for key, places in folders.items():
        common = Path(os.path.commonpath(places))
        tops[key] = common.relative_to(root).parts if common.is_relative_to(root) else ()
    taken: set[str] = set()
    names = {}
    for key, parts in tops.items():
        alone = bool(parts) and sum(other[:1] == parts[:1] for other in tops.values()) == 1
        stem = root.name if len(tops) == 1 or not parts else parts[0] if alone else "_".join(parts)
        names[key] = safe_case(stem, taken)
    return names


def _stacks(images: Sequence[_Image]) -> list[list[_Image]]:
    """The images of each study, single-slice series joined where they fit."""
    groups: list[list[_Image]] = []
    by_series: dict[tuple[object, ...], list[list[_Image]]] = {}
    for image in images:
        key = (_patient_key(image), image.study, image.series, image.shape, image.kind)
        for group in by_series.setdefault(key, []):
            if _same_view(group[0], image):
                group.append(image)
                break
        else:
            by_series[key].append([image])
            groups.append(by_series[key][-1])

    joined: list[list[_Image]] = []
    candidates: dict[tuple[object, ...], list[list[list[_Image]]]] = {}
    for group in groups:
        references = {image.frame_of_reference for image in group}
        if len(_places(group)) > 1 or len(references) > 1 or "" in references:
            joined.append(group)
            continue
        first = group[0]
        families = candidates.setdefault((_patient_key(first), first.study, first.frame_of_reference), [])
        for family in families:
            if (
                first.shape == family[0][0].shape
                and first.kind == family[0][0].kind
                and _same_view(family[0][0], first)
            ):
                family.append(group)
                break
        else:
            families.append([group])
    for families in candidates.values():
        for family in families:
            together = [image for group in family for image in group]
            try:
                _geometry(_grid(together)[0])
            except InputError as error:
                # One group alone has its own chance, and its own error, when it is loaded.
                if len(family) > 1:
                    LOGGER.info("%d series of one slice each are separate studies: %s", len(family), error)
                joined += family
            else:
                joined.append(together)
    order = {image.path: place for place, image in enumerate(images)}
    return sorted(joined, key=lambda stack: min(order[image.path] for image in stack))


def _same_view(first: _Image, second: _Image) -> bool:
    return bool(
        np.abs(first.orientation - second.orientation).max() <= _ANGLE_TOLERANCE
        and np.allclose(first.spacing_mm, second.spacing_mm, rtol=1e-4, atol=0)
    )


def _places(images: Sequence[_Image]) -> list[list[_Image]]:
    """The images at each position along the first one's normal, in its direction."""
    normal = images[0].normal
    ordered = sorted(images, key=lambda image: float(normal @ image.position))
    places = [[ordered[0]]]
    for image in ordered[1:]:
        if float(normal @ (image.position - places[-1][0].position)) <= _SAME_PLACE_MM:
            places[-1].append(image)
        else:
            places.append([image])
    return places


def _grid(images: Sequence[_Image]) -> list[list[_Image]]:
    """The images of one stack as frames of slices.

    Raises:
        InputError: they are of several patients or views, lack images, or two cannot be told apart.
    """
    first = images[0]
    instances: dict[str, Path] = {}
    for image in images:
        if _patient_key(image) != _patient_key(first):
            raise InputError("mixed-patients", f"{image.path}: of another patient than {first.path}; take them apart")
        if image.shape != first.shape:
            raise InputError(
                "size-mismatch",
                f"{image.path}: {image.shape[0]} rows × {image.shape[1]} columns, but {first.path} has "
                f"{first.shape[0]} × {first.shape[1]}; read them as two studies",
            )
        if not _same_view(first, image):
            raise InputError(
                "geometry",
                f"{image.path}: another orientation or pixel spacing than {first.path}; read them as two studies",
            )
        if image.instance in instances:
            raise InputError(
                "duplicate", f"{image.path}: the same image as {instances[image.instance]}; remove one of them"
            )
        instances[image.instance] = image.path
    places = _places(images)
    counts = {len(place) for place in places}
    if len(counts) > 1:
        fewest, most = min(places, key=len), max(places, key=len)
        raise InputError(
            "frame-count",
            f"{fewest[0].path.parent}: {len(fewest)} images at the slice of {fewest[0].path.name}, but {len(most)} at "
            f"that of {most[0].path.name}; complete the series or remove the shorter slices",
        )
    for place in places:
        for image in place:
            aside = float(np.linalg.norm(image.position - place[0].position))
            if aside > 0.1 * min(image.spacing_mm):
                raise InputError(
                    "geometry",
                    f"{image.path}: {aside:.3g} mm beside {place[0].path} in the same plane; read them as two studies",
                )
    for tag in _TIMES:
        if all(len({image.times.get(tag) for image in place} - {None}) == len(place) for place in places):
            by_place = [sorted(place, key=lambda image: image.times[tag]) for place in places]
            return [list(frame) for frame in zip(*by_place, strict=True)]
    if counts == {1}:
        return [[place[0] for place in places]]
    crowded = next(place for place in places if len(place) > 1)
    raise InputError(
        "duplicate",
        f"{crowded[1].path}: at the position of {crowded[0].path}, and no {', '.join(_TIMES)} tells all images there "
        "apart; remove one of them",
    )


def _geometry(slices: Sequence[_Image]) -> tuple[tuple[float, float, float], np.ndarray]:
    """Spacing (slice, row, column) in mm and the affine from (column, row, slice) to RAS+ of one frame's slices.

    Raises:
        InputError: "slice-gap" where the slices are not evenly spaced on a line.
    """
    first, last = slices[0], slices[-1]
    row_mm, column_mm = first.spacing_mm
    normal = first.normal / np.linalg.norm(first.normal)
    if len(slices) == 1:
        slice_mm = first.thickness_mm or 1.0
        step = normal * slice_mm
    else:
        step = (last.position - first.position) / (len(slices) - 1)
        slice_mm = float(step @ normal)
        for place, image in enumerate(slices):
            off = float(np.linalg.norm(first.position + place * step - image.position))
            if off > max(0.05 * slice_mm, 2 * _SAME_PLACE_MM):
                gaps = [float(normal @ (b.position - a.position)) for a, b in itertools.pairwise(slices)]
                raise InputError(
                    "slice-gap",
                    f"{image.path}: {off:.3g} mm off an even stack; the slices lie "
                    f"{', '.join(f'{gap:.2f}' for gap in gaps)} mm apart: "
                    "add the missing slice, or put each even part into a folder of its own",
                )
        low, high = SPACING_RANGE_MM
        if not low <= slice_mm <= high:
            raise InputError(
                "spacing",
                f"{first.path}: slices {slice_mm:g} mm apart; expected {low:g} to {high:g} mm: check the files",
            )
    along, down = first.orientation[:3], first.orientation[3:]
    affine = np.eye(4)
    affine[:3] = np.stack([along * column_mm, down * row_mm, step, first.position], axis=1)
    affine[:2] *= -1  # LPS+ to RAS+.
    return (slice_mm, row_mm, column_mm), affine


def _make_like(dataset: Dataset, first: Dataset, *, keep_patient: bool) -> None:
    """Makes a source image fit the others for highdicom, which wants one frame of reference and one orientation."""
    for tag in ("FrameOfReferenceUID", "ImageOrientationPatient", "PixelSpacing"):
        if tag in first:
            setattr(dataset, tag, getattr(first, tag))
    if keep_patient:
        for tag in _DATE_TAGS:
            # Anonymisers leave dates such as 20120000, which highdicom refuses.
            try:
                (TM if tag.endswith("Time") else DA)(str(dataset.get(tag) or ""))
            except ValueError:
                setattr(dataset, tag, None)
        return
    for tag in _PATIENT_TAGS:
        if tag in dataset:
            delattr(dataset, tag)
    for tag in _EMPTIED_TAGS:
        setattr(dataset, tag, None)
