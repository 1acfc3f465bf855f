"""A branch of a git repository as the place of a site; no working tree is touched."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from acdc_pipeline.errors import ExecutionFailed, InvalidInput
from acdc_pipeline.wiki.publish.targets import Target


class GitTarget(Target):
    """A branch, new or with a site on it; what is written becomes one commit (`git fast-import`).

    Args:
        folder: any folder inside the repository.

    Raises:
        InvalidInput: no repository is there, the name is none of a branch, or the branch is checked
            out.
    """

    is_atomic = True

    def __init__(self, branch: str, folder: Path) -> None:
        self.folder, self.branch = folder, branch
        self.ref = f"refs/heads/{branch}"
        self.where = f"branch {branch}"
        self._import: subprocess.Popen[bytes] | None = None
        if self._ask("rev-parse", "--git-dir") is None:
            raise InvalidInput("is in no git repository", where=str(folder), field="git")
        # what git prints is another name for `@{-1}`, the branch before this one
        name = self._ask("check-ref-format", "--branch", branch)
        is_other = name is None or not branch.isprintable() or name.strip() != branch.encode()
        if is_other or branch.startswith("refs/"):
            short = branch.removeprefix("refs/heads/")
            fix = f"--git {short}" if short not in ("", branch) else "--git gh-pages"
            raise InvalidInput(
                f"'{branch}' is not a name of a branch",
                field="git",
                fix=f"give the name alone: {fix}",
            )
        trees = (self._ask("worktree", "list", "--porcelain") or b"").splitlines()
        if f"branch {self.ref}".encode() in trees:
            raise InvalidInput(
                f"'{branch}' is checked out",
                field="git",
                fix="name another branch, or check out another one: git switch main",
            )
        head = self._ask("rev-parse", "--verify", "--quiet", self.ref)
        self.head = None if head is None else head.decode("ascii").strip()

    def sizes(self) -> Mapping[str, int]:
        if self.head is None:
            return {}
        listed = self._run("ls-tree", "-r", "-l", "-z", self.head)
        entries = (entry.split(b"\t", 1) for entry in listed.split(b"\0") if entry)
        return {
            path.decode("utf-8", "surrogateescape"): int(about.split()[3])
            for about, path in entries
            if about.split()[1] == b"blob"
        }

    def read(self, path: str) -> bytes | None:
        return None if self.head is None else self._ask("cat-file", "blob", f"{self.head}:{path}")

    def write(self, files: Mapping[str, bytes]) -> None:
        for path, content in files.items():
            self._say(b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(content), content))

    def remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._say(b"D %s\n" % path.encode())

    @contextmanager
    def writing(self, message: str) -> Iterator[None]:
        who = self._ask("var", "GIT_COMMITTER_IDENT")
        if who is None:
            raise InvalidInput(
                "git does not know who commits",
                field="git",
                fix="git config user.name NAME; git config user.email ADDRESS",
            )
        command = ("git", "fast-import", "--quiet", "--date-format=raw", "--done")
        running = subprocess.Popen(
            command, cwd=self.folder, stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._import = running
        text, start = (
            message.encode(),
            b"" if self.head is None else b"from %s\n" % self.head.encode(),
        )
        try:
            self._say(b"commit %s\ncommitter %s\n" % (self.ref.encode(), who.strip()))
            self._say(b"data %d\n%s\n%s" % (len(text), text, start))
            yield
            self._say(b"done\n")
        except BrokenPipeError:
            pass  # git says why
        except BaseException:  # without its last word, git leaves the branch as it was
            running.kill()
            raise
        finally:
            _, said = running.communicate()
            self._import = None
        if running.returncode:
            raise _failed("fast-import", said, self.where)

    def _say(self, command: bytes) -> None:
        assert self._import is not None
        assert self._import.stdin is not None
        self._import.stdin.write(command)

    def _ask(self, *command: str) -> bytes | None:
        """Return what a command prints; None if it fails."""
        done = self._start(command)
        return done.stdout if done.returncode == 0 else None

    def _run(self, *command: str) -> bytes:
        done = self._start(command)
        if done.returncode:
            raise _failed(command[0], done.stderr, self.where)
        return done.stdout

    def _start(self, command: Iterable[str]) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                ("git", *command), cwd=self.folder, capture_output=True, check=False
            )
        except FileNotFoundError:
            raise InvalidInput("git is not installed", field="git", fix="install git") from None


def _failed(command: str, said: bytes, where: str) -> ExecutionFailed:
    lines = said.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
    return ExecutionFailed(f"git {command} failed: {lines[0]}", where=where)
