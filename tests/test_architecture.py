"""The house stands as docs/architecture.md draws it: who imports whom, and what no file does."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
HOUSE = SOURCE / "pixelwright"

NOUNS = {"errors", "types", "registry", "files", "lazy", "memory"}
PLAIN = {"images", "render", "console", "run", "recipe"}
BUILT_FROM = NOUNS | {"images", "render", "run", "recipe", "nn", "losses", "metrics", "data"}
BUILT_FROM |= {"models", "training", "inference", "exporting"}

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "types": set(),
    "registry": {"errors"},
    "files": {"errors"},
    "lazy": set(),
    "memory": {"errors"},
    **dict.fromkeys(PLAIN, NOUNS),
    **dict.fromkeys(("nn", "losses", "metrics"), NOUNS),
    "data": NOUNS | {"images", "render"},
    "models": NOUNS | {"nn"},
    "training": NOUNS | {"metrics", "run"},
    "inference": NOUNS | {"nn", "images", "render"},
    "exporting": NOUNS | {"nn", "images", "render", "inference"},
    "reporting": NOUNS | {"metrics", "run", "render"},
    "track": NOUNS | {"run", "images"},
    "build": BUILT_FROM,
    "propose": BUILT_FROM | {"build"},
    "jobs": BUILT_FROM | {"build", "propose", "reporting", "track", "console"},
    "study": BUILT_FROM | {"build", "reporting", "console", "jobs"},
    "cli": BUILT_FROM | {"build", "propose", "reporting", "track", "console", "jobs", "study"},
    "__main__": {"cli"},
    "__init__": {"lazy"},  # finds everything else on first use
}
WITHOUT_TORCH = (
    NOUNS | PLAIN | {"data", "metrics", "reporting", "track", "cli", "__init__", "__main__"}
)
LONGEST_FILE, LONGEST_FUNCTION = 450, 70

MODULES = sorted(HOUSE.rglob("*.py"))
each_module = pytest.mark.parametrize(
    "path", MODULES, ids=lambda path: path.relative_to(HOUSE).with_suffix("").as_posix()
)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def statements(node: ast.AST, *, inside_functions: bool) -> Iterator[ast.AST]:
    """Everything below a node that runs: not what is there for type checkers only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not inside_functions:
            continue
        yield child
        yield from statements(child, inside_functions=inside_functions)


def imports(path: Path, *, inside_functions: bool = True) -> Iterator[str]:
    """The modules that a file imports, as dotted names."""
    for node in statements(tree(path), inside_functions=inside_functions):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in file_of() else str(node.module)


@cache
def file_of() -> dict[str, Path]:
    return {name_of(path): path for path in MODULES}


def ours(path: Path, *, inside_functions: bool = True) -> set[str]:
    found = imports(path, inside_functions=inside_functions)
    return {name for name in found if name.split(".")[0] == "pixelwright"}


@each_module
def test_a_room_imports_only_the_rooms_below_it(path: Path) -> None:
    room = room_of(path)
    assert room in MAY_IMPORT, f"'{room}' has no place in the house yet: give it one here"
    allowed = MAY_IMPORT[room] | {room, ""}
    wrong = {name for name in ours(path) if (name + ".").split(".")[1] not in allowed}
    assert wrong == set()


@each_module
def test_entries_of_a_registry_do_not_import_each_other(path: Path) -> None:
    package = name_of(path).rpartition(".")[0]
    if package not in {"pixelwright.models", "pixelwright.losses", "pixelwright.data.layouts"}:
        return
    siblings = {name for name in ours(path) if name.rpartition(".")[0] == package}
    assert {name for name in siblings if not name.rpartition(".")[2].startswith("_")} == set()


def test_nothing_imports_the_command_line() -> None:
    importers = {
        name_of(path)
        for path in MODULES
        if room_of(path) != "cli" and any(name.startswith("pixelwright.cli") for name in ours(path))
    }
    assert importers <= {"pixelwright.__main__"}


