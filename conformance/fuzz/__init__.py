"""Random PyTorch programs, each converted and compared with PyTorch at sizes and values that the trace has not seen.

python -m conformance.fuzz sizes --seed 7 --n 300      # run 300 programs of a family, shrink what fails
python -m conformance.fuzz sizes --seed 7 --only 41    # one program of that run again
python -m conformance.fuzz all --seconds 120           # programs of all families with a fresh seed, which is printed
python -m conformance.fuzz table                       # write FUZZ.md from what was run

A family is a Hypothesis strategy for programs, so what fails shrinks; the same seed gives the same programs.
"""
