"""Clinical indices from masks: the LVQuan challenge's per slice, volumes and ejection fraction from stacks.

`counting` decides which slices count, `short_axis` measures areas, dimensions and wall thicknesses, `ventricle` volumes
over the beat, `compare` scores indices against the truth, `tables` writes and reads both as CSV.
"""
