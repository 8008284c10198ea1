"""The comparison: completions of the runtime, tables and sentences about results, and the page they are written to."""

import json
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

from training.evaluation import compare
from training.evaluation.compare import Setting, as_completion, parse_shares, run_systems, score_task, settings_of
from training.evaluation.comparison_figures import draw_canvas, draw_confidence, draw_quality
from training.evaluation.comparison_report import (
    curve_table,
    edits_table,
    few_table,
    given_table,
    parts_of,
    verdicts,
    write_into,
)
from training.evaluation.fim_baseline import fim_prompt
from training.evaluation.infilling_tasks import MORE_TASKS, Example, draw_examples
from training.evaluation.parses import has_grammar, parses
from training.evaluation.sampler import SERVICE, Context, prompt_ids
from training.evaluation.scores import Completion
from training.export.weights import read_quantized
from training.model.config import SpecialTokens
from training.model.tokenizer import load_tokenizer
from training.tests.made_up import readable_code

NANO = Path("models/nano")
EXAMPLES = [
    Example("import { readFile } from 'node:fs';\n\nconst first = ", "readFile", "(1);\nconst second = readFile(2);\n"),
    Example("for (let index = 0; index < ", "count", "; index++) {\n  total += index;\n}\n"),
]
CONTINUATION = Example("function add(a, b) {\n  return ", "a + b;", "")


@pytest.fixture(scope="module")
def runtime():
    """Needs Node's packages and the kernels: .ci/run builds both first."""
    if not (compare.ROOT / "build/kernels.simd.wasm").exists():
        pytest.skip("npm ci && npm run build:kernels first")


def run(examples: list[Example], settings: list[Setting], line: bool = False, shown: str = "") -> list[list[dict]]:
    with tqdm(disable=True) as bar:
        return run_systems(examples, line, settings, NANO, NANO, bar, shown)


def test_every_setting_is_honoured_and_its_work_counted(runtime):
    settings = [
        Setting("diffusion", "diffusion", "thresholds"),
        Setting("one step", "diffusion", "budgets", {"maxSteps": 1}),
        Setting("wide", "diffusion", "widths", {"canvasWidth": 32, "maxSteps": 1}),
        Setting("slow", "diffusion", "thresholds", {"revealThreshold": 1, "editThreshold": 1}),
        Setting("ar", "ar", "ar"),
    ]
    width = SERVICE.width(read_quantized(NANO).config, compare.MAX_TOKENS)
    found = run(EXAMPLES, settings, shown="diffusion")
    assert [[record["setting"] for record in of_example] for of_example in found] == [[0, 1, 2, 3, 4]] * 2
    for example, (default, one, wide, slow, ar) in zip(EXAMPLES, found):
        assert len(default["frames"]) == default["steps"]
        assert "frames" not in one
        assert (one["steps"], one["slotEvaluations"]) == (1, width)
        assert (wide["steps"], wide["slotEvaluations"]) == (1, 32)
        assert slow["steps"] >= default["steps"]
        # a decoder that cannot see the suffix is told the length
        length = len(load_tokenizer(str(NANO / "tokenizer.json")).encode(example.middle).ids)
        assert ar["steps"] == ar["slotEvaluations"] == ar["tokens"] == length
        assert all(record["decodeMs"] > 0 and record["promptMs"] > 0 for record in (default, one, wide, slow, ar))


def test_a_continuation_ends_with_its_line_whoever_writes_it(runtime):
    settings = [
        Setting("diffusion", "diffusion", "thresholds"),
        Setting("ar", "ar", "ar"),
        Setting("fim", "fim", "fim"),
    ]
    ((diffusion, ar, fim),) = run([CONTINUATION], settings, line=True)
    assert not any("\n" in record["text"] for record in (diffusion, ar, fim))
    # without a suffix the fill-in-the-middle model is a plain one
    assert (fim["text"], fim["steps"]) == (ar["text"], ar["steps"])


