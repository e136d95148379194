"""NIfTI files: headers checked before they are believed, voxels read with limits, masks written on the input's grid."""
