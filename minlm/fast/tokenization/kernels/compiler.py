"""How kernels are compiled and kept, and the machine instructions that numba lacks."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from minlm.errors import MinlmError
from minlm.fast.tokenization.kernels import cache
from minlm.progress import log

try:
    from llvmlite import ir
    from numba import njit, types
    from numba.core import cgutils, config, event
    from numba.core.caching import CompileResultCacheImpl, FunctionCache
    from numba.extending import intrinsic
except ImportError as error:
    raise MinlmError(
        f"the fast tokenizer needs numba, which cannot be imported ({error}). Install it (pip install numba), "
        "or take the slow one in plain Python: --backend python, or BPETokenizer(..., backend='python')"
    ) from error


_FOLDER = cache.find_folder()


class _Implementation(CompileResultCacheImpl):
    """Names the files of a kernel after the kernel, not after the path of its source."""

    def __init__(self, function: Callable[..., Any]):
        self._filename_base = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"

    @property
    def locator(self) -> Any:
        return self

    def get_cache_path(self) -> str:
        return str(_FOLDER)

    def get_source_stamp(self) -> str:
        return ""  # the name of the folder contains a hash of all sources

    def ensure_cache_path(self) -> None:
        pass


class _KeptKernel(FunctionCache):
    """Keeps a compiled kernel for later processes. A kernel that cannot be read is compiled again."""

    _impl_class = _Implementation
    all_are_kept = True

    def load_overload(self, signature: Any, target: Any) -> Any:
        try:
            return super().load_overload(signature, target)
        except Exception:  # unpickling a damaged file can raise anything
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        try:
            with cache.lock(Path(self.cache_path), "saving"):  # numba's index of signatures has none
                super().save_overload(signature, compiled)
        except OSError:  # the disk is full, or the folder belongs to another user
            _KeptKernel.all_are_kept = False


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call; the result is kept on disk for later processes.

    Kernels do not make arrays, so numba need not count references to them (`_nrt`), which takes longer than most of
    the work here: https://github.com/numba/numba/issues/2345.
    """
    compiled = njit(nogil=True, _nrt=False, no_cfunc_wrapper=True)(function)
    if _FOLDER:
        compiled._cache = _KeptKernel(function)
    return compiled


def compile_all(run: Callable[[], None]) -> None:
    """Compile all kernels the first time, by calling `run`, instead of some of them in each of several programs.

    numba does not have to vectorize loops: the kernels already handle many bytes at once where that is possible.
    """
    if _FOLDER is None:
        return
    complete = _FOLDER / cache.COMPLETE
    if complete.exists():
        with suppress(OSError):  # it may belong to another user
            complete.touch()
        return
    before, config.LOOP_VECTORIZE = config.LOOP_VECTORIZE, 0
    try:
        with cache.lock(_FOLDER, "compiling"):  # a second process then loads the kernels of the first
            run()
            if _KeptKernel.all_are_kept:
                complete.touch()
    finally:
        config.LOOP_VECTORIZE = before


def _how_often() -> str:
    if _FOLDER is None:
        return "for this process alone: no folder for them can be written; NUMBA_CACHE_DIR names another"
    if cache.is_temporary(_FOLDER):
        return f"for {_FOLDER}: the user's cache cannot be written; NUMBA_CACHE_DIR names another folder"
    return "once on this machine"


class _Announcement(event.Listener):
    """Logs, once, that kernels are being compiled, because that takes seconds."""

    made = False

    def on_start(self, event: event.Event) -> None:
        if not self.made:
            self.made = True
            log.info(f"compiling the tokenizer's kernels {_how_often()} (about 15 s)")

    def on_end(self, event: event.Event) -> None:
        pass


event.register("numba:compile", _Announcement())


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """The address of byte `index` of an array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.inttoptr(builder.add(builder.ptrtoint(data, index.type), index), ir.IntType(8).as_pointer())


@intrinsic
def natural(typing: Any, index: Any) -> Any:
    """Promise numba that an index is not negative: it otherwise checks at each access whether to count from the end."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [ir.IntType(1)]), "llvm.assume"
        )
        below = builder.icmp_unsigned("<", arguments[0], ir.Constant(ir.IntType(64), 1 << 62))
        builder.call(function, [below])
        return arguments[0]

    return types.int64(types.int64), generate


