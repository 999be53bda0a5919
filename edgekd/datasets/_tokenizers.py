"""Tokenizers: read from where they lie, or trained on texts of one's own; Hugging Face's `tokenizers` do the work."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgekd import registry
from edgekd.errors import ConfigError, DataError
from edgekd.records import Tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Kind = Literal["wordpiece", "bpe", "word"]
Special = Literal["pad", "unknown", "begin", "end", "mask"]

_FILE = "tokenizer.json"
_ALLOWED = f"a folder with {_FILE}, that file, BERT's vocab.txt, or llama2.c's tokenizer.bin"
# What well-known tokenizers call their special tokens; the first that a vocabulary has counts.
_NAMES: dict[Special, tuple[str, ...]] = {
    "pad": ("[PAD]", "<pad>", "<|pad|>", "<|finetune_right_pad_id|>"),
    "unknown": ("[UNK]", "<unk>"),
    "begin": ("[CLS]", "<s>", "<bos>", "<|begin_of_text|>", "<|endoftext|>"),
    "end": ("[SEP]", "</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>"),
    "mask": ("[MASK]", "<mask>"),
}
_OF_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_OF_GPT = ("<|endoftext|>",)
_BYTES = 256
_PURPOSE = "a dataset of texts"
_LEAST_PAIR = 2  # a pair that is seen once teaches nothing


def open_tokenizer(place: Path | str, *, revision: str = "main") -> Tokenizer:
    r"""Read a tokenizer; neither code nor pickles are.

    Args:
        place: A file or folder, as a path: `tokenizer.json`, a folder that holds it, BERT's `vocab.txt` (one word
            piece a line, lower case) or llama2.c's `tokenizer.bin`. A name on the hub, as a text.
        revision: Branch, tag or commit on the hub; a commit can't change.

    Returns:
        Without truncation and padding: the dataset cuts and fills.

    Raises:
        DataError: Missing, damaged, of a kind that is not read, or a hub that can't be reached.
        MissingExtraError: tokenizers is not installed.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "vocab.txt"
    >>> _ = place.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nedge\n##s\n")
    >>> open_tokenizer(place).encode("Edges").tokens
    ['[CLS]', 'edge', '##s', '[SEP]']
    """
    registry.require("tokenizers", _PURPOSE)
    path = place if isinstance(place, Path) else _from_hub(place, revision)
    if path.is_dir():
        path = path / _FILE
    if not path.is_file():
        raise DataError("no such tokenizer", where=str(path), allowed=_ALLOWED)
    if path.suffix == ".txt":
        return _of_word_pieces(path)
    if path.suffix == ".bin":
        return _of_llama2c(path)
    if path.suffix != ".json":
        raise DataError(
            f"a tokenizer in a file that ends in '{path.suffix}'",
            where=str(path),
            allowed=_ALLOWED,
            next_step="transformers writes tokenizer.json: AutoTokenizer.from_pretrained(...).save_pretrained(folder)",
        )
    return read_tokenizer(read_text(path), where=str(path))


def read_tokenizer(content: str, *, where: str = _FILE) -> Tokenizer:
    """Read the content of a `tokenizer.json`, such as `Tokens.tokenizer`.

    Raises:
        DataError: It is none.
        MissingExtraError: tokenizers is not installed.
    """
    tokenizers = registry.require("tokenizers", _PURPOSE)
    try:
        found: Tokenizer = tokenizers.Tokenizer.from_str(content)
    except Exception as error:  # noqa: BLE001 - tokenizers raises nothing more special
        raise DataError(f"no tokenizer: {str(error).splitlines()[0]}", where=where, allowed=_ALLOWED) from None
    found.no_truncation()
    found.no_padding()
    return found


def train_tokenizer(texts: Iterable[str], *, kind: Kind, vocabulary: int, lowercase: bool = False) -> Tokenizer:
    """Train a tokenizer; the same texts always give the same one.

    `wordpiece` as BERT (Devlin et al. 2019; [CLS] ... [SEP]), `bpe` on bytes as GPT-2 (Radford et al. 2019; ends with
    <|endoftext|>, knows every text), `word` one token for each of the most frequent words ([UNK] for others).

    Args:
        texts: Of the training split alone.
        kind: Which algorithm.
        vocabulary: Largest number of tokens, special ones included; few texts may give fewer.
        lowercase: Whether case and accents are dropped.

    Raises:
        ConfigError: Too few tokens for the kind.
        DataError: No text.
        MissingExtraError: tokenizers is not installed.

    >>> train_tokenizer(["a b b", "b c"], kind="word", vocabulary=7).encode("b a d").tokens
    ['[CLS]', 'b', 'a', '[UNK]', '[SEP]']
    """
    registry.require("tokenizers", _PURPOSE)
    least = len(_OF_GPT) + _BYTES if kind == "bpe" else len(_OF_BERT) + 1
    if vocabulary < least:
        raise ConfigError(f"vocabulary = {vocabulary}", where=f"a tokenizer of kind {kind}", allowed=f"{least} or more")
    if kind == "bpe":
        return _train_bpe(texts, vocabulary, lowercase=lowercase)
    made = (_train_word_pieces if kind == "wordpiece" else _train_words)(texts, vocabulary, lowercase=lowercase)
    if made.get_vocab_size() <= len(_OF_BERT):
        raise DataError("the texts hold nothing to make tokens of", where=f"a tokenizer of kind {kind}")
    return made


def tokens_of(tokenizer: Tokenizer, *, padded: bool = True) -> Tokens:
    """Say what a tokenizer's numbers mean.

    Args:
        tokenizer: From this module.
        padded: Whether short texts are filled up; where they never are, there is no pad to hide from a network.

    >>> tokens_of(train_tokenizer(["a b"], kind="word", vocabulary=9)).vocabulary
    7
    """
    vocabulary = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    pad = special_of(tokenizer, "pad") if padded else None
    return Tokens(
        vocabulary=vocabulary,
        pad=pad,
        tokenizer=tokenizer.to_str(),
        begin=special_of(tokenizer, "begin"),
        end=special_of(tokenizer, "end"),
        mask=special_of(tokenizer, "mask"),
    )


def read_tokens(place: Path) -> Tokens:
    """Read what a language model of the user's own cuts texts into, as `open_tokenizer` does.

    Raises:
        DataError: No tokenizer.
        MissingExtraError: tokenizers is not installed.
    """
    return tokens_of(open_tokenizer(place), padded=False)


def special_of(tokenizer: Tokenizer, role: Special) -> int | None:
    """Find the number of a special token, by the names that well-known tokenizers give it.

    >>> special_of(train_tokenizer(["a b"], kind="word", vocabulary=9), "mask")
    4
    """
    return next((found for name in _NAMES[role] if (found := tokenizer.token_to_id(name)) is not None), None)


def encode(tokenizer: Tokenizer, texts: Sequence[str], *, special: bool = True) -> list[list[int]]:
    """Turn texts into the numbers of their tokens, whole.

    Args:
        tokenizer: From this module.
        texts: Any.
        special: Add what the tokenizer puts before and after each text.
    """
    return [each.ids for each in tokenizer.encode_batch(list(texts), add_special_tokens=special)]


def read_text(path: Path) -> str:
    """Read a file of text.

    Raises:
        DataError: It can't be read, or is not UTF-8; says in which line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"can't read it: {error.strerror or error}", where=str(path)) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"byte 0x{content[error.start]:02x} in line {line} is not UTF-8",
            where=str(path),
            allowed="text in UTF-8",
            next_step=f"convert it: iconv -f latin1 -t utf-8 {path.name}",
        ) from None


