"""Masks find their images by name, and what is left over is named."""

import pytest

from foanet_jax.data.inputs import find_studies
from foanet_jax.data.masks import pair_masks
from foanet_jax.system.errors import InputError
from tests.data.masks.drawn import mask_of, study, write

STUDY = study((1, 4, 9, 7))


def files(folder, *names):
    for name in names:
        write(STUDY, mask_of(STUDY), folder / f"{name}.nii.gz")
    return folder


def paired(images, masks, **options):
    """The masks of each case as paths below the folder of masks, with their frames; and what was left over."""
    found = pair_masks(find_studies(images), masks, None, **options)
    root = masks if isinstance(masks, type(images)) else images
    pairs = {
        pair.ref.case: [
            (file.path.relative_to(root).as_posix().removesuffix(".nii.gz"), file.frame) for file in pair.masks
        ]
        for pair in found.pairs
    }
    return pairs, list(found.images), [path.name for path in found.masks]


@pytest.mark.parametrize("ending", ["", "_seg", "_gt", "_mask", "_label", "_dseg"])
def test_endings_of_masks(tmp_path, ending):
    images = files(tmp_path / "in", "a", "b")
    masks = files(tmp_path / "m", f"a{ending}", f"b{ending}")
    assert paired(images, masks)[0] == {"a": [(f"a{ending}", None)], "b": [(f"b{ending}", None)]}


def test_images_and_masks_in_one_folder(tmp_path):
    """As a prediction into the folder of images leaves them."""
    folder = files(tmp_path / "in", "a", "a_seg", "b", "b_seg")
    assert paired(folder, folder)[0] == {"a": [("a_seg", None)], "b": [("b_seg", None)]}


def test_the_layouts_of_acdc_and_nnunet(tmp_path):
    acdc = files(tmp_path / "acdc", *(f"p1/p1_frame{n:02d}{end}" for n in (1, 12) for end in ("", "_gt")))
    expected = {f"p1_frame{n:02d}": [(f"p1/p1_frame{n:02d}_gt", None)] for n in (1, 12)}
    assert paired(acdc, acdc)[0] == expected
    nnunet = files(tmp_path / "nn", "imagesTr/h_0000", "labelsTr/h", "imagesTr/k_0000", "labelsTr/k")
    assert paired(nnunet / "imagesTr", nnunet / "labelsTr")[0] == {"h_0000": [("h", None)], "k_0000": [("k", None)]}
    assert list(paired(nnunet, nnunet)[0].values()) == [[("labelsTr/h", None)], [("labelsTr/k", None)]]


def test_masks_of_frames_belong_to_the_cine(tmp_path):
    images = files(tmp_path / "in", "a")
    masks = files(tmp_path / "m", "a_frame01_gt", "a_frame12_gt")
    assert paired(images, masks)[0] == {"a": [("a_frame01_gt", 0), ("a_frame12_gt", 11)]}


def test_what_is_left_over_is_named(tmp_path):
    images = files(tmp_path / "in", "a", "b")
    masks = files(tmp_path / "m", "a_seg", "c_seg")
    assert paired(images, masks) == ({"a": [("a_seg", None)]}, ["b"], ["c_seg.nii.gz"])


def test_a_folder_is_part_of_the_name(tmp_path):
    """The mask of another patient is not taken because its file has the same name."""
    images = files(tmp_path / "in", "p1/cine", "p2/cine")
    masks = files(tmp_path / "m", "p2/cine_seg", "p3/cine_seg")
    assert paired(images, masks) == ({"p2_cine": [("p2/cine_seg", None)]}, ["p1_cine"], ["cine_seg.nii.gz"])


def test_several_masks_of_one_image_are_not_chosen_from(tmp_path):
    images = files(tmp_path / "in", "a")
    masks = files(tmp_path / "m", "a_seg", "a_gt")
    with pytest.raises(InputError, match=r"a: has 2 masks, .*a_gt\.nii\.gz.*a_seg\.nii\.gz") as caught:
        paired(images, masks)
    assert caught.value.code == "ambiguous"


def test_one_mask_and_one_image_need_no_names(tmp_path):
    images, masks = files(tmp_path / "in", "a"), files(tmp_path / "m", "x")
    assert paired(images, masks)[0] == {"a": [("x", None)]}
    files(tmp_path / "in", "b")
    files(tmp_path / "m", "y")
    with pytest.raises(InputError, match="the masks are x, y, the images a, b") as caught:
        paired(images, masks)
    assert caught.value.code == "no-masks"
    assert list(paired(images, masks, in_order=True)[0]) == ["a", "b"]


def test_no_masks_at_all(tmp_path):
    images = files(tmp_path / "in", "a")
    (tmp_path / "m").mkdir()
    with pytest.raises(InputError, match="contains none of masks"):
        paired(images, tmp_path / "m")