def test_the_fill_in_the_middle_model_is_asked_as_it_was_trained(runtime):
    """Compares prompt and end of the runtime with those of training. Any weights do; these are nano's."""
    tokenizer = load_tokenizer(str(NANO / "tokenizer.json"))
    model, special = read_quantized(NANO), SpecialTokens.of(tokenizer)
    found = run(EXAMPLES, [Setting("fim", "fim", "fim")])
    for example, (record,) in zip(EXAMPLES, found):
        left, right = prompt_ids(example.prefix, example.suffix, tokenizer, special, model.config)
        prompt = fim_prompt(torch.tensor(left[1:]), torch.tensor(right[:0:-1]), special)
        length = len(tokenizer.encode(example.middle, add_special_tokens=False).ids)
        ids: list[int] = []
        with torch.no_grad():
            context = Context(model, 1)
            context.extend(prompt.tolist())
            while len(ids) < length:
                logits = model.logits(context.last_hidden).clone()
                logits[list(vars(special).values())] = -torch.inf
                ids.append(int(logits.argmax()))
                context.extend(ids[-1:])
        assert record["text"] == tokenizer.decode(ids, skip_special_tokens=False)


def test_a_run_that_fails_is_an_error(runtime, tmp_path):
    with tqdm(disable=True) as bar, pytest.raises(RuntimeError, match=r"bench/quality/systems.ts ended with 1"):
        run_systems(EXAMPLES, False, [Setting("ar", "ar", "ar")], tmp_path, None, bar)


@pytest.mark.parametrize("task", MORE_TASKS)
def test_more_tasks_are_cut_as_their_names_say(task):
    texts = [readable_code(seed, 20) for seed in range(3)]
    for example in draw_examples([texts], task, 30, seed=1):
        if task == "continuation":
            assert example.suffix == ""
            assert "\n" not in example.middle
            assert any(text.startswith(example.prefix + example.middle) for text in texts)
        else:
            assert "\n" in example.middle
            assert example.prefix + example.middle + example.suffix in texts


def test_syntax_is_judged_by_the_language_of_the_file():
    assert parses("const a = 1;", ".js")
    assert not parses("const a = ;", ".js")
    assert parses("const a: number = 1;", ".ts")
    assert not parses("const a: number = 1;", ".js")
    assert parses("const a = <b>text</b>;", ".tsx")
    assert not has_grammar(".md")


def test_only_files_that_parsed_before_count():
    good, broken = Example("const a = ", "1", ";\n"), Example("const = ", "1", ";\n")
    markdown = Example("# a", "b", "c")
    extensions = {"const a = 1;\n": ".js", "const = 1;\n": ".js", "# abc": ".md"}
    shares = parse_shares([good, good, broken, markdown], ["2", ")", "2", "2"], extensions)
    assert shares.tolist() == [1, 0]


def completion(text: str, slots: int, ms: float) -> Completion:
    return Completion(text, 4, 2, slots, 5.0, ms)


def result_of(diffusion: list[str], fim: list[str]) -> dict:
    """A result in the format of `compare`: diffusion with 8 and with 32 slot evaluations, fill-in-the-middle with 4."""
    examples = [Example("const a = ", "word", ";\n")] * len(fim)
    completions = {
        "diffusion": [completion(text, 32, 20.0) for text in diffusion],
        "1 steps": [completion("", 8, 1.0) for _ in diffusion],
        "ar": [completion("wo", 4, 2.0) for _ in fim],
        "fim": [completion(text, 4, 2.0) for text in fim],
        "ngram": [completion("", 0, 0.1) for _ in fim],
    }
    settings = [
        {"name": "diffusion", "curve": "thresholds"}, {"name": "1 steps", "curve": "budgets"},
        {"name": "ar", "curve": "ar"}, {"name": "fim", "curve": "fim"},
    ]  # fmt: skip
    slot = {"state": "token", "change": "reveal", "text": "word", "confidence": 0.9}
    mask = {"state": "mask", "text": "$x", "confidence": 0.2}
    gone = {"state": "dropped", "text": "", "confidence": 0}
    frames = [{"canvas": {"step": step, "block": 0, "slots": [slot, mask, gone]}} for step in range(1, 6)]
    return {
        "model": "nano", "split": "test", "examples": len(fim), "seed": 1, "reveal_threshold": 0.5, "edit_threshold": 0.8,
        "settings": settings,
        "tasks": {"line": score_task("line", examples, completions, {"const a = word;\n": ".js"})},
        "frames": [{"prefix": "const a = ", "middle": "word", "suffix": ";\n", "frames": frames}],
        "repair": [{
            "kind": "any", "count": 2, "threshold": 0.5, "canvases": 10, "repaired": 0.25, "changed_wrongly": 0.5,
            "right_spoiled": 0.125, "found_masked": 0.75,
        }],
    }  # fmt: skip


