"""Model packages made ready for a hub, and fetched from one: a server on this machine that answers as the hub does."""

import hashlib
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import programs
import pytest
import yaml
from conftest import refuses

from ser.cli import main
from ser.inference.model import open_model, verify_checksums, write_sums

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "lab/ser-one"


@pytest.fixture
def published(packed, tmp_path):
    assert main(["publish", str(packed), str(tmp_path / "ready"), "--name", NAME]) == 0
    return tmp_path / "ready"


@pytest.fixture
def hub(published):
    """The address of a hub that has the package in one revision, which is the newest."""

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith(f"/api/models/{NAME}"):
                if "/revision/" in self.path and self.path.rpartition("/")[2] not in ("main", COMMIT):
                    return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                if "/tree/" in self.path:
                    sizes = {path.name: path.stat().st_size for path in published.iterdir()}
                    entries = [{"type": "file", "path": n, "size": size, "oid": "0"} for n, size in sizes.items()]
                    return self.answer(200, json.dumps(entries).encode(), {"Content-Type": "application/json"})
                files = [{"rfilename": path.name} for path in sorted(published.iterdir())]
                body = json.dumps({"id": NAME, "sha": COMMIT, "siblings": files}).encode()
                return self.answer(200, body, {"Content-Type": "application/json"})
            prefix = f"/{NAME}/resolve/{COMMIT}/"
            if self.path.startswith(prefix) and (path := published / self.path.removeprefix(prefix)).is_file():
                body = path.read_bytes()
                tag = hashlib.sha256(body).hexdigest()
                return self.answer(200, body, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})
            return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

        do_HEAD = do_GET

        def answer(self, status, body, headers):
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def predict(model, file, hub, home):
    return programs.run("-m", "ser", "predict", model, file, "--format", "jsonl", HF_ENDPOINT=hub, HF_HOME=str(home))


def test_a_published_package_is_whole_and_has_a_card_for_a_hub(packed, published):
    verify_checksums(published)
    assert open_model(published).heads == open_model(packed).heads
    text = (published / "README.md").read_text()
    values = yaml.safe_load(text.split("---\n")[1])
    assert (values["library_name"], values["pipeline_tag"]) == ("ser", "audio-classification")
    metrics = json.loads((published / "model.json").read_text())["metrics"]["test"]
    index = values["model-index"][0]
    assert {r["dataset"]["type"]: r["metrics"][0]["value"] for r in index["results"]} == {
        corpus: scores["ua"] for corpus, scores in metrics.items()
    }
    assert f"ser predict {NAME} some.wav" in text
    assert not (packed / "README.md").read_text().startswith("---")


@pytest.mark.slow
def test_a_package_is_fetched_once_by_name_and_revision_and_answers_as_the_folder_does(
    made, packed, published, hub, tmp_path
):
    pytest.importorskip("huggingface_hub")
    file = min((made.root / "one").glob("one1_*.wav"))
    here = predict(str(packed), file, hub, tmp_path / "none")
    assert here.returncode == 0, here.stderr
    pinned = predict(f"{NAME}@{COMMIT}", file, hub, tmp_path / "home")
    assert pinned.returncode == 0, pinned.stderr
    assert pinned.stdout == here.stdout
    (published / "model.safetensors").rename(tmp_path / "moved")  # what has been fetched is not fetched again
    newest = predict(NAME, file, hub, tmp_path / "home")
    assert newest.returncode == 0, newest.stderr
    assert f"{NAME}@{COMMIT}: the newest revision" in newest.stderr + newest.stdout
    for model in ("lab/none", f"{NAME}@{'f' * 40}"):
        refused = predict(model, file, hub, tmp_path / "home")
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"error: {model}: no such folder, and no model that can be fetched")
        assert refused.stderr.count("\n") == 1


def test_a_hub_that_cannot_be_reached_is_one_line(made, tmp_path):
    done = predict("models/nope", min((made.root / "one").glob("one1_*.wav")), "http://127.0.0.1:9", tmp_path / "home")
    assert done.returncode == 1
    assert done.stderr.startswith("error: models/nope: no such folder, and no model that can be fetched from the hub (")
    assert done.stderr.count("\n") == 1


def test_checksums_of_a_published_package_are_of_all_that_it_had(packed, tmp_path):
    own = shutil.copytree(packed, tmp_path / "own")
    (own / "check.md").write_text("measured")
    write_sums(own, "check.md")
    assert main(["publish", str(own), str(tmp_path / "ready"), "--name", NAME]) == 0
    (tmp_path / "ready" / "check.md").write_text("changed")
    with refuses("not the file that was packed", where="check.md"):
        open_model(tmp_path / "ready")


def test_what_cannot_be_published(packed, tmp_path, capsys):
    for arguments, text in (
        ([packed, tmp_path / "a", "--name", "no slash"], "--name no slash: <owner>/<name>"),
        ([tmp_path / "none", tmp_path / "a", "--name", NAME], "no such folder"),
        ([packed, tmp_path, "--name", NAME], "there already"),
        ([packed, packed / "a", "--name", NAME], "would be written over files of the model"),
        ([packed, tmp_path / "a", "--name", "../a"], "--name ../a: <owner>/<name>"),
    ):
        assert main(["publish", *map(str, arguments)]) == 1
        assert text in capsys.readouterr().err
