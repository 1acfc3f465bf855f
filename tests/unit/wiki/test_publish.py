"""Publishing a site: what arrives, what is sent again, what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.store import Store, open_store
from acdc_pipeline.store.errors import StoreError
from acdc_pipeline.wiki.build import build
from acdc_pipeline.wiki.output import BUILDING
from acdc_pipeline.wiki.publish import content
from acdc_pipeline.wiki.publish import publish as module
from acdc_pipeline.wiki.publish.git import GitTarget
from acdc_pipeline.wiki.publish.hosts import HOSTS
from acdc_pipeline.wiki.publish.publish import RECORD, publish
from acdc_pipeline.wiki.publish.targets import StorageTarget, Target, content_type
from tests import wiki_store
from tests.wiki_store import Shape

EXTRA = {".nojekyll", "404.html", "robots.txt", RECORD}
HIDDEN = {".acdc-wiki.json", ".acdc-wiki.cache", ".acdc-wiki.lock"}


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def site(tiny_site: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_site, tmp_path / "site"))


@pytest.fixture(scope="module")
def grown(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site after one more run."""
    tmp_path = tmp_path_factory.mktemp("grown")
    shutil.copytree(str(tiny_store.folder), tmp_path / "store")
    store = open_store(tmp_path / "store", mode="write")
    shape = Shape("zoo:attn-2l", 2, 2, 64, has_mlp=False)
    for record in wiki_store.records((shape,), ("ioi",), (0.003,)):
        store.commit(record)
    build(store, tmp_path / "grown", jobs=1)
    return tmp_path / "grown"


def test_a_folder_gets_the_build_and_what_hosts_need(site: Path, tmp_path: Path):
    out = tmp_path / "public"
    published = publish(site, StorageTarget(str(out)))
    built = {name: data for name, data in tree(site).items() if name not in HIDDEN}
    found = tree(out)
    assert set(found) == {*built, *EXTRA}
    assert {name for name in built if found[name] != built[name]} == set()
    assert published.files == len(found) - 1  # without the record
    again = publish(site, StorageTarget(str(out)))
    assert (again.written, again.removed) == ((), ())
    assert tree(out) == found


def test_a_dry_run_sends_nothing(site: Path, tmp_path: Path):
    planned = publish(site, StorageTarget(str(tmp_path / "public")), dry_run=True)
    assert not (tmp_path / "public").exists()
    assert publish(site, StorageTarget(str(tmp_path / "public"))).written == planned.written


def test_only_what_differs_is_sent_and_foreign_files_stay(site: Path, grown: Path, tmp_path: Path):
    target = StorageTarget(str(tmp_path / "public"))
    publish(site, target)
    (tmp_path / "public" / "CNAME").write_text("example.org")
    before, after = tree(site), tree(grown)
    sent = publish(grown, target)
    differ = {n for n, data in after.items() if before.get(n) != data and n not in HIDDEN}
    assert set(sent.written) == differ
    assert set(sent.removed) == {name for name in before if name not in after} - HIDDEN
    found = tree(tmp_path / "public")
    assert found.pop("CNAME") == b"example.org"
    assert {n: d for n, d in found.items() if n not in EXTRA} == {
        n: d for n, d in after.items() if n not in HIDDEN
    }


