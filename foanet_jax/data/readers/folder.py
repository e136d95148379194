"""Reader of a user's own studies: a folder of NIfTI files with a dataset.json that describes it (docs/formats.md)."""

import dataclasses
import functools
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from foanet_jax.data.frames import patient_of_frame
from foanet_jax.data.nifti.file import read_nifti
from foanet_jax.data.nifti.header import ThirdAxis
from foanet_jax.data.nifti.orientation import SliceAxis, to_canonical
from foanet_jax.data.nifti.studies import class_indices, read_voxels, require_same_grid, study_from_volume
from foanet_jax.data.refs import StudyRef, empty_root, natural_key, raise_problems, require_root, safe_case
from foanet_jax.data.study import Study
from foanet_jax.system.errors import InputError

DESCRIPTION = "dataset.json"
FORMAT = "foanet"

_LARGEST_JSON = 2**20
_LONGEST_TEXT = 256
_MOST_CLASSES = 64
_LARGEST_LABEL = 2**24  # Labels are read as float32, which holds all integers up to this value exactly.
_KEYS = ("format", "classes", "images", "labels", "third_axis", "slice_axis", "patient", "groups", "note")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# The accepted subset of regular expressions. Repeats cannot be nested, so that no pattern takes exponential time.
_ATOM = r"(?:[A-Za-z0-9_.=@ -]|\\[dDwW.+-]|\[\^?[A-Za-z0-9_. -]+\])(?:(?:[+*?]|\{\d{1,2}(?:,\d{0,2})?\})\??)?"
_PATIENT = re.compile(rf"\^?(?:{_ATOM})*\((?:{_ATOM})+\)(?:{_ATOM})*\$?")
_MOST_REPEATS = 4


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the files of a data set are read, independent of their names.

    Attributes:
        classes: class names by index; 0 is the background.
        index_of: class index of each value in the label files.
        third_axis: meaning of the third axis of 3D files.
        slice_axis: world axis along which volumes are reoriented and sliced; None: they are not reoriented.
        patient: regular expression whose group finds the patient in a case's id; None: cases called PATIENT_frameNN
            belong to PATIENT, and each other case is a patient.
        groups: clinical group of each patient, if known.
        spacing_mm: distances of slices, rows and columns that replace those of the headers; None: the headers count.
    """

    classes: tuple[str, ...]
    index_of: Mapping[int, int]
    third_axis: ThirdAxis = "slice"
    slice_axis: SliceAxis | None = None
    patient: re.Pattern[str] | None = None
    groups: Mapping[str, str] = dataclasses.field(default_factory=dict)
    spacing_mm: Sequence[float] | None = None

    def ref(self, image: Path, labels: Path | None, name: str, case: str, *, patient: str = "") -> StudyRef:
        """Makes the reference to a study.

        Args:
            image: file of the image.
            labels: file of the labels; None for a study without labels.
            name: name of the case in its files.
            case: the name as a safe id.
            patient: id of the patient, if it is known without the pattern.

        Raises:
            InputError: "patient", if the pattern does not match the name.
        """
        patient = patient or self.patient_of(name, image)
        load = functools.partial(_load, image, labels, patient, case, self)
        voxels = functools.partial(
            read_voxels,
            image,
            third_axis=self.third_axis,
            slice_axis=self.slice_axis,
            spacing_mm=self.spacing_mm,
        )
        return StudyRef(patient, case, self.groups.get(patient), load, voxels)

    def patient_of(self, name: str, image: Path) -> str:
        """Returns the patient of the case `name`.

        Raises:
            InputError: "patient", if the pattern does not match the name.
        """
        if self.patient is None:
            return patient_of_frame(name) or name
        match = self.patient.fullmatch(name)
        if match is None or not match[1]:
            raise InputError(
                "patient",
                f"{shown(image)}: the case {name!r} does not match the pattern of patients {self.patient.pattern!r}; "
                "correct the pattern or rename the file",
            )
        return match[1]


@dataclasses.dataclass(frozen=True)
class Template:
    """The path of a data set's files, relative to its folder, with the placeholders `{case}` and `{patient}`."""

    text: str

    @property
    def literal(self) -> int:
        """The number of characters that are not placeholders; if two templates fit a file, the larger one is used."""
        return len(_PLACEHOLDER.sub("", self.text))

    def find(self, root: Path, problems: list[str]) -> Iterator[tuple[tuple[str, str], Path]]:
        """Yields (patient, case) and the path of each file that fits the template.

        Links that lead out of the folder, and names that cannot be printed, are appended to `problems`.
        """
        yield from self._walk(root, root, PurePosixPath(self.text).parts, {}, problems)

    def _walk(
        self, root: Path, folder: Path, parts: Sequence[str], found: dict[str, str], problems: list[str]
    ) -> Iterator[tuple[tuple[str, str], Path]]:
        pattern = _component_pattern(parts[0], found)
        try:
            names = sorted(os.listdir(folder), key=natural_key)
        except OSError as error:
            if folder == root or os.path.lexists(folder):
                problems.append(f"{shown(folder)}: cannot be read ({error.strerror}); check it and its permissions")
            return
        for name in names:
            match = pattern.fullmatch(name)
            # macOS creates files `._x` beside x; hidden files are ignored.
            if match is None or (name.startswith(".") and not parts[0].startswith(".")):
                continue
            path = folder / name
            if not _is_text(name):
                problems.append(f"{shown(path)}: the name has a control character or is not in UTF-8; rename it")
            elif not _inside(path, root):
                problems.append(
                    f"{shown(path)}: is a link that leads out of {shown(root)}, in a circle or to nothing; "
                    "replace the link by the file itself"
                )
            elif len(parts) > 1:
                if path.is_dir():
                    yield from self._walk(root, path, parts[1:], {**found, **match.groupdict()}, problems)
            elif path.is_file():
                ids = {**found, **match.groupdict()}
                yield (ids.get("patient", ""), ids.get("case", "")), path


