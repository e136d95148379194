"""Height, weight, sex, age and heart rate of patients, from the sources that have them."""
