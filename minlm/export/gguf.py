"""Export as GGUF, the one file that llama.cpp and the programs on top of it read, and a Modelfile for Ollama.

The architecture is llama.cpp's "llama", whose RoPE rotates the pairs (2i, 2i+1) as ours does, so no row moves.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from minlm.atomic import atomic_folder
from minlm.documents import SEPARATOR
from minlm.errors import MinlmError
from minlm.export.llama import llama_config, llama_name
from minlm.generation.samples_file import end_of_text
from minlm.tokenization import BPETokenizer
from minlm.tokenization.chat import END_OF_TURN, TEMPLATE, has_chat_tokens
from minlm.tokenization.vocabulary_files import spell
from minlm.transformer.model import TransformerLM

if TYPE_CHECKING:
    from gguf import GGUFWriter

FILES = ("model.gguf", "Modelfile")
TYPES = {"F32": "ALL_F32", "F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0"}  # of the matrices → `LlamaFileType` of the file
PRE_TOKENIZERS = {"gpt2": "gpt-2"}  # llama.cpp has no patterns in its files, only names of those that it knows
GENERATION = re.compile(r"{% (end)?generation %}")  # transformers' own marks in a template
# Without a template, Ollama would wrap a prompt in the format of some chat model.
MODELFILE = """FROM ./model.gguf
TEMPLATE {{{{ .Prompt }}}}
PARAMETER num_ctx {context_length}
PARAMETER num_predict {longest}
PARAMETER temperature 0.7
PARAMETER top_p 0.9
PARAMETER stop {end}
"""


def export(folder: str | Path, model: TransformerLM, tokenizer: BPETokenizer, name: str, type: str = "F16") -> None:
    """Write `FILES` into a folder, all or nothing, and replace an earlier export there.

    Args:
        folder: where to write.
        model, tokenizer: a pair that `load.load_with_tokenizer` has checked.
        name: of the model, for people.
        type: of the matrices, one of `TYPES`. Q8_0 has 8 bits and shares a scale between 32 numbers of a row; matrices
            with another number of columns stay F16. Norms are always F32.

    Raises:
        MinlmError: Llama cannot express the model, llama.cpp does not know the tokenizer's pattern, or the folder
            cannot be written.
    """
    from gguf import GGUFWriter

    context_length = model.config["context_length"]
    with atomic_folder(folder, FILES) as temporary:
        writer = GGUFWriter(temporary / "model.gguf", "llama")
        writer.add_name(name)
        _add_tokenizer(writer, tokenizer)
        _add_model(writer, model, type, vocab_size=max(tokenizer.vocab) + 1)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        modelfile = MODELFILE.format(
            context_length=context_length, longest=max(1, context_length // 2), end=SEPARATOR
        )  # longest: leaves room for a prompt
        (temporary / "Modelfile").write_text(modelfile, encoding="utf-8")


def _add_model(writer: "GGUFWriter", model: TransformerLM, type: str, vocab_size: int) -> None:
    """Add shape and weights, without the rows of ids that the tokenizer lacks."""
    from gguf import GGML_QUANT_SIZES, MODEL_ARCH, GGMLQuantizationType, LlamaFileType, get_tensor_name_map, quantize

    config = llama_config(model)
    writer.add_file_type(LlamaFileType[TYPES[type]])
    writer.add_vocab_size(vocab_size)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, tensor in model.state_dict().items():
        if name in ("token_embeddings.weight", "lm_head.weight"):
            tensor = tensor[:vocab_size]
        array = tensor.float().cpu().contiguous().numpy()
        kind = GGMLQuantizationType["F32" if array.ndim == 1 else type]
        if array.shape[-1] % GGML_QUANT_SIZES[kind][0] != 0:
            kind = GGMLQuantizationType.F16
        their_name = names.get_name(llama_name(name), [".weight"])
        assert their_name is not None
        writer.add_tensor(their_name, quantize(array, kind), raw_dtype=kind)


def _add_tokenizer(writer: "GGUFWriter", tokenizer: BPETokenizer) -> None:
    from gguf import TokenType

    special = {tokenizer.encode(token)[0]: token for token in tokenizer.special_tokens}
    tokens, types = [], []
    for index in range(max(tokenizer.vocab) + 1):
        if index in special:
            token, type = special[index], TokenType.CONTROL
        elif index in tokenizer.vocab:
            token, type = spell(tokenizer.vocab[index]), TokenType.NORMAL
        else:
            token, type = f"[UNUSED {index}]", TokenType.UNUSED
        tokens.append(token)
        types.append(type)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(tokenizer.pattern))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([f"{spell(first)} {spell(second)}" for first, second in tokenizer.merges])
    end = end_of_text(tokenizer)
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    if has_chat_tokens(tokenizer):
        writer.add_eot_token_id(tokenizer.encode(END_OF_TURN)[0])
        writer.add_chat_template(GENERATION.sub("", TEMPLATE))


def _pre_tokenizer(pattern: str) -> str:
    if pattern not in PRE_TOKENIZERS:
        raise MinlmError(
            f"the tokenizer cuts text by the pattern {pattern}, which llama.cpp does not know, so it cannot be "
            "exported as GGUF. Export it with --format huggingface."
        )
    return PRE_TOKENIZERS[pattern]
