"""A tokenizer for a vocabulary that is the catalogue: ``i0 i1 …`` and the start token. Servers ask for one."""

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from models.contract.prompts import start_token

START = "<s>"


def write_tokenizer(directory: Path, n_items: int) -> None:
    """Write the tokenizer files of a checkpoint for ``n_items`` items."""
    vocabulary = {f"i{number}": number for number in range(n_items)} | {START: start_token(n_items)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=START))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=START).save_pretrained(directory)
