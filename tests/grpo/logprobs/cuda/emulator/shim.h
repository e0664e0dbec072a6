// The part of CUDA C++ that grpo/logprobs/cuda/logprobs.cu uses, for g++ -include: the .cu needs no edit.
//
// Threads are fibers and take turns (fibers.h); a barrier or a shuffle is where a turn ends.

#pragma once

#include <math.h>  // exp2f, logf, and fmaxf, which drops a NaN as CUDA's does

#define __global__
#define __device__
#define __launch_bounds__(...)

// A section of its own, to be poisoned before every block. g++ ignores the section of a variable
// in a template: declare shared arrays in the extern "C" kernel.
#define __shared__ static __attribute__((section("shared_memory")))

struct Dimensions {
    unsigned x, y, z;
};
static Dimensions threadIdx, blockIdx, blockDim, gridDim;

struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

template <typename To, typename From>
inline To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "the same number of bits");
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}
inline float __int_as_float(int bits) { return same_bits<float>(bits); }
inline int __float_as_int(float value) { return same_bits<int>(value); }
inline float __fmul_rn(float a, float b) { return a * b; }

namespace emulator {
void barrier(int line);
unsigned shuffle(unsigned mask, unsigned value, unsigned source_lane, int line);
}  // namespace emulator

// The line of the call comes along: threads at two different calls have not met, whatever a
// device would make of it, and an error can name the place.
inline void __syncthreads(int line = __builtin_LINE()) { emulator::barrier(line); }

template <typename Value>
inline Value __shfl_xor_sync(unsigned mask, Value value, int distance, int width = 32,
                             int line = __builtin_LINE()) {
    unsigned lane = threadIdx.x % 32;
    unsigned source = lane ^ (unsigned)distance;
    if (source > (lane | (unsigned)(width - 1))) source = lane;  // in a later segment
    unsigned bits = emulator::shuffle(mask, same_bits<unsigned>(value), source, line);
    return same_bits<Value>(bits);
}
