"""The page: everything is in it, escaped, and it needs nothing beside it."""

import json
import shutil
from html.parser import HTMLParser

import made_ledgers
import programs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, refuses
from made_ledgers import TWO, answered, write_run
from scored import recorded_again

from ser.common import InputError
from ser.findings.design import Design
from ser.findings.html import write_report
from ser.findings.html.runs import CellCurves
from ser.findings.ledger import build_ledger
from ser.findings.ledger.load import load_ledger
from ser.findings.report.results import Results
from ser.findings.report.write import write_findings

pytestmark = pytest.mark.slow

SCRIPT, LABEL = "<script>", "a&b"
VOID = {"meta", "br", "link", "img", "circle", "line", "polyline", "colgroup"}
FACTORS = ("task", "temporal", "pooling")
SECTIONS = [*(f"table{i}" for i in range(1, 6)), "effects", "transfer", "budgets", "variance", "negative_control"]
SECTIONS += ["confusions", "cells", "curves", "status", "reading", "settings"]


def made_findings(root):
    """A ledger of two corpora with bad names, two folds and two seeds, and its findings; returns the findings."""
    corpora = ["tess", SCRIPT]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made_ledgers, "CLASSES", [LABEL, "happy", "neutral", "sad"])
        for names in ([SCRIPT], corpora):
            for i, configuration in enumerate(TWO.configurations):
                for fold in (1, 2):
                    for seed in (0, 1):
                        speakers = [f"a{fold}", f"b{fold}"]
                        wrong = [f"{SCRIPT}_a{fold}-sad-{(i + seed) % 3}", *([f"a{fold}"] if len(names) == 1 else [])]
                        tested = {SCRIPT: answered(SCRIPT, speakers, wrong, per_class=3)}
                        write_run(root / "exp", names, configuration, fold, seed, tested)
    build_ledger([root / "exp"], root / "ledger", corpora, "steps/ledger.py <b>")
    ledger, design = load_ledger(root / "ledger", Design(tuple(corpora), *(getattr(TWO, f) for f in FACTORS)), {})
    write_findings(Results(ledger, design, "steps/findings.py 'x' & <i>", 100), root / "findings")
    return root / "findings"


def listed_states(path):
    """A file of the states of three experiments."""
    base = {"combination": SCRIPT, "task": "multi", "temporal": "lstm", "pooling": "mu", "seed": 0}
    rows = [{**base, "fold": fold, "state": state} for fold, state in ((1, "done"), (2, "failed"), (3, "missing"))]
    rows[1] |= {"reason": "no <memory>", "log": "train.log"}
    path.write_text(json.dumps({"experiments": rows}))
    return path


def made_page(root):
    """A page with all of its parts."""
    out = root / "report" / "index.html"
    write_report(made_findings(root), out, grid_status=listed_states(root / "status.json"))
    return out


