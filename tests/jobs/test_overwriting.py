"""No job replaces a file that it reads, however the output is called and whatever the options are."""

import json
import os
import shutil

import nibabel as nib
import numpy as np
import pytest

from experiments import phantom
from foanet_jax.api import Result
from foanet_jax.data.catalogue import read_input
from foanet_jax.data.folds import Fold
from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.phantom.writers import write_dicom
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.image.boxes import Box
from foanet_jax.jobs.experiment.release import release
from foanet_jax.jobs.export import export_model
from foanet_jax.pipeline import Prediction
from foanet_jax.settings import with_overrides
from foanet_jax.system.errors import InputError
from foanet_jax.training.spec import NETWORKS
from tests.saved_runs import save_run


def image(path, seed=0):
    voxels = np.random.default_rng(seed).normal(size=(1, 3, 4, 5)).astype(np.float32)
    write_nifti(voxels, affine=np.eye(4), spacing_mm=(1.0, 1.0, 1.0), path=path)
    return path


def contents(folder):
    """Every file in a folder and below, and its bytes."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(call, *args, **options):
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("written_as", ["the same", "a link", "relative"])
def test_the_input_folder_as_output(made_up, tmp_path, monkeypatch, overwrite, written_as):
    folder = tmp_path / "D"
    image(folder / "p1.nii.gz", 1)
    image(folder / "p2.nii", 2)
    (folder / "p1_gt.nii.gz").write_bytes(b"a user's labels")
    before = contents(folder)
    (tmp_path / "linked").symlink_to(folder)
    monkeypatch.chdir(folder)
    output = {"the same": folder, "a link": tmp_path / "linked", "relative": folder / ".." / "D"}[written_as]
    assert made_up(folder, output, overwrite=overwrite) == 0
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert {str(name) for name in after if "_seg" in str(name)} == {"p1_seg.nii.gz", "p2_seg.nii.gz"}
    # Once more: the masks are no studies, and are replaced only with --overwrite.
    if overwrite:
        assert made_up(folder, output, overwrite=True) == 0
    else:
        assert refused(made_up, folder, output)[0] == "output-exists"
    assert list(json.loads((folder / "predictions.json").read_text())) == ["p1", "p2"]
    after = contents(folder)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("name", ["p1_seg.nii.gz", "p1.png", "summary.csv", "labels.txt", "p1.html", "index.html"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_lies_in_the_input_folder_and_is_not_ours_stays(made_up, tmp_path, name, overwrite):
    folder = tmp_path / "D"
    image(folder / "p1.nii.gz")
    (folder / name).write_bytes(b"a user's work")
    before = contents(folder)
    code, text = refused(made_up, folder, folder, overwrite=overwrite, pages=True)
    assert code == "output-is-input"
    assert "--overwrite" not in text
    assert name in text
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["p1_seg.nii.gz", "p1.png", "p1_volumes.csv", "summary.csv", "predictions.json"])
def test_what_lies_in_another_folder_is_replaced_only_on_demand(made_up, tmp_path, name):
    image(tmp_path / "in" / "p1.nii.gz")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"earlier")
    code, text = refused(made_up, tmp_path / "in", tmp_path / "out")
    assert (code, "--overwrite" in text) == ("output-exists", True)
    assert contents(tmp_path / "out") == {next(iter(contents(tmp_path / "out"))): b"earlier"}
    assert made_up(tmp_path / "in", tmp_path / "out", overwrite=True) == 0
    assert (tmp_path / "out" / name).read_bytes() != b"earlier"


@pytest.mark.parametrize("kind", ["link", "hard link", "the file"])
def test_one_file_is_not_its_own_mask(made_up, tmp_path, kind):
    source = image(tmp_path / "p1.nii.gz")
    output = tmp_path / "mask.nii.gz"
    if kind == "link":
        output.symlink_to(source)
    elif kind == "hard link":
        os.link(source, output)
    else:
        output = source
    before = source.read_bytes()
    assert refused(made_up, source, output, overwrite=True)[0] == "output-is-input"
    assert source.read_bytes() == before


def test_a_mask_that_a_second_link_of_the_image_stands_for(made_up, tmp_path):
    """The image lies elsewhere; the output folder has a hard link to it where the mask would go."""
    source = image(tmp_path / "in" / "p1.nii.gz")
    (tmp_path / "out").mkdir()
    os.link(source, tmp_path / "out" / "p1_seg.nii.gz")
    assert refused(made_up, tmp_path / "in", tmp_path / "out", overwrite=True)[0] == "output-is-input"


def test_names_in_other_letter_case(made_up, tmp_path, monkeypatch):
    """On a file system that does not tell case apart, P1_SEG.nii.gz is p1_seg.nii.gz: as identities tell it."""
    source = image(tmp_path / "in" / "p1_seg.nii.gz")
    (tmp_path / "out").mkdir()
    os.link(source, tmp_path / "out" / "P1_SEG_seg.nii.gz")
    (tmp_path / "out" / "p1_seg_seg.nii.gz").symlink_to(tmp_path / "out" / "P1_SEG_seg.nii.gz")
    assert refused(made_up, source, tmp_path / "out", overwrite=True)[0] == "output-is-input"


def test_dicom_into_its_own_folder(made_up, tmp_path):
    """The image's NIfTI copy is not taken for a study the next time."""
    voxels = np.random.default_rng(0).integers(0, 900, (1, 2, 4, 5)).astype(np.float32)
    study = Study("p", "p", voxels, (8.0, 2.0, 1.5), LV_CLASSES, affine=np.diag([-1.5, -2.0, 8.0, 1.0]))
    folder = tmp_path / "eva"
    write_dicom(study, folder)
    before = contents(folder)
    for overwrite in (False, True):
        assert made_up(folder, folder, overwrite=overwrite) == 0
        assert list(json.loads((folder / "predictions.json").read_text())) == ["eva"]
        after = contents(folder)
        assert {name: after[name] for name in before} == before
        assert {"eva.nii.gz", "eva_seg.nii.gz"} < {str(name) for name in after}