def list_folder(
    root: str | os.PathLike[str],
    *,
    unlabelled: bool = False,
    spacing_mm: Sequence[float] | None = None,
    problems: list[str] | None = None,
) -> list[StudyRef]:
    """Lists the labelled studies of a folder of NIfTI files with a dataset.json in this project's format.

    Args:
        root: the folder; `docs/formats.md` describes its dataset.json.
        unlabelled: also list images without labels.
        spacing_mm: the true distances of slices, rows and columns, if those of the headers are wrong; see
            `read_geometry`.
        problems: if given, problems of single files are appended to it instead of being raised.

    Raises:
        InputError: the folder is missing or has no such files; "dataset-json", which lists all errors in the
            description; or "incomplete", which lists all problems of the files.
    """
    root = require_root(Path(root))
    layout, images, labels = read_folder_description(root)
    layout = dataclasses.replace(layout, spacing_mm=spacing_mm)
    collected: list[str] = [] if problems is None else problems
    found = _pair(root, images, labels, collected)
    if not found and not collected:
        raise empty_root(Path(shown(root)), images.text)
    refs: list[StudyRef] = []
    taken: set[str] = set()
    patients: set[str] = set()
    for (patient, name), (image, label) in found.items():
        whole = "_".join(part for part in (patient, name) if part)
        try:
            ref = layout.ref(image, label, whole, safe_case(whole, taken), patient=patient)
        except InputError as error:
            collected.append(str(error))
            continue
        patients.add(ref.patient)
        if label is not None or unlabelled:
            refs.append(ref)
    collected += [
        f"{shown(root / DESCRIPTION)}: groups names {patient!r}, but this patient has no image; correct the name"
        for patient in layout.groups
        if patient not in patients
    ]
    if found and not refs and not collected:
        wanted = labels.text if labels else "labels"
        raise InputError(
            "no-labels",
            f"{shown(root)}: none of the {len(found)} images has labels ({wanted}); training needs labels; add them, "
            "or segment images without labels with --mode predict",
        )
    if problems is None:
        raise_problems(Path(shown(root)), collected)
    return refs


