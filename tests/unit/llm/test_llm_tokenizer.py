import json
from pathlib import Path

from transformers import AutoTokenizer

from models.llm.tokenizer import write_tokenizer


def test_items_are_words_and_the_start_token_comes_last(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    write_tokenizer(tmp_path, 12)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("i0 i11 i3", add_special_tokens=False)["input_ids"] == [0, 11, 3]
    assert tokenizer.bos_token_id == 12
    assert len(tokenizer) == 13
    assert tokenizer.decode([5]) == "i5"


def test_the_files_are_always_the_same(tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        write_tokenizer(tmp_path / name, 7)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert contents[0] == contents[1]
