"""Processor instructions that numba lacks, for use in kernels.

The functions here run when a kernel that calls them is compiled: they take LLVM values and return that of the result.
An array arrives as a pointer to its first byte, everything else as an int64.
"""

import functools

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

BIT, BYTE, INT32, INT64 = map(ir.IntType, (1, 8, 32, 64))


def instruction(result):
    """Decorate a function (IR builder, LLVM values) → LLVM value, so that kernels can call it.

    Args:
        result: numba's type of the result, int64 or void.
    """

    def decorate(generate):
        @functools.wraps(generate)  # numba also reads the names of the arguments
        def definition(typing, *given):
            def lower(context, builder, signature, values):
                pointers = [
                    builder.bitcast(context.make_array(kind)(context, builder, value).data, BYTE.as_pointer())
                    if isinstance(kind, types.Array)
                    else value
                    for kind, value in zip(signature.args, values, strict=True)
                ]
                return generate(builder, *pointers) or context.get_dummy_value()

            return result(*(kind if isinstance(kind, types.Array) else types.int64 for kind in given)), lower

        return intrinsic(definition)

    return decorate


def _pointer(builder, array, offset, kind):
    """A pointer to a value of some type that starts `offset` bytes into an array."""
    return builder.bitcast(builder.gep(array, [offset]), kind.as_pointer())


def _repeated(builder, number, vector):
    """A vector of equal numbers."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, number, INT32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(INT32, vector.count), [0] * vector.count))


def _call(builder, name, result, *arguments):
    """Call one of LLVM's own functions."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


@instruction(types.int64)
def natural(builder, index):
    """Promise numba that an index is not negative: it otherwise checks at each access whether to count from the end."""
    _call(builder, "llvm.assume", ir.VoidType(), builder.icmp_unsigned("<", index, INT64(1 << 62)))
    return index


@instruction(types.int64)
def load8(builder, array, index):
    """8 bytes of an array, from byte `index` on, as one int64; any index is allowed, not only multiples of 8."""
    return builder.load(_pointer(builder, array, index, INT64), align=1)


@instruction(types.void)
def store8(builder, array, index, value):
    """Write an int64 to 8 bytes of an array, from byte `index` on."""
    builder.store(value, _pointer(builder, array, index, INT64), align=1)


@instruction(types.int64)
def bytes_between(builder, array, index, low, high):
    """Which of the 64 bytes from byte `index` on are in low … high: an int64 whose bit k is about byte k.

    The processor compares all 64 in two to four instructions.
    """
    vector = ir.VectorType(BYTE, 64)
    first, last = builder.trunc(low, BYTE), builder.trunc(high, BYTE)
    text = builder.load(_pointer(builder, array, index, vector), align=1)
    distances = builder.sub(text, _repeated(builder, first, vector))
    found = builder.icmp_unsigned("<=", distances, _repeated(builder, builder.sub(last, first), vector))
    return builder.bitcast(found, INT64)


@instruction(types.int64)
def equal_among_4(builder, array, index, value):
    """Which of the 4 int64 of an array from number `index` on are `value`: an int64 whose bit k is about the k-th."""
    vector = ir.VectorType(INT64, 4)
    numbers = builder.load(_pointer(builder, array, builder.mul(index, INT64(8)), vector), align=8)
    equal = builder.icmp_signed("==", numbers, _repeated(builder, value, vector))
    return builder.zext(builder.bitcast(equal, ir.IntType(4)), INT64)


@instruction(types.int64)
def least_of_8(builder, array, index):
    """The least of the 8 int64 of an array from number `index` on, without the branches that `min` may become."""
    first = _pointer(builder, array, builder.mul(index, INT64(8)), INT64)
    numbers = [builder.load(builder.gep(first, [INT64(k)])) for k in range(8)]
    while len(numbers) > 1:  # in pairs, so that the processor can do several at once
        numbers = [_call(builder, "llvm.smin.i64", INT64, *numbers[k : k + 2]) for k in range(0, len(numbers), 2)]
    return numbers[0]


@instruction(types.int64)
def lowest_bit(builder, mask):
    """The number of the lowest bit that is set in an int64; 64 if there is none."""
    return builder.cttz(mask, BIT(0))


@instruction(types.int64)
def highest_bit(builder, mask):
    """The number of the highest bit that is set in an int64; -1 if there is none."""
    return builder.sub(INT64(63), builder.ctlz(mask, BIT(0)))


@instruction(types.int64)
def num_bits(builder, mask):
    """How many bits are set in an int64."""
    return builder.ctpop(mask)


@instruction(types.void)
def prefetch(builder, array, index):
    """Start to load byte `index` of an array into the processor's cache, without waiting for it."""
    address = _pointer(builder, array, index, BYTE)
    _call(builder, "llvm.prefetch.p0", ir.VoidType(), address, INT32(0), INT32(3), INT32(1))


@instruction(types.void)
def never_inline(builder):
    """Called in a kernel: do not compile that kernel into its callers. Their loops are faster without rare code."""
    builder.function.attributes.add("noinline")
