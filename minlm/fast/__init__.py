"""The fast form of the reading path: same names, same signatures, same results."""
