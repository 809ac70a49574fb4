"""Small training runs made to show a trouble, or made not to: what the coded checks are tried on.

``CODE_cases(seed)`` gives the whole corpus of a check, for the benchmark. With ``whole=False`` it is what the tests
can afford, at least 20 cases of either sort: the setups that cost the least to compile and to train.
"""
