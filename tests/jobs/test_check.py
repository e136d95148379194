"""One reading of a data set finds everything that is wrong with it."""

import dataclasses
import itertools
import json
import os
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from experiments import acdc as acdc_experiment
from experiments import folder as folder_experiment
from experiments import phantom as phantom_experiment
from foanet_jax.data.catalogue import open_catalogue
from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.phantom.datasets import list_short_axis_phantom, list_stack_phantom, list_whole_heart_phantom
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.jobs.check import THUMBNAIL_PX, check_data_set, draw_check, format_check, write_check
from foanet_jax.jobs.experiment import checking
from foanet_jax.system.errors import InputError
from foanet_jax.system.escaping import markdown

SPACING = (8.0, 1.5, 1.5)
SHAPE = (1, 6, 40, 36)


def sound(seed, shape=SHAPE):
    """A noisy image and a ring with its cavity."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices(shape[2:])
    radius = np.hypot(rows - 20 - random.uniform(-3, 3), columns - 17 - random.uniform(-3, 3))
    labels = np.broadcast_to(np.where(radius < 6, 2, np.where(radius < 10, 1, 0)), shape).astype(np.uint8)
    return (100 + 80 * (labels == 2) + random.normal(0, 5, shape)).astype(np.float32), labels


def write(
    root, case, voxels=None, labels=None, *, spacing_mm=SPACING, affine=None, label_affine=None, suffix=".nii.gz"
):
    image, mask = sound(sum(case.encode()))
    affine = np.diag([*reversed(spacing_mm), 1.0]) if affine is None else affine
    for folder, array, its in (
        ("images", image if voxels is None else voxels, affine),
        ("labels", mask if labels is None else labels, affine if label_affine is None else label_affine),
    ):
        write_nifti(array, affine=its, spacing_mm=spacing_mm, path=root / folder / f"{case}{suffix}")
    return root / "images" / f"{case}{suffix}"


def describe(root):
    root.mkdir(exist_ok=True)
    content = {
        "format": "foanet",
        "classes": dict(zip(LV_CLASSES, range(3), strict=True)),
        "images": "images/{case}.nii.gz",
        "labels": "labels/{case}.nii.gz",
        "patient": "([a-z]+)[0-9]*",
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def check_folder(root):
    return check_data_set(lambda problems: open_catalogue("folder", root, problems=problems, unlabelled=True))


def found(report):
    """The message of each finding by severity and code."""
    messages = {}
    for finding in report.findings:
        messages.setdefault((finding.severity, finding.code), []).append(finding.message)
    return messages


def test_a_sound_data_set_has_no_findings():
    report = check_data_set(list_whole_heart_phantom(3, shape=(24, 64, 64), seed=0), name="phantom")
    assert report.findings == ()
    assert len(report.patients) == len(report.studies) == len(report.thumbnails) == 3
    assert format_check(report).endswith("No errors and no warnings.")


def test_the_numbers_of_a_study():
    voxels, labels = sound(0, (2, 6, 40, 36))
    labels = labels.copy()
    labels[1] = 0  # no labels on the second frame: the first alone counts
    study = Study("p", "p", voxels, SPACING, LV_CLASSES, labels, affine=np.diag([-1.5, -1.5, 8, 1]), group="NOR")
    (facts,) = check_data_set([StudyRef("p", "p", "NOR", lambda: study)]).studies
    assert (facts.shape, facts.spacing_mm, facts.orientation, facts.group) == ((2, 6, 40, 36), SPACING, "LPS", "NOR")
    assert facts.volumes_ml == {
        name: pytest.approx((labels[0] == index).sum() * 18 / 1000) for index, name in enumerate(LV_CLASSES) if index
    }
    assert facts.intensity == (voxels.min(), pytest.approx(voxels.mean()), voxels.max())


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A data set with one of each fault."""
    root = describe(tmp_path_factory.mktemp("broken"))
    image, labels = sound(1)
    for case in ("fine", "good", "great", "twice"):
        write(root, case)
    write(root, "nan", np.where(image > 190, np.nan, image))
    write(root, "flat", np.full(SHAPE, 7, np.float32))
    write(root, "unknown", labels=np.where(labels == 2, 3, labels).astype(np.uint8))
    write(root, "moved", label_affine=np.diag([1.5, 1.5, 8, 1]) + np.eye(4, k=3) * 30)
    write(root, "cut", labels=labels[:, :5])
    path = write(root, "short")
    path.write_bytes(path.read_bytes()[:-500])
    path = write(root, "flipped")
    content = bytearray(path.read_bytes())
    content[-6] ^= 8  # in the checksum: elsewhere it may change the length as well
    path.write_bytes(content)
    write(root, "empty", labels=np.zeros(SHAPE, np.uint8))
    write(root, "ringless", labels=np.where(labels == 1, 0, labels).astype(np.uint8))
    write(root, "coarse", spacing_mm=(8.0, 15.0, 15.0))
    write(root, "finer", spacing_mm=(8.0, 0.5, 0.5))
    write(root, "unit", spacing_mm=(1.0, 1.0, 1.0))
    write(root, "mirrored", affine=np.diag([-1.5, 1.5, 8, 1]))
    write(root, "untrue", affine=np.eye(4))
    write(root, "unlabelled")
    (root / "labels" / "unlabelled.nii.gz").unlink()
    write(root, "big", *sound(5, (1, 6, 140, 120)))
    write(root, "one", *(array[:, 2:3] for array in sound(6)))
    padded, its_labels = sound(7)
    padded[0, 0] = 0
    write(root, "padded", padded, its_labels)
    for folder in ("images", "labels"):
        data = (root / folder / "twice.nii.gz").read_bytes()
        (root / folder / "copy.nii.gz").write_bytes(data)  # another patient
        data = (root / folder / "good.nii.gz").read_bytes()
        (root / folder / "good2.nii.gz").write_bytes(data)  # the same patient
    write(root, "9bad")  # does not fit the pattern of patients
    (root / "labels" / "alone.nii.gz").write_bytes(b"")
    return root, check_folder(root)


