"""Your own studies: a folder of NIfTI files and a dataset.json that says what they are (docs/formats.md)."""

import dataclasses
import functools
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

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
_LARGEST_LABEL = 2**24  # Labels are read as float32, which holds every integer up to here.
_KEYS = ("format", "classes", "images", "labels", "third_axis", "slice_axis", "patient", "groups", "note")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# A small part of regular expressions, in which nothing repeated is repeated again: no pattern takes for ever.
_ATOM = r"(?:[A-Za-z0-9_.=@ -]|\\[dDwW.+-]|\[\^?[A-Za-z0-9_. -]+\])(?:(?:[+*?]|\{\d{1,2}(?:,\d{0,2})?\})\??)?"
_PATIENT = re.compile(rf"\^?(?:{_ATOM})*\((?:{_ATOM})+\)(?:{_ATOM})*\$?")
_MOST_REPEATS = 4


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the files of a data set are to be read, whatever they are called.

    Attributes:
        classes: names by index; 0 is the background.
        index_of: class index of each value of the label files.
        third_axis: what the third axis of 3D files is.
        slice_axis: reorient volumes and slice them along this axis of the world; None: as they are.
        patient: finds the patient in a case's id with its one group; None: every case is a patient.
        groups: clinical group of each patient, where known.
    """

    classes: tuple[str, ...]
    index_of: Mapping[int, int]
    third_axis: ThirdAxis = "slice"
    slice_axis: SliceAxis | None = None
    patient: re.Pattern[str] | None = None
    groups: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def ref(self, image: Path, labels: Path | None, name: str, case: str, *, patient: str = "") -> StudyRef:
        """The study of an image and its labels.

        Args:
            image: the image's file.
            labels: the labels' file, None for a study without.
            name: what the case is called in its files.
            case: the same as a safe id.
            patient: where it is known without the pattern.

        Raises:
            InputError: "patient" where the pattern does not fit the name.
        """
        patient = patient or self.patient_of(name, image)
        load = functools.partial(_load, image, labels, patient, case, self)
        voxels = functools.partial(read_voxels, image, third_axis=self.third_axis, slice_axis=self.slice_axis)
        return StudyRef(patient, case, self.groups.get(patient), load, voxels)

    def patient_of(self, name: str, image: Path) -> str:
        """The patient whose case is called `name`."""
        if self.patient is None:
            return name
        match = self.patient.fullmatch(name)
        if match is None or not match[1]:
            raise InputError(
                "patient",
                f"{shown(image)}: the case {name!r} does not fit the pattern of patients {self.patient.pattern!r}; "
                "correct the pattern or rename the file",
            )
        return match[1]


@dataclasses.dataclass(frozen=True)
class Template:
    """Where the files of a data set lie: a path inside its folder with `{case}`, and `{patient}` if need be."""

    text: str

    @property
    def literal(self) -> int:
        """How many characters are fixed: of two templates for one file, the one that says more is meant."""
        return len(_PLACEHOLDER.sub("", self.text))

    def find(self, root: Path, problems: list[str]) -> Iterator[tuple[tuple[str, str], Path]]:
        """(patient, case) as the names have them, and the file, for every file that fits.

        Files that lead out of the folder and names that cannot be printed are added to `problems`.
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
            # macOS leaves `._x` beside x.
            if match is None or (name.startswith(".") and not parts[0].startswith(".")):
                continue
            path = folder / name
            if not _is_text(name):
                problems.append(f"{shown(path)}: a name with a control character or not in UTF-8; rename it")
            elif not _inside(path, root):
                problems.append(
                    f"{shown(path)}: a link that leads out of {shown(root)}, in a circle or nowhere; "
                    "put the file itself there"
                )
            elif len(parts) > 1:
                if path.is_dir():
                    yield from self._walk(root, path, parts[1:], {**found, **match.groupdict()}, problems)
            elif path.is_file():
                ids = {**found, **match.groupdict()}
                yield (ids.get("patient", ""), ids.get("case", "")), path