def test_an_interrupted_upload_goes_on_where_it_was(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_BATCH", 20)

    class Failing(StorageTarget):
        batches = 0

        def write(self, files: Any) -> None:
            if RECORD not in files:
                self.batches += 1
                if self.batches == 4:
                    raise OSError("gone")
            super().write(files)

    place = str(tmp_path / "public")
    with pytest.raises(OSError, match="gone"):
        publish(site, Failing(place))
    rest = publish(site, StorageTarget(place))
    assert len(rest.written) == rest.files - 3 * 20
    whole = tmp_path / "whole"
    publish(site, StorageTarget(str(whole)))
    assert tree(tmp_path / "public") == tree(whole)


def test_earlier_versions_keep_their_data(site: Path, grown: Path, tmp_path: Path):
    target = StorageTarget(str(tmp_path / "public"))
    old = publish(site, target, keep=2).version
    published = publish(grown, target, keep=2)
    assert published.kept == (old,)
    kept = tmp_path / "public" / "data" / "versions" / old
    for name in ("index.json", "zoo-attn-2l.json", "zoo-attn-2l.scores.parquet"):
        assert (kept / name).read_bytes() == (site / "data" / name).read_bytes()
    script = (tmp_path / "public" / "data" / "versions.js").read_text()
    document = json.loads(script.removeprefix('wikiData("versions",').removesuffix(");\n"))
    index = json.loads((site / "data" / "index.json").read_bytes())
    models = {each["slug"]: each["data_version"] for each in index["models"]}
    assert document["kept"] == [{"version": old, "models": models}]
    assert publish(grown, target, keep=2).written == ()
    assert publish(grown, target, keep=0).kept == ()
    assert not kept.exists()


def test_of_the_data_the_index_and_the_files_of_models_are_kept(site: Path):
    data = [path for path in tree(site) if path.startswith("data/")]
    models = [
        each["slug"] for each in json.loads((site / "data" / "index.json").read_bytes())["models"]
    ]
    endings = ("json", "scores.parquet", "edges.parquet")
    ours = {"data/index.json", *(f"data/{slug}.{end}" for slug in models for end in endings)}
    assert {path for path in data if content.archived_path("v", path)} == ours
    assert content.archived_path("v", "data/all.edges.12.parquet") is None
    # slugs may hold dots
    for name in ("all.scores.json", "all.x.scores.parquet", "search.x.json"):
        assert content.archived_path("v", f"data/{name}") == f"data/versions/v/{name}"


def test_an_address_makes_feeds_absolute_and_a_sitemap_of_every_page(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(content, "_SITEMAP_URLS", 10)
    url = "https://example.org/wiki/"
    publish(site, StorageTarget(str(tmp_path / "public")), url=url)
    found = tree(tmp_path / "public")
    space = {"s": "http://www.sitemaps.org/schemas/sitemap/0.9"}
    parts = [
        e.text for e in ElementTree.fromstring(found["sitemap.xml"]).findall(".//s:loc", space)
    ]
    pages = []
    for part in parts:
        root = ElementTree.fromstring(found[str(part).removeprefix(url)])
        pages += [str(e.text).removeprefix(url) for e in root.findall(".//s:loc", space)]
    assert sorted(pages) == sorted(name for name in tree(site) if name.endswith(".html"))
    assert json.loads(found["feed.json"])["items"][0]["url"].startswith(url)
    assert f"Sitemap: {url}sitemap.xml" in found["robots.txt"].decode()
    assert 'href="/wiki/index.html"' in found["404.html"].decode()


@pytest.mark.parametrize(
    ("host", "sizes", "said"),
    [
        ("github", {"a": 1} | dict.fromkeys("bcdefghijk", 10**8), "1,000,000,001 bytes, at most"),
        ("github", {"a": 100 * 2**20 + 1}, "a has 104,857,601 bytes"),
        ("cloudflare", {f"{i}": 1 for i in range(20_001)}, "20,001 files, at most 20,000"),
        ("cloudflare", {"data/x": 25 * 2**20 + 1}, "data/x has 26,214,401 bytes"),
        ("netlify", {f"m/{i}": 1 for i in range(54_001)}, "m has 54,001 files"),
    ],
)
def test_limits_of_hosts(host: str, sizes: dict[str, int], said: str):
    (problem,) = HOSTS[host].problems(sizes)
    assert said in problem[0]
    fewer = (
        dict(list(sizes.items())[1:]) if len(sizes) > 1 else {n: s - 1 for n, s in sizes.items()}
    )
    assert list(HOSTS[host].problems(fewer)) == []


def test_a_site_beyond_the_limits_of_its_host_is_not_sent(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tight = dict(HOSTS) | {"netlify": HOSTS["cloudflare"].__class__("Small", "docs", files=3)}
    monkeypatch.setattr(module, "HOSTS", tight)
    with pytest.raises(InvalidInput, match="at most 3"):
        publish(site, StorageTarget(str(tmp_path / "public")), host="netlify")
    assert not (tmp_path / "public").exists()


def test_places_with_other_files_and_incomplete_sites_are_refused(site: Path, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_text("x")
    with pytest.raises(InvalidInput, match="holds other files"):
        publish(site, StorageTarget(str(tmp_path / "mine")))
    (site / "about.html").unlink()
    with pytest.raises(InvalidInput, match=r"is incomplete: about\.html is missing"):
        publish(site, StorageTarget(str(tmp_path / "public")))
    killed = tmp_path / "killed"
    shutil.copytree(site, killed)
    (killed / BUILDING).touch()
    with pytest.raises(InvalidInput, match=rf"is incomplete: {re.escape(BUILDING)} is left"):
        publish(killed, StorageTarget(str(tmp_path / "c")))
    with pytest.raises(InvalidInput, match="holds no wiki"):
        publish(tmp_path / "mine", StorageTarget(str(tmp_path / "public")))
    with pytest.raises(InvalidInput, match="is a file"):
        StorageTarget(str(tmp_path / "mine" / "x"))
    with pytest.raises(StoreError, match="a wiki cannot be written to http://"):
        StorageTarget("http://localhost:1/x")


@pytest.mark.parametrize(
    ("name", "grows"),
    [("index.html", True), ("data/index.json", False), ("m/zoo-attn-2l/a0.h0.html", False)],
)
def test_a_file_that_was_changed_after_the_build_is_named_and_not_sent(
    site: Path, tiny_store: Store, tmp_path: Path, name: str, grows: bool
):
    built = (site / name).read_bytes()
    (site / name).write_bytes(b"x" * (len(built) + grows))
    public = StorageTarget(str(tmp_path / "public"))
    with pytest.raises(InvalidInput, match=f"{name} was changed after the build") as error:
        publish(site, public)
    assert not (tmp_path / "public").exists()
    assert f"delete {name}" in str(error.value)
    (site / name).unlink()
    build(tiny_store, site, jobs=1)
    publish(site, public)
    assert public.read(name) == built


def test_a_damaged_record_of_what_is_published_is_named(site: Path, tmp_path: Path):
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / RECORD).write_text("{")
    with pytest.raises(InvalidInput, match=f"{RECORD}, which says .* is damaged"):
        publish(site, StorageTarget(str(tmp_path / "public")))


@pytest.mark.parametrize(
    "url",
    [
        *("https://x y/", "https://x/\n", "https://x/\x7f", "https://x/a\xa0b/", "https://x/<a>/"),
        *("https://[x/", "https://x:port/", "https://:80/", "ftp://x/", "https://x/?q", "x"),
    ],
)
def test_what_is_no_address_of_a_site_is_refused(url: str):
    with pytest.raises(InvalidInput, match="is not the address of a site"):
        content.check_address(url)


def test_an_address_may_have_a_port_and_other_scripts():
    for url in ("http://localhost:8000/a", "https://[::1]/a", "https://exämple.org/ü%20"):
        assert content.check_address(url) == f"{url}/"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "config", "user.name", "A")
    git(folder, "config", "user.email", "a@example.org")
    (folder / "code.txt").write_text("code")
    git(folder, "add", "code.txt")
    git(folder, "commit", "-q", "-m", "code")
    return folder


def git(folder: Path, *command: str) -> str:
    return subprocess.run(
        ("git", *command), cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def test_a_branch_gets_commits_and_the_working_tree_nothing(
    site: Path, grown: Path, repository: Path, tmp_path: Path
):
    publish(site, GitTarget("gh-pages", repository))
    published = publish(grown, GitTarget("gh-pages", repository), keep=1)
    assert len(published.kept) == 1
    assert publish(grown, GitTarget("gh-pages", repository), keep=1).written == ()
    assert git(repository, "rev-list", "--count", "gh-pages").strip() == "2"
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "branch", "--show-current").strip() == "main"
    assert git(repository, "fsck", "--strict").strip() == ""
    git(repository, "worktree", "add", "-q", str(tmp_path / "checked"), "gh-pages")
    checked = {n: d for n, d in tree(tmp_path / "checked").items() if n != ".git"}
    publish(site, StorageTarget(str(tmp_path / "public")), keep=1)
    publish(grown, StorageTarget(str(tmp_path / "public")), keep=1)
    assert checked == tree(tmp_path / "public")
    with pytest.raises(InvalidInput, match="'gh-pages' is checked out"):
        GitTarget("gh-pages", repository)


def test_an_interrupted_commit_leaves_the_branch_as_it_was(
    site: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
):
    target = GitTarget("gh-pages", repository)
    monkeypatch.setattr(target, "remove", lambda paths: (_ for _ in ()).throw(OSError("gone")))
    with pytest.raises(OSError, match="gone"):
        publish(site, target)
    assert git(repository, "branch", "--list", "gh-pages") == ""


def test_a_branch_of_other_things_is_refused(site: Path, repository: Path, tmp_path: Path):
    git(repository, "branch", "other")
    with pytest.raises(InvalidInput, match="holds other files"):
        publish(site, GitTarget("other", repository))
    git(repository, "switch", "-q", "other")  # `@{-1}` is main
    for name in ("a..b", "@{-1}", "-x", "", "a b", "refs/heads/q", "refs/x"):
        with pytest.raises(InvalidInput, match="is not a name of a branch") as error:
            GitTarget(name, repository)
    assert "--git gh-pages" in str(error.value)
    with pytest.raises(InvalidInput, match="--git q"):
        GitTarget("refs/heads/q", repository)
    with pytest.raises(InvalidInput, match="in no git repository"):
        GitTarget("gh-pages", tmp_path)


def test_an_object_store_is_sent_only_what_differs(site: Path, grown: Path):
    target: Target = StorageTarget("memory://wiki-publish/site")
    publish(site, target)
    sent = publish(grown, StorageTarget("memory://wiki-publish/site"))
    assert 0 < len(sent.written) < sent.files
    read = StorageTarget("memory://wiki-publish/site").read
    assert read("index.html") == (grown / "index.html").read_bytes()
    assert publish(grown, StorageTarget("memory://wiki-publish/site")).written == ()


def test_objects_have_the_types_that_browsers_need():
    types = {name: content_type(name) for name in ("a.html", "b.js", "c.css", "d.svg", "e.json")}
    assert types["a.html"] == "text/html; charset=utf-8"
    assert types["b.js"].startswith("text/javascript")
    assert types["d.svg"] == "image/svg+xml"
    assert content_type("x.scores.parquet") == "application/vnd.apache.parquet"
    assert content_type(".nojekyll") == "application/octet-stream"