def read_json(path: Path) -> dict[str, Any]:
    """Reads the object in a JSON file strictly: at most 1 MiB, no NaN, no duplicate keys, only valid Unicode.

    Raises:
        InputError: "dataset-json", if the file is missing or not such a file.
    """
    try:
        if not path.is_file():
            raise InputError("dataset-json", f"{shown(path)}: no such file; write it as docs/formats.md describes")
        with open(path, "rb") as file:
            content = file.read(_LARGEST_JSON + 1)
    except OSError as error:
        raise InputError(
            "dataset-json", f"{shown(path)}: cannot be read ({error.strerror}); check its permissions"
        ) from None
    if len(content) > _LARGEST_JSON:
        raise InputError(
            "dataset-json", f"{shown(path)}: has more than {_LARGEST_JSON} bytes; write a shorter description"
        )
    try:
        value = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        raise InputError("dataset-json", f"{shown(path)}: is nested too deeply; correct it") from None
    except ValueError as error:  # Errors of JSON and of Unicode are ValueErrors.
        raise InputError("dataset-json", f"{shown(path)}: is not valid JSON in UTF-8 ({error}); correct it") from None
    if not isinstance(value, dict):
        raise InputError("dataset-json", f"{shown(path)}: holds {brief(value)}; expected an object {{…}}")
    return value


def read_class_values(value: Any, wrong: list[str]) -> tuple[tuple[str, ...], dict[int, int]]:
    """Reads the classes of a description, such as {"background": 0, "cavity": [3, 4], …}.

    Args:
        value: the JSON value.
        wrong: a list to which errors are appended.

    Returns:
        The class names, background first, then in the order of the file; and the class index of each label value.
    """
    if not isinstance(value, dict) or not 2 <= len(value) <= _MOST_CLASSES:
        wrong.append(f"the classes are {brief(value)}; expected 2 to {_MOST_CLASSES} names with their values")
        return (), {}
    names = sorted(value, key=lambda name: name != "background")
    if "background" not in value:
        wrong.append("there is no class background; add it with the label value of the background, usually 0")
    index_of: dict[int, int] = {}
    for index, name in enumerate(names):
        _text(name, f"the class name {brief(name)}", wrong)
        values = value[name] if isinstance(value[name], list) else [value[name]]
        if not values or not all(type(v) is int and 0 <= v < _LARGEST_LABEL for v in values):
            wrong.append(
                f"class {name!r} is {brief(value[name])}; expected a label value, an integer from 0, or a list of them"
            )
            continue
        for v in values:
            if v in index_of:
                wrong.append(f"label {v} is both {names[index_of[v]]!r} and {name!r}; assign it to one of them")
            index_of[v] = index
    return tuple(names), index_of


def read_options(value: Mapping[str, Any], wrong: list[str]) -> dict[str, Any]:
    """Reads the fields third_axis, slice_axis, patient and groups of a Layout, if `value` has them.

    Args:
        value: the JSON object.
        wrong: a list to which errors are appended.
    """
    options: dict[str, Any] = {}
    for key, choices in (("third_axis", ("slice", "time")), ("slice_axis", ("sagittal", "coronal", "axial", None))):
        if key in value:
            # Types are compared too, because True equals 1.
            if not any(type(value[key]) is type(choice) and value[key] == choice for choice in choices):
                wrong.append(f"{key} is {brief(value[key])}; choose one of {', '.join(map(str, choices))}")
            else:
                options[key] = value[key]
    if options.get("third_axis") == "time" and options.get("slice_axis"):
        wrong.append("third_axis is time and slice_axis is set, but frames have no third axis in space; remove one")
    if value.get("patient") is not None:
        options["patient"] = _patient_pattern(value["patient"], wrong)
    groups = value.get("groups")
    if groups is not None:
        if isinstance(groups, dict):
            for patient, group in groups.items():
                _id(patient, f"the patient {brief(patient)} in groups", wrong)
                _text(group, f"the group of {brief(patient)}", wrong)
            options["groups"] = groups
        else:
            wrong.append(f"groups is {brief(groups)}; expected {{patient: group}}")
    return options


def raise_wrong(path: Path, wrong: Sequence[str]) -> None:
    """Raises one InputError "dataset-json" that lists all errors in a description, if there are any."""
    if wrong:
        listed = "\n".join(f"- {what}" for what in wrong)
        raise InputError("dataset-json", f"{shown(path)}: correct these errors ({len(wrong)}):\n{listed}")