class Parsed(HTMLParser):
    """Elements with their attributes, text, and whether every tag is closed in its order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        self.texts.append(data.strip())

    def ids(self):
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    made_page(root)
    return root


@pytest.fixture(scope="module")
def text(root):
    return (root / "report" / "index.html").read_text()


@pytest.fixture(scope="module")
def parsed(text):
    return Parsed(text)


def test_it_is_well_formed_and_every_section_is_in_the_contents(parsed):
    assert parsed.open == []
    assert parsed.ids() == SECTIONS
    links = [attributes["href"] for tag, attributes in parsed.elements if tag == "a"]
    assert links == [f"#{name}" for name in SECTIONS]
    metas = {attributes.get("name"): attributes.get("content") for tag, attributes in parsed.elements if tag == "meta"}
    assert metas["viewport"] == "width=device-width, initial-scale=1"


def test_it_has_no_script_and_needs_nothing_else(parsed, text):
    tags = {tag for tag, _ in parsed.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "image", "use", "base"}
    attributes = [(name, value or "") for _, found in parsed.elements for name, value in found.items()]
    assert not [name for name, _ in attributes if name.startswith("on") or name in ("src", "srcset", "xlink:href")]
    assert not [value for _, value in attributes if "javascript:" in value or "url(" in value]
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_names_and_labels_are_escaped(parsed, text):
    assert "<script" not in text.lower()
    assert text.count("&lt;script&gt;") > 100
    assert "a&amp;b" in text
    assert "a&b" not in text
    for word in (SCRIPT, LABEL, f"tess_{SCRIPT}", "no <memory>", "steps/findings.py 'x' & <i>", "steps/ledger.py <b>"):
        assert word in parsed.texts, word
    aria = [attributes["aria-label"] for _, attributes in parsed.elements if "aria-label" in attributes]
    assert f"loss by epoch, {SCRIPT} multi lstm mu" in aria


def section(text, name):
    return text.partition(f'<h2 id="{name}">')[2].partition("<h2 ")[0]


def rows(text):
    """Texts of the fields of the rows of the bodies of tables."""
    found = []
    for part in text.split("<tbody>")[1:]:
        for row in part.partition("</tbody>")[0].split("<tr>")[1:]:
            found.append([word for word in Parsed(row.partition("</tr>")[0]).texts if word])
    return found


def test_every_table_has_its_rows_with_interval_chance_and_p_best(root, text):
    findings = json.loads((root / "findings" / "findings.json").read_text())
    counts = {name: len(rows(section(text, name))) for name in SECTIONS}
    by_metric = {name: len(findings[name]["records"]) // 2 for name in ("table3", "table4", "table5", "effects")}
    assert {name: counts[name] for name in by_metric} == by_metric
    assert by_metric["table3"] == 12
    assert (counts["table1"], counts["table2"], counts["negative_control"]) == (2, 2, 2)
    assert counts["variance"] == len(findings["variance"]["records"])
    assert counts["transfer"] == 2 * 4
    assert counts["cells"] == 24
    for name in ("table3", "table4", "table5"):
        assert all(head in section(text, name) for head in ("chance %", "best %", "UA %", "95 %"))
    (multi,) = (r for r in findings["table4"]["records"] if (r["level"], r["metric"]) == ("multi", "ua"))
    row = next(r for r in rows(section(text, "table4")) if r[1] == "multi")
    interval = f"{100 * multi['low']:.1f} to {100 * multi['high']:.1f}"
    assert row[-5:] == [
        f"{multi['wins']:.3g} of 2",
        f"{100 * multi['share']:.1f}",
        interval,
        f"{100 * multi['p_best']:.1f}",
        "50.0",
    ]
    drawings = {name: section(text, name).count('class="span"') for name in SECTIONS}
    assert [drawings[name] for name in ("table2", "table3", "effects")] == [6, 24, 2 * counts["effects"]]


def test_figures_are_those_of_the_findings(text):
    """With tess one answer a fold is wrong: 46 of 48 are right, two of the sad taken for the first class."""
    (wa, ua) = rows(section(text, "table2"))
    assert wa[:3] == [SCRIPT, "WA", "95.8"]
    assert ua[:3] == [SCRIPT, "UA", "95.8"]
    matrix = next(r for r in rows(section(text, "confusions")) if r[0] == "sad")
    assert matrix == ["sad", "17", "2", "0", "0", "0", "0", "83", "10", "12"]


def test_curves_show_every_cell(text):
    part = section(text, "curves")
    assert part.count('class="chart"') == 2 * 24
    assert part.count("4 runs, best checkpoint of epoch 2") == 24
    # of two corpora: two losses each, and two lines of UA, in a panel
    assert part.count("<polyline") == 12 * 3 + 12 * 6


def test_settings_and_hashes_are_there(root, parsed, text):
    findings = json.loads((root / "findings" / "findings.json").read_text())
    assert findings["origin"]["settings"] in parsed.texts
    assert f"{SCRIPT}=protocol" in parsed.texts
    settings = dict(r for r in rows(section(text, "settings")) if len(r) == 2)
    assert settings["training.patience"] == "20"
    assert settings["code, revision"] == "abc"
    assert "Varied: corpora, fold, seed, task, temporal, pooling." in parsed.texts


def test_states_are_shown_and_failures_named(parsed, text):
    assert any("1 done, 0 running, 1 failed, 1 missing." in " ".join(t.split()) for t in parsed.texts)
    table, failed = rows(section(text, "status"))
    assert table == [SCRIPT, "1 done", "1 failed", "1 missing"]
    assert failed == [f"{SCRIPT}/multi_lstm_mu/fold2_seed0", "no <memory>", "train.log"]


def test_the_same_input_gives_the_same_bytes(root, tmp_path):
    write_report(root / "findings", tmp_path / "again.html", root / "ledger", root / "status.json")
    assert (tmp_path / "again.html").read_bytes() == (root / "report" / "index.html").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.html"]


def test_what_is_absent_is_noted(root, tmp_path):
    (tmp_path / "findings").mkdir()
    (tmp_path / "findings" / "findings.json").write_bytes((root / "findings" / "findings.json").read_bytes())
    made = programs.run(ROOT / "steps" / "report.py", tmp_path / "findings")
    out = tmp_path / "report" / "index.html"
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.startswith(f"{out}: ")
    texts = Parsed(out.read_text()).texts
    assert "Not shown: no ledger was given, or none of its runs has curves." in texts
    assert "Settings are not shown: no ledger was given." in texts
    assert "Not known: the page was made without" in texts


def test_findings_of_another_form_are_refused(root, tmp_path):
    findings = json.loads((root / "findings" / "findings.json").read_text())
    del findings["table3"]["rows"]
    (tmp_path / "findings.json").write_text(json.dumps(findings))
    with refuses("changed since it was written", where="findings.json"):
        write_report(tmp_path, tmp_path / "out.html", root / "ledger")
    recorded_again(tmp_path / "findings.json")
    with refuses("not as steps/findings.py writes it (KeyError: 'rows')"):
        write_report(tmp_path, tmp_path / "out.html", root / "ledger")
    assert not (tmp_path / "out.html").exists()


def test_tables_that_cannot_be_computed_say_why(root, tmp_path):
    findings = json.loads((root / "findings" / "findings.json").read_text())
    for name in ("table5", "effects", "transfer", "variance", "negative_control"):
        findings[name] |= {"records": [], "rows": [], "notes": [f"Cannot be computed: no {name}."]}
    (tmp_path / "findings.json").write_text(json.dumps(findings))
    recorded_again(tmp_path / "findings.json")
    write_report(tmp_path, tmp_path / "out.html", root / "ledger")
    texts = Parsed((tmp_path / "out.html").read_text()).texts
    assert all(f"Cannot be computed: no {name}." in texts for name in ("table5", "effects", "transfer", "variance"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("findings/findings.json", None, "holds no findings.json; give the folder that steps/findings.py wrote"),
        ("findings/findings.json", '{"command": ""}', "lacks ledger; run steps/findings.py again"),
        ("ledger/runs.parquet", None, "no such file; run steps/ledger.py again"),
        ("ledger/runs.parquet", "", "runs.parquet: changed since it was written; run steps/ledger.py again"),
        ("ledger/ledger.json", "{}", "command is missing; run steps/ledger.py again"),
        ("status.json", "[]", "no states of experiments"),
        ("status.json", '{"experiments": [{}]}', "experiments[0].combination is missing"),
        ("status.json", None, "no such file"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_page(root, tmp_path, one_line, name, content, message):
    for known in ("findings/findings.json", "ledger/ledger.json", "ledger/runs.parquet", "status.json"):
        path = tmp_path / known
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((root / known).read_bytes())
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_text(content)
    options = ["--grid-status", tmp_path / "status.json"]
    made = programs.run(ROOT / "steps" / "report.py", tmp_path / "findings", *options)
    assert message in one_line(made)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("curves", '[{"epoch": 1', "Expecting"),
        ("curves", '[{"epoch": 1}]', r"curves\[0\].corpus is missing"),
        ("configuration", "[]", "configuration = .*, expected an object"),
        ("task", "another", "no run of these findings"),
    ],
)
def test_a_damaged_run_is_named(root, tmp_path, column, value, message):
    table = pq.read_table(root / "ledger" / "runs.parquet")
    rows = [{**row, column: value} for row in table.to_pylist()]
    shutil.copytree(root / "ledger", tmp_path / "ledger")
    pq.write_table(pa.Table.from_pylist(rows, table.schema), tmp_path / "ledger" / "runs.parquet")
    recorded_again(tmp_path / "ledger" / "ledger.json")
    with pytest.raises(InputError, match=f"runs.parquet: .*{message}.*steps/"):
        write_report(root / "findings", tmp_path / "out.html", tmp_path / "ledger")


def test_curves_are_means_of_the_runs_that_still_train():
    def curves(*runs):
        found = CellCurves(["r"])
        for losses in runs:
            empty = {"corpus": "r", "valid_loss": None, "valid_ua": None}
            found.add([{"epoch": i, "train_loss": loss, **empty} for i, loss in enumerate(losses, 1)], 2)
        return found

    two = curves([4, 2], [2, 1, 3])
    assert two.means == {("r", "train_loss"): [(1, 3), (2, 1.5), (3, 3)]}
    assert (two.best_epochs, two.last) == ([2, 2], 3)
    line = curves(range(300)).means["r", "train_loss"]
    assert (len(line), line[0], line[1], line[-1]) == (101, (1, 0), (4, 3), (300, 299))
    assert curves([5]).means == {("r", "train_loss"): [(1, 5)]}