def test_the_winner_is_the_one_that_is_as_good_for_less():
    worse = verdicts(result_of(["wo", "wo"], ["word", "word"])).splitlines()[-1]
    assert "AR-FIM: better" in worse
    assert "50.0 % (diffusion) against 100.0 %" in worse
    assert worse.count("not reached") == 2
    dearer = verdicts(result_of(["word", "word"], ["word", "wo"])).splitlines()[-1]
    assert "8.0 (diffusion) against 1.0" in dearer
    assert "AR-FIM: as good for less, though diffusion can be better" in dearer
    cheaper = verdicts(result_of(["word", "word"], ["", ""])).splitlines()[-1]
    assert "1.0 (1 steps) against 2.0" in cheaper
    assert "diffusion in CPU ms, AR-FIM in the rest" in cheaper


def scored(slot_by_slot: tuple[list[str], int] | None = None, **settings: tuple[list[str], int]) -> dict:
    """A task whose middles are `word`; each setting has its texts and its slot evaluations for four tokens."""
    count = len(next(iter(settings.values()))[0])
    settings[compare.MANY_STEPS] = slot_by_slot or settings["diffusion"]
    completions = {
        name.replace("_", " "): [completion(text, slots, 1.0) for text in texts]
        for name, (texts, slots) in settings.items()
    }
    return score_task("line", [Example("a = ", "word", ";")] * count, completions, {"a = word;": ".md"})


def test_edits_are_compared_with_the_best_that_costs_no_more_without_them():
    right, wrong = ["word"] * 20, [""] * 20
    rows = scored(
        diffusion=(right, 8), no_edits=(wrong, 8), no_edits_slow=(right, 16), edits_often=(wrong, 16), edits=(right, 4)
    )["edits"]
    assert [(row["with"], row["without"], row["mean"]) for row in rows] == [
        ("diffusion", "no edits", 1.0),
        ("edits often", "no edits slow", -1.0),
    ]  # nothing without edits is as cheap as the third
    result = result_of(["word"], ["word"])
    result["tasks"] = {"line": scored(diffusion=(right, 8), no_edits=(wrong, 8), ar=(right, 4))}
    assert "edits help (+100.0 points [100.0, 100.0])" in edits_table(result)


def test_few_steps_are_the_best_of_what_is_cheap_and_say_what_they_lose():
    right, half = ["word"] * 20, ["word", ""] * 10
    cheap = scored(
        (right, 16), diffusion=(half, 16), quick=(half, 6), poor=([""] * 20, 4), no_edits=(right, 8), ar=(right, 4)
    )
    assert cheap["few"]["setting"] == "quick"
    assert cheap["few"]["lost"]["exact_match"]["mean"] == 0.5
    assert scored(diffusion=(right, 16), ar=(right, 4))["few"] is None
    result = result_of(["word"], ["word"])
    result["tasks"] = {"line": cheap}
    row = few_table(result).splitlines()[-1]
    assert "| quick | 1.50 |" in row
    assert "+50.0" in row
    assert "dearer than autoregressive decoding and worse" in row


def test_if_ar_is_given_the_length_diffusion_is_given_it_as_well():
    example = Example("a = ", "first\nword", ";")
    said = {"diffusion": "first", compare.GIVEN: example.middle, "ar": "first", compare.MANY_STEPS: "first"}
    completions = {name: [completion(text, 16, 1.0)] * 20 for name, text in said.items()}
    scores = score_task("lines", [example] * 20, completions, {"a = first\nword;": ".md"})
    assert scores["given"]["exact_match"]["mean"] == 1.0
    assert "given" not in score_task("line", [example] * 20, completions, {"a = first\nword;": ".md"})
    result = result_of(["word"], ["word"])
    result["tasks"] = {"lines": scores}
    table = given_table(result)
    assert "| several lines | exact match | 100.0 % [100.0, 100.0] | 0.0 % [0.0, 0.0] |" in table
    assert "diffusion is ahead (+100.0 points [100.0, 100.0])" in table


def test_a_length_that_is_given_is_kept(runtime):
    tokenizer = load_tokenizer(str(NANO / "tokenizer.json"))
    found = run(EXAMPLES, [Setting(compare.GIVEN, "diffusion", "given", given_length=True)])
    for example, (record,) in zip(EXAMPLES, found):
        assert record["tokens"] == len(tokenizer.encode(example.middle, add_special_tokens=False).ids)


def test_planted_tokens_are_reported():
    assert (
        "| any token | 2 | 10 | 0.5 | 25.0 % | 50.0 % | 12.5 % | 75.0 % |"
        in parts_of(result_of(["a"], ["b"]))["repair"]
    )


