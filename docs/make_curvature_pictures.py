"""Draw the pictures of docs/curvature.md: python docs/make_curvature_pictures.py [spectrum edge network plane]."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import thalweg as tw
from thalweg.diagnostics.curvature import curvature
from thalweg.diagnostics.stability_edge import edge
from thalweg.diagnostics.trajectory import plane, trajectory
from thalweg.plot.edge_figure import edge as draw_edge
from thalweg.plot.plane_figure import plane as draw_plane
from thalweg.plot.spectrum_figure import spectrum as draw_spectrum

HERE = Path(__file__).parent
NETWORK = tw.Recipe(model=tw.models.Dense(hidden=32), optimizer=tw.optimizers.Adam(1e-2), epochs=30)


def save(figure: Any, name: str) -> None:
    figure.savefig(HERE / f"{name}.png", dpi=110)


def spectrum() -> None:
    run = tw.fit(NETWORK, "digits")
    found = curvature(run, "digits")
    print(found)
    save(draw_spectrum(found), "spectrum")


def linear_edge() -> None:
    recipe = tw.Recipe(penalty=tw.penalties.L2(1e-3), optimizer=tw.optimizers.SGD(0.1))
    found = edge(recipe, "digits")
    print(found)
    save(draw_edge(found), "edge")


def network_edge() -> None:
    model = tw.models.Dense(hidden=32, activation="tanh")
    recipe = tw.Recipe(model=model, penalty=tw.penalties.L2(1e-3), optimizer=tw.optimizers.SGD(0.1))
    found = edge(recipe, "digits", rates=16, steps=1000)
    print(found)
    save(draw_edge(found), "edge_network")


def the_plane() -> None:
    way = trajectory(NETWORK, "digits")
    found = plane(way)
    print(found.variances, found.errors)
    save(draw_plane(found), "plane")


if __name__ == "__main__":
    jobs = {"spectrum": spectrum, "edge": linear_edge, "network": network_edge, "plane": the_plane}
    for chosen in sys.argv[1:] or jobs:
        jobs[chosen]()