def test_one_mask_s_file(made_up, tmp_path, caplog):
    caplog.set_level("INFO")
    source = image(tmp_path / "in" / "p1.nii.gz")
    output = tmp_path / "masks" / "mask.nii.gz"
    assert made_up(source, output) == 0
    assert [path.name for path in output.parent.iterdir()] == ["mask.nii.gz"]
    assert np.asarray(nib.load(output).dataobj).sum() == 60
    assert "is the mask; with a folder as --output" in caplog.text
    assert refused(made_up, source, output)[0] == "output-exists"
    image(tmp_path / "in" / "p2.nii.gz")
    code, text = refused(made_up, tmp_path / "in", tmp_path / "both.nii.gz")
    assert (code, "2 studies" in text) == ("output-path", True)
    assert not (tmp_path / "both.nii.gz").exists()
    assert refused(made_up, source, tmp_path / "mask.nrrd")[0] == "suffix"
    assert refused(made_up, source, tmp_path / "mask.NII.gz")[0] == "suffix"


def test_a_study_called_index_has_a_page(made_up, tmp_path):
    image(tmp_path / "in" / "index.nii.gz")
    assert made_up(tmp_path / "in", tmp_path / "out", pages=True) == 0
    (case,) = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert case == "index-2"
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert 'href="./index-2.html"' in page
    assert "index-2" in (tmp_path / "out" / "index-2.html").read_text(encoding="utf-8")


def result(study):
    mask = np.ones(study.voxels.shape, np.uint8)
    return Result(mask, study.classes, study, Prediction(mask, [None], None, Box(0, 0, 4, 5), ()))


