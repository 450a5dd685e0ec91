"""Data, training, scores and figures, in rooms; networks reach them only as arguments.

    report → visualize → evaluation → model → logger → data → system       fetching → data, system
                                       loss → nothing

A room may import every room to its right (CONTRIBUTING.md says where what goes).
"""
