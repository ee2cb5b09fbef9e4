# What the compiled modules need of C and its compiler (GCC or Clang) that Cython's Python mode cannot say.

# Columns of a tile, as constants: that many sums stay in registers. 13, 4 and 1 of AVX2's 16.
cdef enum:
    WIDEST = 104
    WIDE = 32
    NARROW = 8
    BLOCK = 1024  # columns whose float64 sums a merge keeps in the nearest cache

cdef extern from *:
    void prefetch "__builtin_prefetch"(const void *address) noexcept nogil