@pytest.mark.parametrize(
    ("severity", "code", "says"),
    [
        ("error", "incomplete", ["9bad.nii.gz", "does not match the pattern", "rename the file"]),
        ("error", "incomplete", ["alone.nii.gz: labels without an image", "remove the labels"]),
        ("error", "non-finite", ["nan.nii.gz", "of 8640 voxels", "export the file again"]),
        ("error", "zero-sigma", ["flat.nii.gz: every voxel is 7", "export it again"]),
        ("error", "unknown-label", ["unknown.nii.gz: unknown label 3", "correct the file"]),
        ("error", "affine-mismatch", ["moved.nii.gz", "30 mm away", "use the labels that were drawn"]),
        ("error", "shape-mismatch", ["cut.nii.gz: labels (1, 5, 40, 36)", "use the labels that were drawn"]),
        ("error", "truncated", ["short.nii.gz", "copy or download the file again"]),
        ("error", "corrupt", ["flipped.nii.gz", "copy or download the file again"]),
        ("error", "empty-labels", ["empty.nii.gz: its labels have only background", "remove the study"]),
        ("error", "duplicate-patient", ["copy, twice: the same voxels under 2 patients", "keep one of them"]),
        ("warning", "duplicate-study", ["good2, good: the same voxels", "remove the copies"]),
        ("warning", "missing-class", ["ringless: no 'myocardium'", "check the labels"]),
        ("warning", "no-labels", ["unlabelled: no labels", "add labels"]),
        ("warning", "volume", ["coarse, unit: 'myocardium' has", "ml", "check labels and spacing"]),
        (
            "warning",
            "spacing",
            ["coarse: in-plane spacing of 15 mm, outside the usual range of 0.3 to 4 mm", "correct the header"],
        ),
        ("warning", "spacing-differs", ["finer: in-plane spacing of 0.5 mm", "median is 1.5 mm", "check the header"]),
        ("warning", "spacing-differs", ["unit: slice spacing of 1 mm", "median is 8 mm", "check the header"]),
        ("warning", "unit-spacing", ["unit: spacing of 1 × 1 × 1 mm", "check it"]),
        ("warning", "size-differs", ["big: longest side of 140 px", "median is 40", "check the export"]),
        ("warning", "single-slice", ["one: only one slice", "add the neighbouring slices"]),
        (
            "warning",
            "orientation",
            ["mirrored: the axes (LAS) differ by more than 60° from those of", "(RAS)", "by mistake"],
        ),
        (
            "warning",
            "affine-spacing",
            ["untrue: the voxel sizes of the affine and of the spacing (pixdim) differ", "check that"],
        ),
        (
            "warning",
            "constant-slice",
            ["padded: slices in which all pixels are equal, 1 per study", "if they are padding"],
        ),
    ],
)
def test_every_fault_is_found_with_file_value_and_remedy(broken, severity, code, says):
    messages = found(broken[1]).get((severity, code), [])
    assert any(all(part in message for part in says) for message in messages), (code, messages)


