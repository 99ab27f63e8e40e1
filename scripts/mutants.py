"""`make mutants`: change one thing in a module, run the tests of its path, and see them fail.

A change that no test notices is a rule that nobody proves. It is named and the exit status is 1, unless
`equivalent_mutants.toml` says why it changes nothing; what stands there and is noticed, or is gone, is a mistake too.
"""

import argparse
import ast
import io
import multiprocessing
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
LISTED = Path(__file__).with_name("equivalent_mutants.toml")
FILES = ("shared/core/token.py", "shared/core/policy.py")
_DOORS = ("tests/api/test_abuse.py", "tests/api/test_bounded.py")
_CACHE = ("tests/tokens/test_cache.py", "tests/tokens/test_cache_model.py")
_CHAIN = ("tests/credentials/test_chain.py", "tests/credentials/test_vault_certificate.py")
_DOCUMENTS = ("tests/core/documents/test_settings.py", "tests/core/documents/test_callers.py")
ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "shared/api/vendor.py": (
        "tests/api/test_anonymous.py",
        "tests/api/test_isolation.py",
        "tests/api/test_abuse.py",
        "tests/callers/test_identity_tokens.py",
    ),
    "shared/callers/endings.py": ("tests/callers/test_endings.py",),
    "shared/callers/health.py": (
        "tests/api/test_readiness.py",
        "tests/callers/test_entries.py",
        "tests/callers/test_endings.py",
    ),
    "shared/api/discovery.py": ("tests/api/test_discovery.py",),
    "shared/callers/issuer_keys.py": ("tests/callers/test_issuers.py",),
    "shared/callers/published_keys.py": ("tests/callers/test_issuers.py",),
    "shared/callers/recognition.py": ("tests/callers/test_identity_tokens.py", "tests/callers/test_issuers.py"),
    "shared/callers/live.py": ("tests/callers/test_age.py", "tests/callers/test_entries.py"),
    "shared/core/directory/checkpoint.py": (
        "tests/directory/test_directory.py",
        "tests/directory/test_run.py",
        "tests/directory/test_orders.py",
    ),
    "shared/core/directory/delta.py": ("tests/directory/test_directory.py",),
    "shared/core/directory/order.py": ("tests/directory/test_orders.py",),
    "shared/core/directory/rules.py": ("tests/adapters/database/test_store.py", "tests/directory/test_directory.py"),
    "shared/core/directory/waits.py": ("tests/directory/test_directory.py", "tests/directory/test_orders.py"),
    "shared/core/directory/text.py": ("tests/core/directory/test_delta.py",),
    "shared/core/documents/credentials.py": _DOCUMENTS,
    "shared/core/documents/sync.py": _DOCUMENTS,
    "shared/core/documents/identities.py": _DOCUMENTS,
    "shared/core/documents/issuers.py": (*_DOCUMENTS, "tests/callers/test_identity_tokens.py"),
    "shared/core/documents/places.py": _DOCUMENTS,
    "shared/core/documents/table.py": _DOCUMENTS,
    "shared/core/encoding.py": _DOORS,
    "shared/core/entra/claims.py": (*_DOORS, "tests/tokens/test_acquire.py"),
    "shared/core/entra/jws.py": ("tests/core/entra/test_assertion.py", "tests/core/entra/test_key_proof.py"),
    "shared/core/entra/key_registration.py": ("tests/credentials/test_rotation.py",),
    "shared/core/entra/token_request.py": ("tests/tokens/test_acquire.py",),
    "shared/core/errors.py": ("tests/core/entra/test_refusal.py", "tests/api/test_vendor.py", *_CACHE),
    "shared/core/form.py": _DOORS,
    "shared/core/identity_token.py": ("tests/callers/test_identity_tokens.py",),
    "shared/core/limits.py": (*_DOCUMENTS, "tests/wiring/test_ways_out.py"),
    "shared/core/names.py": _DOCUMENTS,
    "shared/core/origins.py": ("tests/core/entra/test_clouds.py", "tests/adapters/test_http.py", *_DOCUMENTS),
    "shared/core/policy.py": ("tests/callers/test_age.py", "tests/core/documents/test_callers.py"),
    "shared/core/entra/refusal.py": ("tests/credentials/test_chain.py", "tests/credentials/test_rotation.py"),
    "shared/core/proofs.py": (*_DOORS, "tests/callers/test_identity_tokens.py"),
    "shared/core/reply.py": ("tests/core/entra/test_token_answer.py", "tests/core/directory/test_delta.py"),
    "shared/core/request.py": _DOORS,
    "shared/core/retry.py": (*_CACHE, "tests/tokens/test_acquire.py"),
    "shared/core/rules.py": _DOCUMENTS,
    "shared/core/strict_json.py": (*_DOORS, "tests/callers/test_identity_tokens.py"),
    "shared/core/url.py": _DOORS,
    "shared/core/verification_keys.py": ("tests/callers/test_identity_tokens.py", "tests/callers/test_issuers.py"),
    "shared/core/trace.py": ("tests/api/test_names.py",),
    "shared/directory/run.py": ("tests/directory/test_file_run.py",),
    "shared/core/directory/standing.py": ("tests/directory/test_orders.py",),
    "shared/directory/check.py": ("tests/directory/test_orders.py",),
    "shared/directory/recycle_bin.py": ("tests/directory/test_directory.py",),
    "shared/directory/rest.py": ("tests/directory/test_file_run.py",),
    "shared/credentials/certificate_file.py": ("tests/credentials/test_kinds_in_time.py",),
    "shared/credentials/certificate_link.py": _CHAIN,
    "shared/credentials/chain.py": (
        *_CHAIN,
        "tests/credentials/test_rollover.py",
        "tests/credentials/test_kinds_in_time.py",
    ),
    "shared/credentials/check.py": ("tests/api/test_readiness.py", "tests/credentials/test_chain.py"),
    "shared/credentials/flight.py": (
        *_CHAIN,
        "tests/credentials/test_rollover.py",
        "tests/credentials/test_kinds_in_time.py",
    ),
    "shared/credentials/local_key.py": ("tests/credentials/test_kinds.py",),
    "shared/credentials/secret.py": ("tests/credentials/test_kinds_in_time.py",),
    "shared/credentials/vault_signer.py": _CHAIN,
    "shared/credentials/vault_versions.py": _CHAIN,
    "shared/directory/report.py": ("tests/directory/test_run.py", "tests/directory/test_orders.py"),
    "shared/directory/source.py": ("tests/directory/test_orders.py",),
    "shared/directory/sync.py": (
        "tests/directory/test_run.py",
        "tests/directory/test_file_run.py",
        "tests/directory/test_directory.py",
    ),
    "shared/single_flight.py": ("tests/tokens/test_waiters.py",),
    "shared/tokens/cache.py": ("tests/tokens/test_waiters.py",),
    "shared/tokens/check.py": ("tests/api/test_readiness.py",),
    "shared/tokens/endpoint.py": ("tests/tokens/test_acquire.py",),
    "shared/tokens/entry.py": _CACHE,
    "shared/tokens/failures.py": _CACHE,
    "shared/tokens/forced_refresh.py": _CACHE,
    "shared/tokens/identity_check.py": ("tests/api/test_readiness_in_trouble.py", "tests/api/test_readiness.py"),
}
"""Tests that judge a file and lie elsewhere: a rule is proved through the most public door that reaches it."""
NEEDED = {"shared", "emulator", "tests", "docs", "pyproject.toml", "requirements.txt", "function_app.py", "host.json"}
"""What a copy of the repository has: the tests start emulator and app, and hold answers against the documents."""
LEFT_OUT = {"__pycache__", "node_modules"}
AT_ONCE = 2

