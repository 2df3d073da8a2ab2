"""The policy for skipped tests, applied to small test files."""

from __future__ import annotations

import pytest

from tests.tools import skip_policy

pytest_plugins = ["pytester"]

MISSING = """
import pytest
def test_that_runs(): pass
def test_that_needs_a_tool(): pytest.importorskip("no_such_module")
"""
GPU = """
import pytest
@pytest.mark.skipif(True, reason="needs a GPU")
def test_on_a_gpu(): pass
def test_that_runs(): pass
"""
MODULE = """
import pytest
pytest.importorskip("no_such_module")
def test_that_never_runs(): pass
"""
FIXTURE = """
import pytest
@pytest.fixture
def browser(): pytest.skip("there is no Chromium, or no chromedriver")
def test_the_page(browser): pass
"""
EXPECTED_FAILURE = """
import pytest
@pytest.mark.xfail(reason="known")
def test_that_fails(): assert False
"""
SANITIZED = """
import pytest
def test_memory(): pytest.skip("sanitizers keep what is freed")
"""


@pytest.fixture(autouse=True)
def _in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.delenv("CTCKIT_ANY_SKIP", raising=False)
    monkeypatch.delenv("CTCKIT_SANITIZED", raising=False)


def outcomes(pytester: pytest.Pytester, code: str, *options: str) -> dict[str, int]:
    pytester.makepyfile(code)
    return pytester.runpytest_inprocess(
        "-p", "tests.tools.skip_policy", "-p", "no:cacheprovider", *options
    ).parseoutcomes()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (MISSING, {"passed": 1, "failed": 1}),
        (GPU, {"passed": 1, "skipped": 1}),
        (MODULE, {"errors": 1}),
        (FIXTURE, {"errors": 1}),
        (EXPECTED_FAILURE, {"xfailed": 1}),
        (SANITIZED, {"failed": 1}),
    ],
    ids=["missing", "gpu", "module", "fixture", "xfail", "sanitized"],
)
def test_what_fails_in_ci(pytester: pytest.Pytester, code: str, expected: dict[str, int]) -> None:
    found = outcomes(pytester, code)
    assert {key: number for key, number in found.items() if key != "warnings"} == expected


def test_side_by_side(pytester: pytest.Pytester) -> None:
    assert outcomes(pytester, MISSING, "-n", "2") == {"passed": 1, "failed": 1}


@pytest.mark.parametrize(("name", "value"), [("CI", ""), ("CI", "false"), ("CTCKIT_ANY_SKIP", "1")])
def test_elsewhere_a_skip_is_a_skip(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert outcomes(pytester, MISSING) == {"passed": 1, "skipped": 1}
    assert outcomes(pytester, FIXTURE + MODULE) == {"skipped": 1}


def test_sanitized_cores_may_skip_more(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTCKIT_SANITIZED", "1")
    assert outcomes(pytester, SANITIZED) == {"skipped": 1}


def test_the_message_says_what_to_do(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(MISSING)
    run = pytester.runpytest_inprocess("-p", "tests.tools.skip_policy")
    run.stdout.fnmatch_lines(
        ["*test_that_needs_a_tool is skipped in CI: could not import 'no_such_module'*", "*ALLOWED*"]
    )
    assert run.ret == pytest.ExitCode.TESTS_FAILED


def test_reasons_are_matched_in_full() -> None:
    assert skip_policy.is_allowed("needs a GPU")
    assert not skip_policy.is_allowed("needs a GPU and more")
    assert not skip_policy.is_allowed("")


def test_it_holds_for_this_run(request: pytest.FixtureRequest) -> None:
    assert request.config.pluginmanager.has_plugin("tests.tools.skip_policy")