def shown(path: Path) -> str:
    """Returns a path as printable text on one line: control characters and bytes that are not UTF-8 are escaped."""
    return "".join(letter if _is_text(letter) else letter.encode("unicode_escape").decode() for letter in str(path))


def brief(value: object) -> str:
    """Returns a short text for a value in a message."""
    if isinstance(value, str):
        value = value[:_LONGEST_TEXT]
    elif isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    elif isinstance(value, int) and abs(value) > 10**20:
        return "a huge number"
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def read_folder_description(root: Path) -> tuple[Layout, Template, Template | None]:
    """Reads the dataset.json of a folder.

    Returns:
        How the files are read, the path template of the images, and that of the labels, or None if there are none.

    Raises:
        InputError: "dataset-json", which lists all errors in the description.
    """
    path = root / DESCRIPTION
    value = read_json(path)
    wrong: list[str] = []
    if value.get("format") != FORMAT:
        wrong.append(
            f"format is {brief(value.get('format'))}; expected {FORMAT!r}"
            + (
                "; for the layout of nnU-Net, use the data set nnunet"
                if "labels" in value and "format" not in value
                else ""
            )
        )
    unknown = [key for key in value if key not in _KEYS]
    if unknown:
        wrong.append(f"unknown {', '.join(map(brief, unknown[:8]))}; known are {', '.join(_KEYS)}")
    wrong += [f"{key} is missing; docs/formats.md describes it" for key in ("classes", "images") if key not in value]
    classes, index_of = read_class_values(value["classes"], wrong) if "classes" in value else ((), {})
    images = _template(value["images"], "images", wrong) if "images" in value else None
    labels = _template(value["labels"], "labels", wrong) if value.get("labels") is not None else None
    if images and labels:
        if images == labels:
            wrong.append("images and labels are the same path; use different paths")
        elif _placeholders(images.text) != _placeholders(labels.text):
            wrong.append("images and labels have different placeholders; use {case} (and {patient}) in both or neither")
    options = read_options(value, wrong)
    if images and "patient" in _placeholders(images.text) and options.get("patient"):
        wrong.append("images has {patient} and there is a pattern for patient; remove one of them")
    raise_wrong(path, wrong)
    assert images is not None  # Otherwise `raise_wrong` has raised an error.
    return Layout(classes, index_of, **options), images, labels


def _pair(
    root: Path, images: Template, labels: Template | None, problems: list[str]
) -> dict[tuple[str, str], tuple[Path, Path | None]]:
    """Returns the image and the labels of each (patient, case).

    A file that fits both templates belongs to the one with more literal characters.
    """
    found: list[dict[tuple[str, str], Path]] = []
    for template in (images, labels):
        place: dict[tuple[str, str], Path] = {}
        for key, path in template.find(root, problems) if template else ():
            place[key] = path
        found.append(place)
    image_of, labels_of = found
    if labels is not None:
        both = set(image_of.values()) & set(labels_of.values())
        loser = image_of if labels.literal > images.literal else labels_of
        if both and labels.literal == images.literal:
            problems += [
                f"{shown(path)}: fits the paths of both images and labels; choose other names" for path in sorted(both)
            ]
        for key in [key for key, path in loser.items() if path in both]:
            del loser[key]
    for key, path in labels_of.items():
        if key not in image_of:
            expected = images.text.replace("{patient}", key[0]).replace("{case}", key[1])
            problems.append(f"{shown(path)}: labels without an image, {expected}; add it or remove the labels")
    return {key: (path, labels_of.get(key)) for key, path in image_of.items()}


def _load(image_path: Path, label_path: Path | None, patient: str, case: str, layout: Layout) -> Study:
    read = functools.partial(read_nifti, third_axis=layout.third_axis, spacing_mm=layout.spacing_mm)
    image = read(image_path)
    labels = None
    if label_path is not None:
        labels = read(label_path)
        require_same_grid(image, labels)
        # The image's affine is used for both, so that they are reordered alike even if the affines differ by rounding.
        labels = dataclasses.replace(labels, affine=image.affine)
    if layout.slice_axis is not None:
        image = to_canonical(image, layout.slice_axis)
        labels = None if labels is None else to_canonical(labels, layout.slice_axis)
    return study_from_volume(
        image,
        patient=patient,
        case=case,
        classes=layout.classes,
        labels=None if labels is None else class_indices(labels, layout.index_of),
        group=layout.groups.get(patient),
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = next(key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place]))
        raise ValueError(f"the key {brief(twice)} occurs twice in one object")
    return value


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not a valid JSON number")


