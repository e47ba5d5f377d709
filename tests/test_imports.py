"""The direction of imports: nothing imports a later stage, and what should be light is light."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("zoo", "leaderboard", "benchmarks")
STAGES = [  # from audio to the leaderboard; names of modules and packages
    ["zoo.audio"],
    ["zoo.datasets", "zoo.store"],
    ["zoo.chunks"],
    ["zoo.frontends"],
    ["zoo.backends"],
    ["zoo.model"],
    ["zoo.scores"],
    ["zoo.metrics", "zoo.results", "zoo.pooling"],
    ["leaderboard"],
]
NO_TORCH = ("leaderboard", "zoo.results", "zoo.metrics", "zoo.config", "zoo.registry")
NO_TORCH += ("zoo.errors", "zoo.datasets", "zoo.audio", "zoo.store", "zoo.prepare", "zoo.train")
NO_TORCH += (
    "zoo.decode_worker",
    "zoo.decoder",
    "zoo.stream",
    "zoo.workers",
    "zoo.audit",
    "zoo.duplicates",
)
NO_TORCH += ("zoo.statistics", "benchmarks.comparing", "zoo.resampling")
NO_TORCH += ("benchmarks.power", "benchmarks.simulate")
NO_TORCH += ("benchmarks.degraded", "benchmarks.paired")
NO_TORCH += ("benchmarks.summaries.length", "benchmarks.summaries.robustness")
NO_TORCH += ("zoo.hnsw", "zoo.neighbours", "zoo.playlist", "zoo.recommend", "zoo.songs")
NO_TORCH += ("zoo.answers", "zoo.calibration", "zoo.inference", "zoo.library", "zoo.listening")
NO_TORCH += ("zoo.embed", "zoo.embedded", "zoo.growing", "zoo.predict", "zoo.tree")
NO_TORCH += ("zoo.serve", "zoo.serving.application", "zoo.serving.page")
NO_TORCH += ("zoo.opening", "zoo.out", "zoo.runners", "zoo.runners_onnx")
BRING_TORCH = {"torch", "torchaudio", "nnAudio", "accelerate", "timm", "transformers", "peft"}


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for top in OURS for file in sorted((ROOT / top).rglob("*.py"))}


LIGHT = [m for m in MODULES if m in NO_TORCH or m.startswith(("leaderboard.", "zoo.datasets."))]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(module: str, lazy: bool) -> set[str]:
    """Return what a module imports: when it is imported itself, or (`lazy`) also later."""
    found, waiting = set(), [ast.parse(MODULES[module].read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if is_type_checking(node) or (later and not lazy):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
        waiting += ast.iter_child_nodes(node)
    return found - {module}


def reachable(module: str, lazy: bool) -> set[str]:
    """Return all that is imported with a module, packages of ours included."""
    found: set[str] = set()
    waiting = {module}
    while waiting:
        name = waiting.pop()
        found.add(name)
        if name in MODULES:
            packages = {name.rpartition(".")[0]} - {""} if not lazy else set()
            waiting |= (imports(name, lazy) | packages) - found
    return found


def stage(module: str) -> int | None:
    for number, names in enumerate(STAGES):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return number
    return None


def test_the_modules_are_found() -> None:
    assert {"zoo", "zoo.model", "zoo.datasets.base", "leaderboard"} <= set(MODULES)
    assert all(any(stage(m) == i for m in MODULES) for i in range(len(STAGES)))
    assert "torch" in reachable("zoo.model", lazy=False)
    assert "zoo.model" in imports("zoo", lazy=True) - imports("zoo", lazy=False)


@pytest.mark.parametrize("module", [m for m in MODULES if m.partition(".")[0] == "zoo"])
def test_zoo_imports_neither_benchmarks_nor_leaderboard(module: str) -> None:
    tops = {name.partition(".")[0] for name in imports(module, lazy=True)}
    assert not tops & {"benchmarks", "leaderboard"}


@pytest.mark.parametrize("module", [m for m in MODULES if stage(m) is not None])
def test_nothing_imports_a_later_stage(module: str) -> None:
    later = {m for m in reachable(module, lazy=True) if (stage(m) or 0) > (stage(module) or 0)}
    assert not later


def test_there_is_no_cycle() -> None:
    graph = {m: {i for i in imports(m, lazy=True) if i in MODULES} for m in MODULES}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(MODULES)


@pytest.mark.parametrize("module", LIGHT)
def test_modules_that_import_no_torch(module: str) -> None:
    tops = {name.partition(".")[0] for name in reachable(module, lazy=False)}
    assert not tops & BRING_TORCH
    assert "safetensors.torch" not in reachable(module, lazy=False)


def loaded(modules: list[str], unwanted: list[str]) -> str:
    """Import in a process of its own, and return which of the unwanted modules that loads."""
    code = f"import {', '.join(modules)}, sys; print([m for m in {unwanted} if m in sys.modules])"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_importing_zoo_is_light() -> None:
    assert loaded(["zoo"], ["torch", "pandas", "numpy", "hydra"]) == "[]"


def test_importing_the_light_modules_loads_no_torch() -> None:
    light = [m for m in LIGHT if not m.endswith("__main__")]
    assert loaded(light, ["torch"]) == "[]"
    assert loaded(["zoo.model"], ["torch"]) == "['torch']"
