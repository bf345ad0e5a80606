import functools
import hashlib
import http.server
import socket
import threading
import time
import urllib.request

import pooch
import pytest

from neurolens.datasets.cards import Registry, RemoteFile
from neurolens.datasets.files import obtain_files
from neurolens.errors import StoreError

CONTENTS = {"a.mat": b"first file", "b.mat": b"second file" * 1000}
FILES = tuple(
    RemoteFile(name, len(content), hashlib.sha256(content).hexdigest()) for name, content in CONTENTS.items()
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def origin(tmp_path):
    """A server on this machine with the layout of a repository's raw files."""
    folder = tmp_path / "server" / "owner" / "repository" / "commit" / "data"
    fill(folder)
    handler = functools.partial(Quiet, directory=str(tmp_path / "server"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/owner/repository/commit/data/"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The cache of the operating system, and no folder of data."""
    monkeypatch.delenv("NEUROLENS_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache" / "neurolens"


def fill(folder):
    folder.mkdir(parents=True)
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)


def obtain(*origins, data_home=None, download=True, timeout=5.0):
    return obtain_files(
        "some", Registry(origins, FILES), data_home=data_home, download=download, timeout=timeout
    )


def assert_complete(folder):
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENTS


def test_files_are_downloaded_into_the_cache_once(origin, cache):
    folder, how = obtain(origin)
    assert folder == cache / "some"
    assert_complete(folder)
    assert how.startswith(f"downloaded from {origin}")
    assert obtain("http://127.0.0.1:9/")[1] == f"read from {folder}"


def test_files_are_downloaded_into_data_home(origin, cache, tmp_path):
    folder, _ = obtain(origin, data_home=tmp_path / "mine")
    assert folder == tmp_path / "mine" / "some"
    assert_complete(folder)
    assert not cache.exists()


def test_the_folder_of_the_variable_is_read_and_never_written(origin, tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROLENS_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    assert obtain(origin)[0] != tmp_path / "data" / "some"
    assert list((tmp_path / "data").iterdir()) == []
    fill(tmp_path / "data" / "some")
    assert obtain("http://127.0.0.1:9/") == (
        tmp_path / "data" / "some",
        f"read from {tmp_path / 'data' / 'some'}",
    )


def test_an_origin_that_lacks_the_files_is_passed_over(origin):
    assert origin in obtain(origin.replace("commit", "elsewhere"), origin)[1]


def test_what_does_not_match_its_checksum_is_refused(origin, cache, tmp_path):
    (tmp_path / "server/owner/repository/commit/data/b.mat").write_bytes(b"something else")
    with pytest.raises(
        StoreError, match=r"download from .* failed: SHA256 hash of downloaded file \(b\.mat\)"
    ):
        obtain(origin)
    assert not (cache / "some" / "b.mat").exists()


def test_a_local_file_of_other_content_is_named(tmp_path):
    fill(tmp_path / "some")
    (tmp_path / "some" / "b.mat").write_bytes(b"cut")
    with pytest.raises(StoreError, match=r"b\.mat \(3 bytes.*is not the registered file \(11000 bytes"):
        obtain("http://127.0.0.1:9/", data_home=tmp_path)


def test_without_download_the_error_tells_how_to_get_the_files_by_hand(origin, tmp_path):
    with pytest.raises(StoreError) as caught:
        obtain(origin, data_home=tmp_path / "mine", download=False)
    for part in ("download=False", "a.mat, b.mat", origin, str(tmp_path / "mine" / "some"), "NEUROLENS_DATA"):
        assert part in str(caught.value)


def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_no_network_is_an_error_at_once():
    with pytest.raises(StoreError, match="no origin answered within 5 s"):
        obtain(f"http://127.0.0.1:{closed_port()}/")


def test_origins_that_never_answer_cost_one_timeout_together():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        origin = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        start = time.monotonic()
        with pytest.raises(StoreError, match="no origin answered"):
            obtain(origin, origin + "b/", origin + "c/", timeout=0.5)
        assert time.monotonic() - start < 1.4


def test_a_name_server_that_hangs_does_not_prolong_the_wait(monkeypatch):
    release = threading.Event()

    def hang(*_, **__):
        release.wait()
        raise OSError

    monkeypatch.setattr(urllib.request, "urlopen", hang)
    start = time.monotonic()
    with pytest.raises(StoreError, match="no origin answered"):
        obtain("http://127.0.0.1:9/", timeout=0.3)
    assert time.monotonic() - start < 1.5
    release.set()