def _is_text(text: str) -> bool:
    """Whether a text can be printed: it has no surrogates (bytes that are not UTF-8) and no control characters."""
    return not any("\ud800" <= letter <= "\udfff" or letter < " " or letter == "\x7f" for letter in text)


def _text(value: Any, what: str, wrong: list[str]) -> bool:
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and value.strip() and _is_text(value):
        return True
    wrong.append(f"{what}: expected 1 to {_LONGEST_TEXT} printable characters, found {brief(value)}")
    return False


def _id(value: Any, what: str, wrong: list[str]) -> None:
    if _text(value, what, wrong) and (value in (".", "..") or "/" in value or "\\" in value):
        wrong.append(f"{what} is a path; an id must not contain / or \\")


def _placeholders(text: str) -> set[str]:
    return set(_PLACEHOLDER.findall(text))


def _template(value: Any, key: str, wrong: list[str]) -> Template | None:
    if not _text(value, key, wrong):
        return None
    before = len(wrong)
    if value.startswith(("/", "~")) or "\\" in value or ":" in value or ".." in value.split("/"):
        wrong.append(f"{key} is {brief(value)}; expected a path inside the folder, with / and without ..")
    if not value.endswith((".nii", ".nii.gz")):
        wrong.append(f"{key} is {brief(value)}; expected a name that ends in .nii or .nii.gz")
    known = _placeholders(value)
    if not known or known - {"case", "patient"} or re.search(r"[{}]", _PLACEHOLDER.sub("", value)):
        wrong.append(f"{key} is {brief(value)}; expected {{case}} or {{patient}} in it, and no other braces")
    return Template(str(PurePosixPath(value))) if len(wrong) == before else None


def _component_pattern(part: str, found: Mapping[str, str]) -> re.Pattern[str]:
    """Returns the pattern of one component of a template; placeholders found in the folders above have fixed values."""
    pieces = []
    seen: set[str] = set()
    for place, piece in enumerate(_PLACEHOLDER.split(part)):
        if place % 2 == 0:
            pieces.append(re.escape(piece))
        elif piece in found:
            pieces.append(re.escape(found[piece]))
        elif piece in seen:
            pieces.append(f"(?P={piece})")
        else:
            # A non-greedy match, so that {patient} ends at the first occurrence of the text after it.
            pieces.append(f"(?P<{piece}>.+?)")
            seen.add(piece)
    return re.compile("".join(pieces), re.DOTALL)


def _inside(path: Path, root: Path) -> bool:
    """Whether a path, with all links resolved, exists and lies inside the root."""
    real = os.path.realpath(path)
    home = os.path.realpath(root)
    # A resolved path that is still a link is part of a circle, or leads to nothing.
    return os.path.commonpath([real, home]) == home and not os.path.islink(real) and os.path.exists(real)


def _patient_pattern(value: Any, wrong: list[str]) -> re.Pattern[str] | None:
    if not _text(value, "patient", wrong):
        return None
    repeats = len(re.findall(r"[*+]|,\}|\{\d", re.sub(r"\\.|\[[^\]]*\]", "a", value)))
    if _PATIENT.fullmatch(value) is None or repeats > _MOST_REPEATS:
        wrong.append(
            f"patient is {brief(value)}; expected a regular expression of letters, digits, ., \\d, \\w, […] and "
            f"at most {_MOST_REPEATS} repeats, with one group (…) around the patient, such as (.+)_E[DS]"
        )
        return None
    try:
        with warnings.catch_warnings():
            # For example, [a--z] gives a warning, because a later Python version may read it differently.
            warnings.simplefilter("error")
            return re.compile(value)
    except (re.error, FutureWarning) as error:
        wrong.append(f"patient is {brief(value)}, which is not a valid regular expression ({error})")
        return None
