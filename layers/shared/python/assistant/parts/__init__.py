"""The only place that chooses concrete classes, with `assembly.py` at its top: one module for the parts of each concern.

Parts are made of parts of the modules below:

    resources ← models, channels ← rollouts ← knowledge ← extensions ← administration ← assembly.py

Each is made when it is asked for first, and imports stand where they are used: a function loads what it needs and nothing else.
The webhook function goes no higher than `channels`.
"""