def list_folder(
    root: str | os.PathLike[str], *, unlabelled: bool = False, problems: list[str] | None = None
) -> list[StudyRef]:
    """The labelled studies of a folder of NIfTI files with a dataset.json of this project's own kind.

    Args:
        root: the folder; `docs/formats.md` tells what its dataset.json holds.
        unlabelled: also list the images that have no labels.
        problems: where given, problems of single files are added here instead of raised.

    Raises:
        InputError: the folder is missing or has no such files, "dataset-json" with everything that is wrong
            with the description, or "incomplete" with everything that is wrong with the files.
    """
    root = require_root(Path(root))
    layout, images, labels = read_folder_description(root)
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
        f"{shown(root / DESCRIPTION)}: groups names {patient!r}, but no image is of this patient; correct the name"
        for patient in layout.groups
        if patient not in patients
    ]
    if found and not refs and not collected:
        wanted = labels.text if labels else "labels"
        raise InputError(
            "no-labels",
            f"{shown(root)}: {len(found)} images, none with labels ({wanted}); training needs labels, and images "
            "alone are segmented with --mode predict",
        )
    if problems is None:
        raise_problems(Path(shown(root)), collected)
    return refs


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of at most 1 MiB, strict: no NaN, no key twice, no text that is not Unicode.

    Raises:
        InputError: "dataset-json" in every other case.
    """
    try:
        if not path.is_file():
            raise InputError("dataset-json", f"{shown(path)}: no such file; docs/formats.md tells what it holds")
        with open(path, "rb") as file:
            content = file.read(_LARGEST_JSON + 1)
    except OSError as error:
        raise InputError(
            "dataset-json", f"{shown(path)}: cannot be read ({error.strerror}); check its permissions"
        ) from None
    if len(content) > _LARGEST_JSON:
        raise InputError("dataset-json", f"{shown(path)}: over {_LARGEST_JSON} bytes; a description takes far fewer")
    try:
        value = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        raise InputError("dataset-json", f"{shown(path)}: nested too deeply; correct it") from None
    except ValueError as error:  # JSON's and Unicode's errors are ValueErrors.
        raise InputError("dataset-json", f"{shown(path)}: not sound JSON in UTF-8 ({error}); correct it") from None
    if not isinstance(value, dict):
        raise InputError("dataset-json", f"{shown(path)}: holds {brief(value)}; expected an object {{…}}")
    return value


def read_class_values(value: Any, wrong: list[str]) -> tuple[tuple[str, ...], dict[int, int]]:
    """Names of the classes and the index of each label value, from {"background": 0, "cavity": [3, 4], …}.

    Classes keep the file's order after the background. What is wrong is added to `wrong`.
    """
    if not isinstance(value, dict) or not 2 <= len(value) <= _MOST_CLASSES:
        wrong.append(f"the classes are {brief(value)}; expected 2 to {_MOST_CLASSES} names with their values")
        return (), {}
    names = sorted(value, key=lambda name: name != "background")
    if "background" not in value:
        wrong.append("there is no class background; name the values that are none of the others, as a rule 0")
    index_of: dict[int, int] = {}
    for index, name in enumerate(names):
        _text(name, f"the class name {brief(name)}", wrong)
        values = value[name] if isinstance(value[name], list) else [value[name]]
        if not values or not all(type(v) is int and 0 <= v < _LARGEST_LABEL for v in values):
            wrong.append(f"class {name!r} is {brief(value[name])}; expected a label's value from 0, or a list of them")
            continue
        for v in values:
            if v in index_of:
                wrong.append(f"label {v} is both {names[index_of[v]]!r} and {name!r}; give it to one of them")
            index_of[v] = index
    return tuple(names), index_of


def read_options(value: Mapping[str, Any], wrong: list[str]) -> dict[str, Any]:
    """The fields third_axis, slice_axis, patient and groups of a Layout, those that `value` has."""
    options: dict[str, Any] = {}
    for key, choices in (("third_axis", ("slice", "time")), ("slice_axis", ("sagittal", "coronal", "axial", None))):
        if key in value:
            # Not `in`, for which True is 1 and lists cannot be compared with None.
            if not any(type(value[key]) is type(choice) and value[key] == choice for choice in choices):
                wrong.append(f"{key} is {brief(value[key])}; choose one of {', '.join(map(str, choices))}")
            else:
                options[key] = value[key]
    if options.get("third_axis") == "time" and options.get("slice_axis"):
        wrong.append("third_axis is time and slice_axis is set, but frames have no third axis in space; drop one")
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
    """Raises one InputError "dataset-json" that names everything wrong with a description, if there is anything."""
    if wrong:
        listed = "\n".join(f"- {what}" for what in wrong)
        raise InputError("dataset-json", f"{shown(path)}: {len(wrong)} to put right:\n{listed}")


def shown(path: Path) -> str:
    """A path as it can be printed on one line, with control characters and bytes that are not UTF-8 escaped."""
    return "".join(letter if _is_text(letter) else letter.encode("unicode_escape").decode() for letter in str(path))


def brief(value: object) -> str:
    """A value in a message, cut where it is long."""
    if isinstance(value, str):
        value = value[:_LONGEST_TEXT]
    elif isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    elif isinstance(value, int) and abs(value) > 10**20:
        return "a huge number"
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def read_folder_description(root: Path) -> tuple[Layout, Template, Template | None]:
    """What a folder's dataset.json says: how to read the files, where images are, and where labels are, if any.

    Raises:
        InputError: "dataset-json" with everything that is wrong with it.
    """
    path = root / DESCRIPTION
    value = read_json(path)
    wrong: list[str] = []
    if value.get("format") != FORMAT:
        wrong.append(
            f"format is {brief(value.get('format'))}; expected {FORMAT!r}"
            + (
                ": for nnU-Net's layout choose the data set nnunet"
                if "labels" in value and "format" not in value
                else ""
            )
        )
    unknown = [key for key in value if key not in _KEYS]
    if unknown:
        wrong.append(f"unknown {', '.join(map(brief, unknown[:8]))}; known are {', '.join(_KEYS)}")
    wrong += [f"no {key}; docs/formats.md tells what it holds" for key in ("classes", "images") if key not in value]
    classes, index_of = read_class_values(value["classes"], wrong) if "classes" in value else ((), {})
    images = _template(value["images"], "images", wrong) if "images" in value else None
    labels = _template(value["labels"], "labels", wrong) if value.get("labels") is not None else None
    if images and labels:
        if images == labels:
            wrong.append("images and labels are the same path; labels need one of their own")
        elif _placeholders(images.text) != _placeholders(labels.text):
            wrong.append("images and labels have different placeholders; use {case} (and {patient}) in both or neither")
    options = read_options(value, wrong)
    if images and "patient" in _placeholders(images.text) and options.get("patient"):
        wrong.append("images has {patient} and there is a pattern for patient; one of them is enough")
    raise_wrong(path, wrong)
    assert images is not None  # Its absence is among what is wrong.
    return Layout(classes, index_of, **options), images, labels


def _pair(
    root: Path, images: Template, labels: Template | None, problems: list[str]
) -> dict[tuple[str, str], tuple[Path, Path | None]]:
    """The image and labels of each (patient, case); a file that fits both templates is the more literal one's."""
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
            problems += [f"{shown(path)}: fits both images and labels; choose other names" for path in sorted(both)]
        for key in [key for key, path in loser.items() if path in both]:
            del loser[key]
    for key, path in labels_of.items():
        if key not in image_of:
            expected = images.text.replace("{patient}", key[0]).replace("{case}", key[1])
            problems.append(f"{shown(path)}: labels without an image, {expected}; add it or remove the labels")
    return {key: (path, labels_of.get(key)) for key, path in image_of.items()}


