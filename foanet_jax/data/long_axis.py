"""The usual direction of the heart's long axis, by which short-axis planes are told from others, and base from apex."""

import numpy as np

# In 94 healthy adults, the long axis of the left ventricle points 38° ± 10° (standard deviation) down from the left in
# the frontal plane, and 46° ± 7° to the front from the left in the transverse plane (Engblom et al., Am Heart J
# 150:507, 2005). A direction with these two projections is (1, tan 46°, tan 38°) to the left, to the front and down.
# Measured against it: the short axes of the two Sunnybrook cines SC-HF-I-1 and SC-HF-I-4, both in heart failure, are
# turned by 9.7° and 4.5° (25.7° and 32.8° in the frontal, 44.8° and 46.3° in the transverse plane), and in both the
# cavity is smaller at the left, front and lower end. ACDC cannot be used: its affines have the axes of the body.
_FRONTAL_DEGREES, _TRANSVERSE_DEGREES = 38.0, 46.0
_LEFT, _FRONT, _DOWN = 1.0, np.tan(np.deg2rad(_TRANSVERSE_DEGREES)), np.tan(np.deg2rad(_FRONTAL_DEGREES))
_RAS = np.array([-_LEFT, _FRONT, -_DOWN])
# From base to apex, unit vectors. RAS+ (NIfTI) counts to the right, front and top, LPS+ (DICOM) to left, back and top.
TO_APEX_RAS = _RAS / np.linalg.norm(_RAS)
TO_APEX_LPS = TO_APEX_RAS * (-1, -1, 1)
# A plane whose normal is further from the usual long axis than this cannot be a short axis. It is six standard
# deviations of the frontal angle. The normals of long-axis planes are at about 90°.
FARTHEST_DEGREES = 60.0


def degrees_between(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the angle between two lines in degrees, from 0 to 90. The signs of the directions do not matter."""
    cosine = abs(float(first @ second)) / float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.degrees(np.arccos(min(cosine, 1.0))))
