"""Quality control: findings about a prediction, a verdict, and the confidence of the network.

`shape` checks the mask of each slice. `plausible` checks volumes, wall thicknesses and changes over time. `picture`
compares the image with the training images. `review` runs these checks, and `finding` gives the verdict. `ranks`,
`calibration` and `table` show, on studies with truth, how well the confidence predicts the Dice. docs/indices.md lists
every threshold and its source.
"""
