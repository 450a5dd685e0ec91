"""The organisers' own scorer as referee: `make referee` writes tests/golden/official-scores.json.

`cases` and `masks` make the inputs, for both sides; `build` asks the scorer, which lives in an
environment of its own (requirements.txt), because it needs pandas 2 and a C compiler.
"""