def _load(image_path: Path, label_path: Path | None, patient: str, case: str, layout: Layout) -> Study:
    image = read_nifti(image_path, third_axis=layout.third_axis)
    labels = None
    if label_path is not None:
        labels = read_nifti(label_path, third_axis=layout.third_axis)
        require_same_grid(image, labels)
        # By the image's affine, so that the two are reordered alike even where theirs differ in the last digits.
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
        raise ValueError(f"{brief(twice)} twice in one object")
    return value


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _is_text(text: str) -> bool:
    """Whether a name can be printed and written: no surrogates (bytes that are not UTF-8), no control characters."""
    return not any("\ud800" <= letter <= "\udfff" or letter < " " or letter == "\x7f" for letter in text)


def _text(value: Any, what: str, wrong: list[str]) -> bool:
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and value.strip() and _is_text(value):
        return True
    wrong.append(f"{what}: expected 1 to {_LONGEST_TEXT} printable characters, found {brief(value)}")
    return False


def _id(value: Any, what: str, wrong: list[str]) -> None:
    if _text(value, what, wrong) and (value in (".", "..") or "/" in value or "\\" in value):
        wrong.append(f"{what} is a path; an id has no / and no \\")


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
    """Matches the names that fit one component of a template; what was found in folders above is fixed."""
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
            # The shortest, so that {patient} ends where the text after it first occurs.
            pieces.append(f"(?P<{piece}>.+?)")
            seen.add(piece)
    return re.compile("".join(pieces), re.DOTALL)


def _inside(path: Path, root: Path) -> bool:
    """Whether a path leads to something inside the root, links followed."""
    real = os.path.realpath(path)
    home = os.path.realpath(root)
    # What is left to be a link after all links were followed is part of a circle, or leads nowhere.
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
            # Such as of [a--z], which a later Python may read as something else.
            warnings.simplefilter("error")
            return re.compile(value)
    except (re.error, FutureWarning) as error:
        wrong.append(f"patient is {brief(value)}; not a regular expression ({error})")
        return None