def _train_bpe(texts: Iterable[str], vocabulary: int, *, lowercase: bool) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    if lowercase:
        made.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()])
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(_OF_GPT),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=_LEAST_PAIR,
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    return _put_between(made, "", _OF_GPT[0])


def _train_words(texts: Iterable[str], vocabulary: int, *, lowercase: bool) -> Tokenizer:
    from tokenizers import models, trainers

    made = _of_bert(models.WordLevel(unk_token="[UNK]"), lowercase=lowercase)  # noqa: S106 - no password
    made.train_from_iterator(
        texts, trainers.WordLevelTrainer(vocab_size=vocabulary, special_tokens=list(_OF_BERT), show_progress=False)
    )
    return _put_between(made, "[CLS]", "[SEP]")


def _train_word_pieces(texts: Iterable[str], vocabulary: int, *, lowercase: bool) -> Tokenizer:
    from tokenizers import models, trainers

    texts = list(texts)
    made = _of_bert(models.WordPiece(unk_token="[UNK]"), lowercase=lowercase)  # noqa: S106 - no password
    # The trainer numbers signs inside words, and cuts rare signs off, in the order of hashes, which differ from process
    # to process. So both are told to it.
    counts = Counter(sign for text in texts for sign in made.normalizer.normalize_str(text) if not sign.isspace())
    # Rare signs would take the places of word pieces.
    kept = sorted(sorted(counts, key=lambda sign: (-counts[sign], sign))[: max(1, (vocabulary - len(_OF_BERT)) // 4)])
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary,
        special_tokens=[*_OF_BERT, *(f"##{sign}" for sign in kept)],
        initial_alphabet=kept,
        limit_alphabet=len(kept),
        min_frequency=_LEAST_PAIR,
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    # Anew, so that signs inside words are no special tokens.
    return _of_pieces(made.get_vocab(), lowercase=lowercase)


def _of_bert(model: object, *, lowercase: bool) -> Tokenizer:
    """Make a tokenizer that cuts texts as BERT's does, before its model sees them."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    made = Tokenizer(model)
    made.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if isinstance(model, models.WordPiece):
        made.decoder = decoders.WordPiece()
    return made


def _of_pieces(numbers: dict[str, int], *, lowercase: bool) -> Tokenizer:
    from tokenizers import models

    made = _of_bert(models.WordPiece(numbers, unk_token="[UNK]"), lowercase=lowercase)  # noqa: S106 - no password
    made.add_special_tokens([name for name in _OF_BERT if name in numbers])
    return _put_between(made, "[CLS]", "[SEP]")


def _put_between(tokenizer: Tokenizer, begin: str, end: str) -> Tokenizer:
    """Let a tokenizer put special tokens before and after each text, and between the two of a pair."""
    from tokenizers import processors

    between = end or begin
    tokenizer.post_processor = processors.TemplateProcessing(
        single=" ".join(each for each in (begin, "$A", end) if each),
        pair=" ".join(each for each in (begin, "$A", between, "$B:1", end and f"{end}:1") if each),
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in (begin, end) if name],
    )
    return tokenizer


def _from_hub(name: str, revision: str) -> Path:
    import huggingface_hub

    try:
        return Path(huggingface_hub.hf_hub_download(name, _FILE, revision=revision))
    except (OSError, ValueError) as error:
        raise DataError(
            f"the tokenizer can't be had from the hub: {str(error).strip().splitlines()[0]}",
            where=name,
            next_step=f"check the name and the connection, or give a local folder that holds {_FILE}",
        ) from None


def _of_word_pieces(path: Path) -> Tokenizer:
    """Make BERT's tokenizer of its list of word pieces."""
    pieces = read_text(path).splitlines()
    missing = [name for name in ("[UNK]", "[CLS]", "[SEP]") if name not in pieces]
    if missing or len(set(pieces)) != len(pieces):
        raise DataError(
            f"lacks {missing[0]}" if missing else "holds a word piece twice",
            where=str(path),
            allowed="BERT's vocab.txt: one word piece a line, [UNK], [CLS] and [SEP] among them",
        )
    # Where no piece has a capital, none can be told from a small letter.
    lowercase = not any(piece != piece.lower() for piece in pieces if not piece.startswith("["))
    return _of_pieces({piece: number for number, piece in enumerate(pieces)}, lowercase=lowercase)


def _of_llama2c(path: Path) -> Tokenizer:
    """Make a tokenizer of llama2.c's file: pieces of a sentencepiece BPE with their scores, bytes where none fits.

    The file is `int32 longest`, then of each piece `float32 score, int32 length, bytes`; 0 is <unk>, 1 begins and 2
    ends a text, 3 to 258 are bytes. Two pieces become one where that is in the list, the best score first.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers

    pieces, scores = _read_llama2c(path)
    pieces[1:3] = ["<s>", "</s>"]
    # A space is a sign of its own in sentencepiece.
    pieces = pieces[: 3 + _BYTES] + [piece.replace(" ", "▁") for piece in pieces[3 + _BYTES :]]
    numbers = {piece: number for number, piece in enumerate(pieces)}
    if len(numbers) != len(pieces):
        raise DataError("holds a piece twice", where=str(path), allowed="llama2.c's tokenizer.bin")
    merges = sorted(
        (-scores[number], numbers[piece[:cut]], numbers[piece[cut:]])
        for number, piece in enumerate(pieces[3 + _BYTES :], 3 + _BYTES)
        for cut in range(1, len(piece))
        if piece[:cut] in numbers and piece[cut:] in numbers
    )
    made = Tokenizer(
        models.BPE(
            numbers,
            [(pieces[left], pieces[right]) for _, left, right in merges],
            unk_token=pieces[0],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens(pieces[:3])
    return _put_between(made, "<s>", "")


def _read_llama2c(path: Path) -> tuple[list[str], list[float]]:
    content, at = path.read_bytes(), 4
    pieces: list[str] = []
    scores: list[float] = []
    try:
        while at < len(content):
            score, length = struct.unpack_from("<fi", content, at)
            at += 8
            (piece,) = struct.unpack_from(f"{length}s", content, at)
            pieces.append(piece.decode())
            scores.append(score)
            at += length
    except (struct.error, UnicodeDecodeError) as error:
        raise DataError(
            f"damaged after {len(pieces)} pieces: {error}", where=str(path), allowed="llama2.c's tokenizer.bin"
        ) from None
    if pieces[3 : 3 + _BYTES] != [f"<0x{byte:02X}>" for byte in range(_BYTES)]:
        raise DataError("pieces 3 to 258 are not the bytes", where=str(path), allowed="llama2.c's tokenizer.bin")
    return pieces, scores