NEIGHBOURS: Mapping[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
EXTREMES = {"max": "min", "min": "max"}


class MutationError(Exception):
    """The tests can't judge; the text says why."""


class Change(NamedTuple):
    """What a mutant is known by: a line number would not outlive the next edit."""

    file: str
    where: str
    """The function or class, dotted; empty for the module."""
    what: str


class Mutant(NamedTuple):
    """A module with one thing changed."""

    change: Change
    line: int
    source: str


def mutants(file: str, source: str) -> Iterator[Mutant]:
    """Change one thing of a module after the other."""
    tree = ast.parse(source)
    for where, node in _nodes(tree):
        before = node.name if isinstance(node, ast.ClassDef) else ast.unparse(node)
        for after in _changes(node):
            line = getattr(node, "lineno", 0)
            yield Mutant(Change(file, where, f"{before} -> {after}"), line, ast.unparse(tree))


def _nodes(node: ast.AST, where: str = "") -> Iterator[tuple[str, ast.AST]]:
    """List all nodes, each with the dotted name of what it stands in."""
    yield where, node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _nodes(child, f"{where}.{child.name}".lstrip("."))
        else:
            yield from _nodes(child, where)


def _changes(node: ast.AST) -> Iterator[str]:
    """Change a node in place, in one way after the other, and tell what it became; in the end it is itself again."""
    match node:
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                for neighbour in NEIGHBOURS[type(op)]:
                    ops[index] = neighbour()
                    yield ast.unparse(node)
                ops[index] = op
        case ast.BinOp(op=ast.Add() | ast.Sub() as sign) | ast.AugAssign(op=ast.Add() | ast.Sub() as sign):
            node.op = ast.Sub() if isinstance(sign, ast.Add) else ast.Add()
            yield ast.unparse(node)
            node.op = sign
        case ast.BoolOp(op=junction):
            node.op = ast.Or() if isinstance(junction, ast.And) else ast.And()
            yield ast.unparse(node)
            node.op = junction
        case ast.Call(func=ast.Name(id="max" | "min" as extreme) as func):
            func.id = EXTREMES[extreme]
            yield ast.unparse(node)
            func.id = extreme
        case ast.ClassDef(name=name, body=body) if name.endswith("Key") and not _is_itself_alone(node):
            fields = [ast.unparse(item.target) for item in body if isinstance(item, ast.AnnAssign)]
            for field in fields:
                node.body = [*body, *_comparison([other for other in fields if other != field])]
                yield f"{name} without {field}"
            node.body = body
        case _:
            return


def _is_itself_alone(node: ast.ClassDef) -> bool:
    """Return whether a dataclass says `eq=False`: no field of it counts."""
    options = [option for each in node.decorator_list if isinstance(each, ast.Call) for option in each.keywords]
    return any(option.arg == "eq" and ast.unparse(option.value) == "False" for option in options)


def _comparison(fields: list[str]) -> list[ast.stmt]:
    """Write the methods of a class for which these fields alone count."""
    ours, theirs = ("".join(f"{side}.{field}, " for field in fields) for side in ("self", "other"))
    methods = f"""
def __hash__(self): return hash(({ours}))
def __eq__(self, other): return ({ours}) == ({theirs})
def __ne__(self, other): return ({ours}) != ({theirs})
"""
    return ast.parse(methods).body


def judges_of(root: Path, file: str) -> list[str]:
    """Find the tests of a module by its path: `shared/tokens/cache.py` has `tests/tokens/test_cache*.py`.

    Raises:
        MutationError: there are none.
    """
    folder, stem = Path("tests", *Path(file).parent.parts[1:]), Path(file).stem
    named = sorted((root / folder).glob(f"test_{stem}*.py"))
    found = [*(test.relative_to(root).as_posix() for test in named), *ELSEWHERE.get(file, ())]
    if not found:
        raise MutationError(f"{file}: there is no {folder}/test_{stem}.py to judge it by; name the tests with --tests")
    return found


def run_tests(root: Path, tests: Sequence[str], file: str, source: str) -> tuple[int, str]:
    """Run tests with this as the source of a file, and return pytest's exit code and what it printed.

    It changes the process that it runs in, which is good for one run.
    """
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "copy"
        shutil.copytree(root, copy, ignore=lambda at, names: {*names} - NEEDED if Path(at) == root else LEFT_OUT)
        (copy / file).write_text(source)
        os.chdir(copy)
        sys.path[:] = [str(copy), *(entry for entry in sys.path if Path(entry).resolve() != ROOT)]
        options = ["-q", "-x", "--assert=plain", "-p", "no:randomly", "-p", "no:cacheprovider", "--timeout=20"]
        # A folder of its own: two runs that tidy up a common one trip over each other.
        options += ["--hypothesis-profile=mutants", "-m", "not nightly", f"--basetemp={place}/tests"]
        with redirect_stdout(io.StringIO()) as printed:
            try:
                return int(pytest.main([*options, *tests])), printed.getvalue()
            # Coroutines that nobody awaited show after the last test: one as a warning, several as a group of them.
            except (pytest.PytestUnraisableExceptionWarning, ExceptionGroup):
                return 1, printed.getvalue()


def is_noticed(root: Path, tests: Sequence[str], file: str, sources: Sequence[str]) -> list[bool]:
    """Tell for each of these sources of a file whether the tests fail.

    Raises:
        MutationError: they could not run.
    """
    # Each run gets a process of its own, forked from one that has imported what takes long.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hypothesis.stateful", "pytest", "uvicorn", "httpx", "cryptography.x509"])
    with ProcessPoolExecutor(AT_ONCE, mp_context=context, max_tasks_per_child=1) as pool:
        ended = list(pool.map(run_tests, repeat(root), repeat(tests), repeat(file), sources))
    for code, printed in ended:
        if code not in {0, 1, 2}:  # all passed; one failed; a module could not be imported
            raise MutationError(f"{file}: pytest ended with {code}\n{printed}")
    return [code != 0 for code, _ in ended]


def examine(root: Path, tests: Sequence[str], file: str, listed: Collection[Change]) -> tuple[int, list[str]]:
    """Count the mutants of a file, and tell what the tests do not prove, a line each.

    Args:
        root: the repository.
        tests: that judge the file; without any, those of its path.
        file: relative to the root.
        listed: the changes that change nothing.

    Raises:
        MutationError: the tests can't judge.
    """
    source = (root / file).read_text()
    found = list(mutants(file, source))
    sources = [ast.unparse(ast.parse(source)), *(mutant.source for mutant in found)]
    same, *noticed = is_noticed(root, tests or judges_of(root, file), file, sources)
    if same:
        raise MutationError(f"{file}: its tests fail before anything is changed")
    complaints = []
    for mutant, killed in zip(found, noticed, strict=True):
        at = f"{file}:{mutant.line}: {mutant.change.where}: {mutant.change.what}"
        if killed and mutant.change in listed:
            complaints.append(f"{at}: is listed as changing nothing, and a test notices it")
        elif not killed and mutant.change not in listed:
            complaints.append(f"{at}: no test notices")
    known = {mutant.change for mutant in found}
    complaints += [
        f"{file}: {change.where}: {change.what}: is listed as changing nothing, and there is no such mutant"
        for change in listed
        if change.file == file and change not in known
    ]
    return len(found), complaints


def main(arguments: list[str]) -> int:
    """Examine the files and return the exit status."""
    parser = argparse.ArgumentParser(prog="mutants", description="Change one thing, and see a test fail.")
    parser.add_argument("--file", action="append", help=f"repeatable; without it {', '.join(FILES)}")
    parser.add_argument("--tests", action="append", help="repeatable; without it those of the file's path")
    options = parser.parse_args(arguments)
    rows = tomllib.loads(LISTED.read_text()).get("mutant", [])
    listed = [Change(row["file"], row["where"], row["what"]) for row in rows if row["why"]]
    status = 0
    for file in options.file or FILES:
        try:
            count, complaints = examine(ROOT, options.tests or (), file, listed)
        except MutationError as error:
            sys.exit(str(error))
        sys.stdout.writelines(f"{complaint}\n" for complaint in complaints)
        sys.stdout.write(f"{file}: {count} mutants, {len(complaints)} complaints\n")
        status = 1 if complaints else status
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