@intrinsic
def load8(typing: Any, array: Any, index: Any) -> Any:
    """8 bytes of an array as one int64, from byte `index` on, wherever that is."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], *arguments)
        return builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()), align=1)

    return types.int64(array, types.intp), generate


@intrinsic
def store8(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Write an int64 to the 8 bytes of an array from byte `index` on, wherever that is."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], builder.bitcast(address, ir.IntType(64).as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), generate


@intrinsic
def bytes_between(typing: Any, array: Any, index: Any, low: Any, high: Any) -> Any:
    """Which of the 64 bytes from byte `index` on are in low … high: an int64 whose bit k is about byte k.

    The processor compares all 64 in two to four instructions.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, vector = ir.IntType(8), ir.VectorType(ir.IntType(8), 64)

        def in_all_places(number: Any) -> Any:
            first = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(
                first, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
            )

        first, last = (builder.trunc(argument, byte) for argument in arguments[2:])
        address = _address(context, builder, signature.args[0], *arguments[:2])
        text = builder.load(builder.bitcast(address, vector.as_pointer()), align=1)
        distances = builder.sub(text, in_all_places(first))
        found = builder.icmp_unsigned("<=", distances, in_all_places(builder.sub(last, first)))
        return builder.bitcast(found, ir.IntType(64))

    return types.int64(array, types.intp, types.intp, types.intp), generate


def _int64_at(context: Any, builder: Any, array_type: Any, element: Any, array: Any, index: Any) -> Any:
    """A pointer to the int64 of an array from number `index` on, taken for `element`."""
    address = _address(context, builder, array_type, array, builder.mul(index, ir.Constant(index.type, 8)))
    return builder.bitcast(address, element.as_pointer())


@intrinsic
def equal_among_4(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Which of the 4 int64 of an array from number `index` on are `value`: an int64 whose bit k is about the k-th."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, int32 = ir.VectorType(ir.IntType(64), 4), ir.IntType(32)
        numbers = builder.load(_int64_at(context, builder, signature.args[0], vector, *arguments[:2]), align=8)
        first = builder.insert_element(ir.Constant(vector, ir.Undefined), arguments[2], ir.Constant(int32, 0))
        wanted = builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(int32, 4), [0] * 4))
        equal = builder.icmp_signed("==", numbers, wanted)
        return builder.zext(builder.bitcast(equal, ir.IntType(4)), ir.IntType(64))

    return types.int64(array, types.intp, types.int64), generate


@intrinsic
def least_of_8(typing: Any, array: Any, index: Any) -> Any:
    """The least of the 8 int64 of an array from number `index` on.

    `min` may become a jump, of which the processor guesses where it goes; here every other guess would be wrong.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        int64 = ir.IntType(64)
        first = _int64_at(context, builder, signature.args[0], int64, *arguments)
        least = cgutils.get_or_insert_function(builder.module, ir.FunctionType(int64, [int64, int64]), "llvm.smin.i64")
        numbers = [builder.load(builder.gep(first, [ir.Constant(int64, k)])) for k in range(8)]
        while len(numbers) > 1:  # in pairs, so that the processor can do several at once
            numbers = [builder.call(least, numbers[k : k + 2]) for k in range(0, len(numbers), 2)]
        return numbers[0]

    return types.int64(array, types.intp), generate


@intrinsic
def lowest_bit(typing: Any, mask: Any) -> Any:
    """The number of the lowest bit that is set in an int64; 64 if there is none."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


@intrinsic
def highest_bit(typing: Any, mask: Any) -> Any:
    """The number of the highest bit that is set in an int64; -1 if there is none."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        leading_zeros = builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))
        return builder.sub(ir.Constant(ir.IntType(64), 63), leading_zeros)

    return types.int64(types.int64), generate


@intrinsic
def num_bits(typing: Any, mask: Any) -> Any:
    """How many bits are set in an int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.int64), generate


@intrinsic
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Begin to fetch byte `index` of an array into the processor's cache, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        int32 = ir.IntType(32)
        address = _address(context, builder, signature.args[0], *arguments)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [address.type, int32, int32, int32]),
            "llvm.prefetch.p0",
        )
        builder.call(function, [address, *(ir.Constant(int32, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def stay_apart(typing: Any) -> Any:
    """Called in a kernel: do not compile that kernel into its callers. Their loops are faster without what is rare."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate
