import shutil
import subprocess
from collections.abc import Sequence

import pytest

from provision.engine.script import LIMIT, Script, chain, probes
from provision.resources.base import Section, Together

SHELLS = [shell for shell in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]


class Shared(Together):
    """One that is asked with others in the same shell."""

    @classmethod
    def prepare(cls, asked: Sequence[Together]) -> str:
        return ":\n"

    def shared(self) -> str:
        return f"{self}\n"


def run(script: Script, shell: list[str]) -> dict[str, Section]:
    ran = subprocess.run([*shell, "-c", script.text], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return script.parse(ran.stdout)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
class TestProbes:
    def test_each_fragment_has_its_own_status_and_outputs(self, shell: list[str]) -> None:
        found = run(probes({"a": "echo out; echo err >&2; exit 3", "b": "echo b"}), shell)
        assert found == {"a": Section(3, b"out\n", b"err\n"), "b": Section(0, b"b\n", b"")}

    @pytest.mark.parametrize(
        "fragment",
        [
            "if ( ; then",
            "exit 5",
            "exec false",
            "sh -c 'kill -9 $$'",
            "cd /nowhere",
            "echo )",
            "set -eu; false",
            "'",
            '"',
            "(",
        ],
    )
    def test_what_one_fragment_breaks_harms_no_other(self, shell: list[str], fragment: str) -> None:
        found = run(probes({"before": "echo 1", "bad": fragment, "after": "echo 2"}), shell)
        assert (found["before"].out, found["after"].out) == (b"1\n", b"2\n")

    def test_variables_do_not_leak_into_the_next_fragment(self, shell: list[str]) -> None:
        found = run(probes({"a": "leak=1; s='x'; d=/nowhere", "b": 'echo "${leak-none}"'}), shell)
        assert found["b"].out == b"none\n"

    def test_variables_of_one_that_shares_a_shell_do_not_lead_the_others_answers_astray(self, shell: list[str]) -> None:
        found = run(
            probes({"a": Shared("d=/nowhere s=x n=7 r=9; echo a"), "b": Shared("echo b"), "c": "echo c"}), shell
        )
        assert [found[name].out for name in "abc"] == [b"a\n", b"b\n", b"c\n"]

    def test_an_answer_that_stops_before_the_last_fragment_is_refused(self, shell: list[str]) -> None:
        script = probes({"a": Shared("exit 0"), "b": Shared("echo b")}, lanes=1)
        with pytest.raises(ValueError, match="it stops before b"):
            run(script, shell)

    def test_bytes_come_back_as_they_are(self, shell: list[str]) -> None:
        assert run(probes({"a": "printf 'x\\000\\377\\n\\n'"}), shell)["a"].out == b"x\x00\xff\n\n"

    def test_an_output_is_cut_at_the_limit_and_the_others_are_whole(self, shell: list[str]) -> None:
        found = run(probes({"a": "yes | head -c 5000000", "b": "echo b"}), shell)
        assert len(found["a"].out) == LIMIT
        assert found["a"].rc
        assert found["b"].out == b"b\n"

    def test_fragments_share_a_directory_that_is_gone_afterwards(self, shell: list[str]) -> None:
        found = run(
            probes({"a": 'echo once >"$PROVISION_TMP/x"', "b": 'cat "$PROVISION_TMP/x"; echo "$PROVISION_TMP"'}), shell
        )
        once, folder = found["b"].lines
        assert once == "once"
        assert subprocess.run(["ls", folder], capture_output=True, check=False).returncode

    def test_nothing_can_be_read_from_standard_input(self, shell: list[str]) -> None:
        assert run(probes({"a": "cat; echo end"}), shell)["a"].out == b"end\n"

    def test_output_that_looks_like_a_frame_is_content(self, shell: list[str]) -> None:
        text = "printf '\\n%032d\\n0 0.o\\n' 7"
        assert run(probes({"a": text, "b": "echo b"}), shell)["b"].out == b"b\n"


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
class TestChain:
    def test_it_stops_at_the_first_failure(self, shell: list[str]) -> None:
        found = run(chain({"a": "echo a", "b": "echo no >&2; exit 10", "c": "echo c"}), shell)
        assert found == {"a": Section(0, b"a\n"), "b": Section(10, b"", b"no\n")}

    def test_long_output_comes_back_by_its_end(self, shell: list[str]) -> None:
        found = run(chain({"a": "yes | head -c 3000000; echo last"}), shell)
        assert found["a"].rc == 0
        assert len(found["a"].out) == 65536
        assert found["a"].out.endswith(b"last\n")

    def test_files_are_made_with_the_usual_mode(self, shell: list[str]) -> None:
        assert run(chain({"a": "umask"}), shell)["a"].text.strip() in ("0022", "022")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense",
        b"%s 0\n",
        b"%s 0\n3 0.o\n0 0.e\n\n%s\nab",
        b"%s 0 0 0\n1 0.o\n0 0.e\n\n%s\na",
        b"%s 0\n0 0.o\n%s\n",
    ],
)
def test_an_answer_that_is_not_framed_right_is_refused(answer: bytes) -> None:
    script = probes({"a": "true"})
    with pytest.raises(ValueError, match="answer"):
        script.parse(answer.replace(b"%s", script.nonce.encode()))


def test_two_scripts_have_different_nonces() -> None:
    assert probes({}).nonce != probes({}).nonce