def test_sound_studies_are_left_alone(broken):
    root, report = broken
    blamed = {case for finding in report.findings for case in finding.cases}
    assert not blamed & {"fine", "great"}
    assert "fine" in {study.case for study in report.studies}
    assert report.count("error") == 11
    severities = [finding.severity for finding in report.findings]
    assert severities == sorted(severities)
    assert str(root) in found(report)["error", "non-finite"][0]


def test_reports_are_written_whole_and_strict(broken, tmp_path):
    _, report = broken
    write_check(report, tmp_path)

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    content = json.loads((tmp_path / "check.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert content["errors"] == report.count("error")
    assert len(content["studies"]) == len(report.studies)
    assert [finding["message"] for finding in content["findings"]] == [finding.message for finding in report.findings]
    text = (tmp_path / "check.md").read_text(encoding="utf-8")
    plain = format_check(report)
    for finding in report.findings:
        assert finding.message in plain
        assert f"- **{finding.severity}** {markdown(finding.message)}" in text
    assert "| class | studies | smallest | median | largest |" in text


def test_the_picture_has_a_tile_for_every_patient(broken, tmp_path):
    _, report = broken
    assert set(report.thumbnails) == set(report.patients)
    assert report.thumbnails["nan"] is None
    draw_check(report, tmp_path / "check.png")
    picture = matplotlib.image.imread(tmp_path / "check.png")
    assert picture.shape[1] == 1500
    tiles = len(report.patients)
    across = min(10, max(5, int(np.ceil(np.sqrt(1.3 * tiles)))))
    side = (1500 - 40 - 6 * (across - 1)) // across
    for place, patient in enumerate(report.patients):
        top = 78 + place // across * (side + 23) + 17
        left = 20 + place % across * (side + 6)
        tile = picture[top + 5 : top + side - 5, left + 5 : left + side - 5, :3]
        unreadable = report.thumbnails[patient] is None
        # The myocardium's green is in every tile but those that have none.
        green = np.abs(tile - np.array([0, 200, 150]) / 255).max(axis=-1).min() < 0.1
        assert green == (not unreadable and patient not in ("empty", "ringless", "unlabelled")), patient


def test_thumbnails_show_160_mm_whatever_the_spacing():
    def area(spacing):
        size = round(120 / spacing)
        rows, columns = np.indices((size, size))
        labels = (np.hypot(rows - size / 2, columns - size / 2) * spacing < 30).astype(np.uint8)[None, None]
        voxels = np.random.default_rng(0).normal(0, 0.01, labels.shape).astype(np.float32)
        study = Study("p", "p", voxels, (1.0, spacing, spacing), ("background", "myocardium"), labels)
        thumbnail = check_data_set([StudyRef("p", "p", None, lambda: study)]).thumbnails["p"]
        assert thumbnail.shape == (THUMBNAIL_PX, THUMBNAIL_PX, 3)
        return ((thumbnail[..., 1].astype(int) - thumbnail[..., 0]) > 30).sum()

    disc = np.pi * (30 * THUMBNAIL_PX / 160) ** 2
    for spacing in (0.7, 1.4, 2.0):
        assert area(spacing) == pytest.approx(disc, rel=0.06)


def test_at_most_a_hundred_thumbnails_are_kept():
    (ref,) = list_short_axis_phantom(1, size=96, frames=1, seed=0)
    study = ref.load()
    many = [
        StudyRef(f"p{n}", f"p{n}", None, lambda n=n: dataclasses.replace(study, patient=f"p{n}", case=f"p{n}"))
        for n in range(130)
    ]
    report = check_data_set(many)
    assert len(report.thumbnails) == 100
    assert [*report.thumbnails][::99] == ["p0", "p129"]
    (duplicates,) = (finding for finding in report.findings if finding.code == "duplicate-patient")
    assert len(duplicates.cases) == 130


def test_lists_that_contradict_themselves():
    refs = list_stack_phantom(2, size=128, seed=0)
    doubled = [refs[0], refs[0], refs[1], dataclasses.replace(refs[1], case="other", group="DCM")]
    doubled[2] = dataclasses.replace(doubled[2], group="NOR")
    messages = found(check_data_set(doubled))
    assert "listed 2 times" in messages["error", "duplicate-case"][0]
    assert "in the groups DCM, NOR" in messages["error", "groups"][0]


def test_a_class_that_no_study_has(tmp_path):
    study = dataclasses.replace(list_stack_phantom(1, size=128, seed=0)[0].load(), patient="p", case="p")
    labels = np.where(study.labels == 1, 0, study.labels).astype(np.uint8)
    lacking = dataclasses.replace(study, labels=labels)
    report = check_data_set([StudyRef("p", "p", None, lambda: lacking)])
    draw_check(report, tmp_path / "check.png")
    messages = found(report)
    assert "class 'right ventricle': in none of the 1 labelled studies" in messages["error", "absent-class"][0]


@pytest.mark.parametrize("order", [*itertools.permutations((1, 2, 3))])
def test_label_values_in_another_order(order):
    """M&Ms has 1 cavity, 2 myocardium, 3 right ventricle; in the layout of ACDC that would be read in silence."""
    study = list_stack_phantom(1, size=128, seed=0)[0].load()
    labels = np.array([0, *order], np.uint8)[study.labels]
    messages = found(check_data_set([StudyRef("p", "p", None, lambda: dataclasses.replace(study, labels=labels))]))
    if order == (1, 2, 3):
        assert ("error", "exchanged-classes") not in messages
        return
    (message,) = messages["error", "exchanged-classes"]
    inner, outer = study.classes[order[2]], study.classes[order[1]]  # where cavity and myocardium are
    assert f"what is labelled {inner} lies inside what is labelled {outer}" in message


def test_labels_that_were_saved_for_two_images():
    _, labels = sound(1)

    def study(case, seed):
        voxels, _ = sound(seed)
        return StudyRef("p", case, None, lambda: Study("p", case, voxels, SPACING, LV_CLASSES, labels))

    messages = found(check_data_set([study("ed", 1), study("es", 2)]))
    assert "ed, es: the same labels for different images" in messages["warning", "same-labels"][0]


def test_a_list_that_fails_as_a_whole(tmp_path):
    report = check_data_set(lambda problems: open_catalogue("acdc", tmp_path / "none", problems=problems))
    assert [finding.code for finding in report.findings] == ["missing-root"]
    assert report.patients == ()
    draw_check(report, tmp_path / "check.png")
    assert (tmp_path / "check.png").stat().st_size > 0


def test_programming_errors_are_not_findings():
    def fail():
        raise RuntimeError

    with pytest.raises(RuntimeError):
        check_data_set([StudyRef("p", "p", None, fail)])


@pytest.mark.parametrize("name", ["acdc", "mmwhs2017", "lvquan19"])
def test_readers_go_on_past_what_they_cannot_list(tmp_path, name):
    image, labels = sound(0)
    if name == "acdc":
        for patient in ("patient001", "patient002", "patient003"):
            for frame in ("01", "12"):
                for ending, array in (("", image), ("_gt", labels)):
                    path = tmp_path / patient / f"{patient}_frame{frame}{ending}.nii.gz"
                    write_nifti(array, affine=np.eye(4), spacing_mm=SPACING, path=path)
            (tmp_path / patient / "Info.cfg").write_text("ED: 1\nES: 12\n")
        (tmp_path / "patient001" / "patient001_frame12_gt.nii.gz").unlink()
        (tmp_path / "patient002" / "Info.cfg").unlink()
        cases = ["patient001_frame01", *(f"patient{n}_frame{f}" for n in ("002", "003") for f in ("01", "12"))]
        says = ["patient001_frame12_gt.nii.gz missing; copy the folder again", "Info.cfg: cannot be read"]
    elif name == "mmwhs2017":
        for number in (1001, 1002):
            for ending in ("image", "label"):
                path = tmp_path / f"mr_train_{number}_{ending}.nii.gz"
                write_nifti(np.zeros(SHAPE, np.uint8), affine=np.eye(4), spacing_mm=SPACING, path=path)
        (tmp_path / "mr_train_1001_label.nii.gz").unlink()
        cases, says = ["mr_train_1002"], ["mr_train_1001_label.nii.gz is missing; add it"]
    else:
        for file in ("patient1.mat", "patient01.mat", "patient2.mat"):
            (tmp_path / file).write_bytes(b"")
        cases, says = ["patient1", "patient2"], ["the same patient as"]
    problems = []
    refs = open_catalogue(name, tmp_path, problems=problems)
    assert sorted(ref.case for ref in refs) == cases
    assert len(problems) == len(says)
    for problem, part in zip(problems, says, strict=True):
        assert part in problem
    with pytest.raises(InputError) as caught:
        open_catalogue(name, tmp_path)
    assert caught.value.code == "incomplete"
    assert all(problem in str(caught.value) for problem in problems)


def test_the_mode_counts_errors_and_leaves_its_report(broken, tmp_path):
    root, _ = broken
    config = folder_experiment.get_config().to_dict()
    config["data"]["root"] = str(root)
    assert checking.check(config, tmp_path / "run") == 11
    assert {path.name for path in (tmp_path / "run" / "check").iterdir()} == {"check.json", "check.md", "check.png"}
    config["data"]["root"] = str(tmp_path / "none")
    assert checking.check(config, tmp_path / "other") == 1
    assert not (tmp_path / "other").exists()
    config = phantom_experiment.get_config().to_dict()
    config["data"] |= {"patients": 2, "folds": 2, "phantom": {"size": 96, "frames": 2, "shape": (12, 64, 64)}}
    assert checking.check(config, tmp_path / "phantom") == 0


@pytest.mark.parametrize(("folds", "errors"), [(2, 0), (1, 0), (3, 1), (5, 1)])
def test_more_folds_than_patients_are_an_error(tmp_path, folds, errors):
    config = phantom_experiment.get_config().to_dict()
    config["data"] |= {"patients": 2, "folds": folds, "phantom": {"size": 96, "frames": 2, "shape": (12, 64, 64)}}
    assert checking.check(config, tmp_path) == errors
    content = json.loads((tmp_path / "check" / "check.json").read_text())
    found = [finding["message"] for finding in content["findings"] if finding["code"] == "too-few-patients"]
    assert len(found) == errors
    assert all(f"2 patients with labels for {folds} folds" in message for message in found)
    assert ("Nothing to put right." in (tmp_path / "check" / "check.md").read_text()) == (not content["findings"])


def test_the_real_data_set(shared_data, tmp_path):
    real = shared_data("acdc")
    for patient in ("patient001", "patient074", "patient076", "patient090", "patient100"):
        os.symlink(real / patient, tmp_path / patient)
    config = acdc_experiment.get_config().to_dict()
    config["data"]["root"] = str(tmp_path)
    assert checking.check(config, tmp_path / "run") == 1
    content = json.loads((tmp_path / "run" / "check" / "check.json").read_text())
    assert len(content["studies"]) == 10
    findings = {finding["code"]: finding for finding in content["findings"]}
    # A fact of the data set: two patients are one, drawn twice.
    assert findings["duplicate-patient"]["message"].startswith("patient074, patient076: the same voxels")
    assert set(findings) == {"duplicate-patient", "affine-spacing"}  # its affines lack the spacing
    assert Path(content["studies"][0]["source"]).name == "patient001_frame01.nii.gz"