def test_a_saved_result(tmp_path):
    source = image(tmp_path / "p1.nii.gz")
    before = source.read_bytes()
    found = result(read_input(source)[0].load())
    os.link(source, tmp_path / "hard.nii.gz")
    (tmp_path / "soft.nii.gz").symlink_to(source)
    for name in ("p1.nii.gz", "hard.nii.gz", "soft.nii.gz", "../" + tmp_path.name + "/p1.nii.gz"):
        assert refused(found.save, tmp_path / name)[0] == "output-is-input"
    assert source.read_bytes() == before
    for _ in range(2):
        found.save(tmp_path / "mask.nii.gz")
    assert np.asarray(nib.load(tmp_path / "mask.nii.gz").dataobj).all()


def test_a_saved_result_of_dicom(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 900, (1, 2, 4, 5)).astype(np.float32)
    study = Study("p", "p", voxels, (8.0, 2.0, 1.5), LV_CLASSES, affine=np.diag([-1.5, -2.0, 8.0, 1.0]))
    first, second = write_dicom(study, tmp_path / "eva")
    second.rename(tmp_path / "eva" / "b.nii.gz")  # DICOM has files of any name.
    found = result(read_input(tmp_path / "eva")[0].load())
    assert refused(found.save, tmp_path / "eva" / "b.nii.gz")[0] == "output-is-input"
    assert first.exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    changes = {f"{stage}.network.width": 1 / 32 for stage in NETWORKS}
    config = with_overrides(phantom.get_config().to_dict(), changes)
    return save_run(tmp_path_factory.mktemp("runs") / "phantom", config, [Fold(("a", "b"), ("c",), ("d",))])


def test_release_does_not_replace_what_it_reads(run, tmp_path):
    weights = tmp_path / "heart.safetensors"
    release(run, weights)
    before = weights.read_bytes()
    os.link(weights, tmp_path / "other.safetensors")
    for output in (weights, tmp_path / "other.safetensors", tmp_path / ".." / tmp_path.name / "heart.safetensors"):
        assert refused(release, weights, output, overwrite=True)[0] == "output-is-input"
    kept = next(path for path in run.rglob("*") if path.is_file())
    os.link(kept, tmp_path / "run.safetensors")
    assert refused(release, run, tmp_path / "run.safetensors", overwrite=True)[0] == "output-is-input"
    assert weights.read_bytes() == before
    assert refused(release, run, weights)[0] == "output-exists"


def test_results_in_the_folder_of_the_run_can_be_replaced(run):
    """They are not what the run is read from, unless they are links to that."""
    output = run / "released.safetensors"
    for overwrite in (False, True):
        release(run, output, overwrite=overwrite)
    output.unlink()
    for overwrite in (False, True):
        export_model(run, run / "EXPORT", overwrite=overwrite)
    kept = next(path for path in run.rglob("*") if path.is_file() and "EXPORT" not in path.parts)
    os.link(kept, output)
    assert refused(release, run, output, overwrite=True)[0] == "output-is-input"
    output.unlink()
    shutil.rmtree(run / "EXPORT")


def test_export_does_not_replace_what_it_reads(run, tmp_path):
    weights = tmp_path / "heart.safetensors"
    release(run, weights)
    (tmp_path / "EXPORT").mkdir()
    os.link(weights, tmp_path / "EXPORT" / "segmentation.npz")
    before = weights.read_bytes()
    assert refused(export_model, weights, tmp_path / "EXPORT", overwrite=True)[0] == "output-is-input"
    assert weights.read_bytes() == before
    (tmp_path / "EXPORT" / "segmentation.npz").unlink()
    # Any file of an export, not model.json alone.
    (tmp_path / "EXPORT" / "foanet_runtime.py").write_text("mine")
    assert refused(export_model, weights, tmp_path / "EXPORT")[0] == "output-exists"
    assert (tmp_path / "EXPORT" / "foanet_runtime.py").read_text() == "mine"