def test_tables_have_a_row_for_every_setting_and_the_share_of_files_that_parse():
    table = curve_table(result_of(["word", ");"], ["word", "wo"])).splitlines()
    assert [line.split(" | ")[1] for line in table[2:]] == [
        "diffusion",
        "1 steps",
        "AR, same weights",
        "AR-FIM",
        "5-gram",
    ]
    assert "50.0 % [0.0, 100.0]" in table[2].split(" | ")[4]


def test_parts_are_written_between_their_marks_and_again(tmp_path):
    page = tmp_path / "diffusion.md"
    result = result_of(["word", "wo"], ["word", "wo"])
    marks = "\n\n".join(f"<!-- {name} -->\nstale\n<!-- /{name} -->" for name in parts_of(result))
    page.write_text(f"before\n\n{marks}\n\nafter\n")
    write_into(page, parts_of(result))
    once = page.read_text()
    assert "stale" not in once
    assert once.startswith("before\n")
    assert once.endswith("after\n")
    write_into(page, parts_of(result))
    assert page.read_text() == once
    page.write_text("nothing")
    with pytest.raises(ValueError, match="expected one place <!-- run -->"):
        write_into(page, parts_of(result))


def test_figures_are_the_same_each_time_and_can_be_read_as_text(tmp_path):
    result = result_of(["word", "wo"], ["word", "wo"])
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        draw_quality(result, tmp_path / folder / "quality.svg", "decode_ms")
        draw_canvas(result["frames"], tmp_path / folder / "canvas.svg")
        draw_confidence(result["frames"], tmp_path / folder / "confidence.svg")
    for name in ("quality.svg", "canvas.svg", "confidence.svg"):
        drawn = (tmp_path / "a" / name).read_text()
        assert drawn == (tmp_path / "b" / name).read_text()
        assert "<text" in drawn
    assert "word" in (tmp_path / "a/canvas.svg").read_text()


def test_a_completion_that_cannot_be_drawn_is_an_error():
    with pytest.raises(ValueError, match="no completion of 4 to 8 steps"):
        draw_canvas([], Path("unused.svg"))


def test_the_page_of_this_repository_has_a_place_for_every_part():
    page = Path("docs/diffusion.md").read_text()
    for name in parts_of(result_of(["word"], ["word"])):
        assert page.count(f"<!-- {name} -->") == page.count(f"<!-- /{name} -->") == 1


def test_the_command_puts_all_together(runtime, tmp_path, monkeypatch, capsys):
    texts = [readable_code(seed, 8) for seed in range(3)]
    monkeypatch.setattr(compare, "texts_by_package", lambda _split, _languages: [texts])
    documents = [Namespace(text=text, path="src/made-up.js") for text in texts]
    monkeypatch.setattr(compare, "load_documents", lambda _split: documents)
    out = tmp_path / "out.json"
    compare.main(
        ["--fim", str(NANO), "--examples", "2", "--tasks", "line", "continuation", "--no-ngram", "--out", str(out)]
    )  # fmt: skip
    result = json.loads(out.read_text())
    assert list(result["tasks"]) == ["line", "continuation"]
    line = result["tasks"]["line"]["settings"]
    assert line.keys() == {setting["name"] for setting in result["settings"]}
    assert line["ar"]["slot_evaluations_per_token"] == 1
    assert line["1 steps"]["steps"] <= line["diffusion"]["steps"]
    assert "parses" in line["fim"]
    assert "parses" not in result["tasks"]["continuation"]["settings"]["fim"]
    assert "| whole line | AR-FIM |" in capsys.readouterr().out


def test_the_default_of_the_model_is_a_point_of_the_curve_and_stands_first():
    config = read_quantized(NANO).config
    settings = settings_of(config, has_fim=False)
    assert (settings[0].name, settings[0].request, settings[0].curve) == ("diffusion", {}, "thresholds")
    assert f"τ {config.reveal_threshold}" not in [setting.name for setting in settings]
    assert len({setting.name for setting in settings}) == len(settings)
    assert len({str((s.system, s.request, s.given_length)) for s in settings}) == len(settings)
    assert "fim" not in [setting.system for setting in settings]
    assert compare.shown_setting(settings) == "canvas 32"


def test_a_record_of_the_runtime_becomes_a_completion():
    record = {"text": "a", "tokens": 2, "steps": 3, "slotEvaluations": 40, "promptMs": 1.0, "decodeMs": 2.0}
    assert as_completion(record) == Completion("a", 2, 3, 40, 1.0, 2.0)