def test_imports_make_no_cycle() -> None:
    graph = {name: ours(path) - {name} for name, path in file_of().items()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above[above.index(name) :], name))
        if name not in done:
            for other in sorted(graph.get(name, ())):
                visit(other, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@each_module
def test_rooms_that_must_start_at_once_do_not_load_torch(path: Path) -> None:
    if room_of(path) not in WITHOUT_TORCH:
        return
    seen: set[str] = set()
    waiting = [(name_of(path),)]
    while waiting:
        trail = waiting.pop()
        if trail[-1] in seen or trail[-1] not in file_of():
            continue
        seen.add(trail[-1])
        for name in imports(file_of()[trail[-1]], inside_functions=False):
            assert name.split(".")[0] not in {"torch", "torchvision"}, " -> ".join((*trail, name))
            parts = name.split(".")
            waiting += [(*trail, ".".join(parts[:end])) for end in range(1, len(parts) + 1)]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("pixelwright", ("torch", "numpy", "cv2", "pydantic", "rich", "typer")),
        ("pixelwright.cli", ("torch", "cv2", "matplotlib")),
    ],
)
def test_importing_is_instant(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*[name for name in {absent} if name in sys.modules])"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, cwd=SOURCE)
    assert loaded.stdout.split() == []


@each_module
def test_a_file_holds_one_idea(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "common", "base", "misc"}
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    # What a function says of its arguments is no idea of its own.
    lengths = {
        node.name: (node.end_lineno or 0) - node.lineno + 1 - _documented(node)
        for node in ast.walk(tree(path))
        if isinstance(node, functions)
    }
    assert {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION} == {}


def _documented(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a docstring."""
    return len((ast.get_docstring(node, clean=False) or "").splitlines())


@each_module
def test_importing_a_module_only_defines(path: Path) -> None:
    if path.stem == "__main__":
        return
    loops = (ast.For, ast.While, ast.With)
    acting = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in tree(path).body
        if isinstance(node, loops)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
    ]
    assert acting == []


@each_module
def test_only_the_engine_names_processes(path: Path) -> None:
    named = any(name.startswith("torch.distributed") for name in imports(path))
    named |= any(
        isinstance(node, ast.Attribute) and ast.unparse(node).startswith("torch.distributed")
        for node in ast.walk(tree(path))
    )
    assert not named or name_of(path) == "pixelwright.training.engine"


@each_module
def test_only_the_console_prints(path: Path) -> None:
    if room_of(path) in {"console", "cli"}:
        return
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert [f"line {call.lineno}" for call in calls if ast.unparse(call.func) == "print"] == []


READS_PICKLES = "pixelwright.images.arrays"
"""The one module that does, by an unpickler that refuses whatever it does not know (F55)."""


@each_module
def test_nothing_is_read_that_could_run_code(path: Path) -> None:
    allowed = {"pickle"} if name_of(path) == READS_PICKLES else set()
    assert {name.split(".")[0] for name in imports(path)} & {
        "pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "_pickle",
    } == allowed  # fmt: skip
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert not {ast.unparse(call.func) for call in calls} & {"eval", "exec"}
    loads = [call for call in calls if ast.unparse(call.func) == "torch.load"]
    assert all("weights_only=True" in map(ast.unparse, call.keywords) for call in loads)
    keywords = [ast.unparse(word) for call in calls for word in call.keywords]
    assert {word for word in keywords if word.startswith("allow_pickle")} <= {"allow_pickle=False"}


def test_f55_pickles_are_read_only_by_an_unpickler_that_chooses_what_they_may_name() -> None:
    nodes = list(ast.walk(tree(file_of()[READS_PICKLES])))
    brought = [alias for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    assert [alias.asname for alias in brought if alias.name == "pickle"] == [None]
    assert not [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module == "pickle"]
    # Named once, as what a class is derived from: so neither load, loads nor a plain Unpickler.
    assert [ast.unparse(n.value) for n in nodes if isinstance(n, ast.Attribute)].count(
        "pickle"
    ) == 1
    (reader,) = [
        node
        for node in nodes
        if isinstance(node, ast.ClassDef)
        and [ast.unparse(above) for above in node.bases] == ["pickle.Unpickler"]
    ]
    methods = {node.name for node in reader.body if isinstance(node, ast.FunctionDef)}
    assert "find_class" in methods
    assert "persistent_load" not in methods
