"""Makes stacks from images: groups them, handles repeated and missing slices, and finds their grid."""
