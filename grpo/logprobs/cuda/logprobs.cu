// Row kernels of the log-prob op: what happens to one tile of logits while it lasts.
//
// The matrix products are cuBLAS's. Here one block walks along one row of a tile: `columns` logits
// of one token, `stride` elements from row to row, of vocabulary ids [start, start + columns).
// Three kinds of kernel, each in the variants that the macros at the end of the file list:
//
//   forward_*    folds a tile into the row's running state (online softmax, Milakov and Gimelshein,
//                arXiv:1805.02867) and picks the target's logit on the way
//   finalise     turns the states into log-prob, entropy and log-sum-exp, one thread per row
//   backward_*   turns a tile of logits into the gradient of the logits
//
// Conventions: z is a logit divided by the temperature. A banned column holds -inf. A row whose
// target is `ignored` is not read, gives 0 and gets gradient 0. A target outside the vocabulary or
// on a banned column makes the row's log-prob NaN and reads nothing. NaN and +inf among the logits
// stay visible. Row numbers and offsets have 64 bits. Blocks are whole warps, up to 1,024 threads;
// every thread of a block takes part in every shuffle and barrier. The order of a sum depends on
// `columns`, the block size and where the row lies modulo 16 bytes, never on timing: repeats are
// bitwise equal.
//
// No header is included, so NVRTC needs no include path: bf16 is handled as its 16 bits.

#define WARP 32
#define MAX_WARPS 32
#define ALL_LANES 0xffffffffu
#define VECTOR_BYTES 16
#define VALUES_PER_PASS 16  // of one thread, in registers: enough loads in flight to hide latency

typedef long long int64;
typedef unsigned short bf16;

// Finite, unlike -inf: the difference of two empty states is 0 and not NaN.
#define LOWEST (-3.402823466e+38f)

__device__ inline float minus_infinity() { return __int_as_float(0xff800000); }
__device__ inline float not_a_number() { return __int_as_float(0x7fc00000); }

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(bf16 bits) { return __int_as_float((int)bits << 16); }

// One instruction with flush-to-zero, and exactly 1 at 0; its error grows as |x| * 1e-7.
__device__ inline float exponential(float x) { return exp2f(x * 1.4426950408889634f); }

__device__ inline void store(float* where, float value) { *where = value; }
__device__ inline void store(bf16* where, float value) {
    if (value != value) {  // rounding could carry a NaN's bits into an infinity
        *where = 0x7fc0;
        return;
    }
    unsigned bits = (unsigned)__float_as_int(value);
    *where = (bf16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);  // to nearest, ties to even
}

// The product rounded by itself: fused into the subtraction that follows, the largest z minus the
// maximum would not be 0 and a log-prob could come out above 0.
__device__ inline float scaled(float logit, float inverse_temperature) {
    return __fmul_rn(logit, inverse_temperature);
}

// How a row is cut: up to a 16-byte boundary, 16-byte vectors, and what is left.
template <typename Element>
struct Cut {
    static const int WIDTH = VECTOR_BYTES / sizeof(Element);
    int head, vectors, tail;

    __device__ Cut(const Element* row, int columns) {
        int past = (int)(((unsigned long long)row / sizeof(Element)) % WIDTH);
        head = past ? WIDTH - past : 0;
        head = head < columns ? head : columns;
        vectors = (columns - head) / WIDTH;
        tail = columns - head - vectors * WIDTH;
    }
    __device__ int tail_start() const { return head + vectors * WIDTH; }
};

template <typename Element>
__device__ inline void load(const Element* where, float* values) {
    union {
        uint4 vector;
        Element elements[Cut<Element>::WIDTH];
    } packed;
    packed.vector = *reinterpret_cast<const uint4*>(where);
    for (int i = 0; i < Cut<Element>::WIDTH; ++i) values[i] = to_float(packed.elements[i]);
}

// The values of one thread's pass: VALUES_PER_PASS logits as z, -inf where the row has ended.
template <typename Element>
__device__ inline void load_pass(const Element* row, const Cut<Element>& cut, int first,
                                 float inverse_temperature, float* z) {
    const int WIDTH = Cut<Element>::WIDTH;
#pragma unroll
    for (int part = 0; part < VALUES_PER_PASS / WIDTH; ++part) {
        int vector = first + part * blockDim.x;
        if (vector < cut.vectors) {
            load(row + cut.head + (int64)vector * WIDTH, z + part * WIDTH);
        } else {
#pragma unroll
            for (int i = 0; i < WIDTH; ++i) z[part * WIDTH + i] = minus_infinity();
        }
    }
#pragma unroll
    for (int i = 0; i < VALUES_PER_PASS; ++i) z[i] = scaled(z[i], inverse_temperature);
}

// ---- forward ------------------------------------------------------------------------------------

// What is kept of the columns seen so far, with e = exp(z - top):
struct State {
    float top;     // max of z
    float total;   // sum of e
    float moment;  // sum of e * (z - top); only with entropy
};

__device__ inline State empty_state() {
    State state = {LOWEST, 0.0f, 0.0f};
    return state;
}

// Refer a state to another maximum, which is not below its own.
template <bool ENTROPY>
__device__ inline State raised(State state, float top) {
    float rise = state.top - top;
    float rescale = exponential(rise);
    State result = {top, state.total * rescale, 0.0f};
    if (ENTROPY) result.moment = (state.moment + state.total * rise) * rescale;
    return result;
}

template <bool ENTROPY>
__device__ inline State merged(State a, State b) {
    float top = fmaxf(a.top, b.top);
    a = raised<ENTROPY>(a, top);
    b = raised<ENTROPY>(b, top);
    State result = {top, a.total + b.total, a.moment + b.moment};
    return result;
}

template <bool ENTROPY, int COUNT>
__device__ inline void fold(State& state, const float* z) {
    float top = state.top;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) top = fmaxf(top, z[i]);  // passes over NaN; its exp does not
    state = raised<ENTROPY>(state, top);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
        float shifted = z[i] - top;
        float e = exponential(shifted);
        state.total += e;
        if (ENTROPY) state.moment += e == 0.0f ? 0.0f : e * shifted;  // not 0 * -inf
    }
}

template <bool ENTROPY>
__device__ inline State merged_over_warp(State state) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        State other;
        other.top = __shfl_xor_sync(ALL_LANES, state.top, distance);
        other.total = __shfl_xor_sync(ALL_LANES, state.total, distance);
        other.moment = ENTROPY ? __shfl_xor_sync(ALL_LANES, state.moment, distance) : 0.0f;
        state = merged<ENTROPY>(state, other);
    }
    return state;
}

template <typename Element, bool ENTROPY>
__device__ inline void forward_row(
    const Element* __restrict__ tile, int64 stride, int columns, int64 start,
    float inverse_temperature, const int64* __restrict__ targets, int64 ignored,
    float* __restrict__ tops, float* __restrict__ totals, float* __restrict__ moments,
    float* __restrict__ picked, int is_first, State* of_warps) {
    const int64 token = blockIdx.x;
    const int64 target = targets[token];
    if (target == ignored) return;  // the whole block

    const Element* row = tile + token * stride;
    const Cut<Element> cut(row, columns);
    State state = empty_state();
    float z[VALUES_PER_PASS];
    for (int first = threadIdx.x; first < cut.vectors;
         first += blockDim.x * (VALUES_PER_PASS / Cut<Element>::WIDTH)) {
        load_pass(row, cut, first, inverse_temperature, z);
        fold<ENTROPY, VALUES_PER_PASS>(state, z);
    }
    // Less than a vector on either side: WARP threads at least, so one value each.
    if ((int)threadIdx.x < cut.head) {
        z[0] = scaled(to_float(row[threadIdx.x]), inverse_temperature);
        fold<ENTROPY, 1>(state, z);
    }
    if ((int)threadIdx.x < cut.tail) {
        z[0] = scaled(to_float(row[cut.tail_start() + threadIdx.x]), inverse_temperature);
        fold<ENTROPY, 1>(state, z);
    }

    state = merged_over_warp<ENTROPY>(state);
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (lane == 0) of_warps[warp] = state;
    __syncthreads();
    if (warp != 0) return;
    state = lane < (int)blockDim.x / WARP ? of_warps[lane] : empty_state();
    state = merged_over_warp<ENTROPY>(state);
    if (lane != 0) return;

    if (!is_first) {
        State before = {tops[token], totals[token], ENTROPY ? moments[token] : 0.0f};
        state = merged<ENTROPY>(before, state);
    }
    tops[token] = state.top;
    totals[token] = state.total;
    if (ENTROPY) moments[token] = state.moment;
    const int64 column = target - start;
    if (column >= 0 && column < columns) {
        picked[token] = scaled(to_float(row[column]), inverse_temperature);
    } else if (is_first) {
        picked[token] = not_a_number();  // and stays so where no tile holds the target
    }
}

// ---- backward -----------------------------------------------------------------------------------

// d loss / d logit of one column, from p = exp(z - lse):
//   d logprob / d z[v] = 1[v = target] - p[v]        d entropy / d z[v] = -p[v] (log p[v] + H)
template <bool ENTROPY>
struct RowGradient {
    float of_logprob, of_entropy;  // upstream, divided by the temperature
    float lse, entropy;
    int64 target_column;  // outside [0, columns) if another tile holds it

    __device__ float at(float z, int64 column) const {
        float log_p = z - lse;
        float p = exponential(log_p);
        float pull = of_logprob;
        if (ENTROPY) pull += p == 0.0f ? 0.0f : of_entropy * (log_p + entropy);  // not 0 * -inf
        float gradient = -pull * p;
        return column == target_column ? gradient + of_logprob : gradient;
    }
};

template <typename Element, typename Out, bool ENTROPY>
__device__ inline void backward_row(
    const Element* tile, Out* out, int64 stride, int columns, int64 start,
    float inverse_temperature, const int64* __restrict__ targets, int64 ignored,
    const float* __restrict__ lses, const float* __restrict__ entropies,
    const float* __restrict__ grad_logprobs, const float* __restrict__ grad_entropies) {
    static_assert(sizeof(Out) <= sizeof(Element), "a vector's values must fit into one store");
    const int WIDTH = Cut<Element>::WIDTH;
    const int64 token = blockIdx.x;
    const int64 target = targets[token];
    const Element* row = tile + token * stride;  // out may be tile: each thread reads, then writes
    Out* out_row = out + token * stride;
    if (target == ignored) {
        for (int column = threadIdx.x; column < columns; column += blockDim.x)
            store(out_row + column, 0.0f);
        return;
    }

    RowGradient<ENTROPY> gradient;
    gradient.of_logprob = grad_logprobs ? grad_logprobs[token] * inverse_temperature : 0.0f;
    gradient.of_entropy = ENTROPY ? grad_entropies[token] * inverse_temperature : 0.0f;
    gradient.lse = lses[token];
    gradient.entropy = ENTROPY ? entropies[token] : 0.0f;
    gradient.target_column = target - start;

    const Cut<Element> cut(row, columns);
    float z[VALUES_PER_PASS];
    for (int first = threadIdx.x; first < cut.vectors;
         first += blockDim.x * (VALUES_PER_PASS / WIDTH)) {
        load_pass(row, cut, first, inverse_temperature, z);
#pragma unroll
        for (int part = 0; part < VALUES_PER_PASS / WIDTH; ++part) {
            int vector = first + part * blockDim.x;
            if (vector >= cut.vectors) break;
            int column = cut.head + vector * WIDTH;
            union {
                uint4 vector;  // keeps the union, and so the stores, aligned
                Out elements[WIDTH];
            } packed;
#pragma unroll
            for (int i = 0; i < WIDTH; ++i)
                store(packed.elements + i, gradient.at(z[part * WIDTH + i], column + i));
            if (sizeof(Out) == sizeof(Element))
                *reinterpret_cast<uint4*>(out_row + column) = packed.vector;
            else  // float to bf16: four values fill half a vector
                *reinterpret_cast<uint2*>(out_row + column) =
                    *reinterpret_cast<const uint2*>(packed.elements);
        }
    }
    if ((int)threadIdx.x < cut.head) {
        int column = threadIdx.x;
        float value = scaled(to_float(row[column]), inverse_temperature);
        store(out_row + column, gradient.at(value, column));
    }
    if ((int)threadIdx.x < cut.tail) {
        int column = cut.tail_start() + threadIdx.x;
        float value = scaled(to_float(row[column]), inverse_temperature);
        store(out_row + column, gradient.at(value, column));
    }
}

// ---- the kernels --------------------------------------------------------------------------------

// Grid: one block per token. The state arrays are (N,); moments is not touched without entropy.
#define FORWARD(name, Element, ENTROPY)                                                            \
    extern "C" __global__ void __launch_bounds__(WARP* MAX_WARPS)                                  \
        name(const Element* tile, int64 stride, int columns, int64 start,                          \
             float inverse_temperature, const int64* targets, int64 ignored, float* tops,          \
             float* totals, float* moments, float* picked, int is_first) {                         \
        __shared__ State of_warps[MAX_WARPS];                                                      \
        forward_row<Element, ENTROPY>(tile, stride, columns, start, inverse_temperature, targets,  \
                                      ignored, tops, totals, moments, picked, is_first, of_warps); \
    }

FORWARD(forward_fp32, float, false)
FORWARD(forward_fp32_entropy, float, true)
FORWARD(forward_bf16, bf16, false)
FORWARD(forward_bf16_entropy, bf16, true)

// Grid: one thread per token. No log-prob comes out above 0: picked <= top, and total >= 1 because
// the largest z adds exp(0).
extern "C" __global__ void __launch_bounds__(WARP* MAX_WARPS)
    finalise(int64 num_tokens, const int64* targets, int64 ignored, const float* tops,
             const float* totals, const float* moments, const float* picked, float* logprobs,
             float* entropies, float* lses, int with_entropy) {
    const int64 token = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    if (token >= num_tokens) return;
    float logprob = 0.0f, entropy = 0.0f, lse = 0.0f;
    if (targets[token] != ignored) {
        float log_total = logf(totals[token]);
        logprob = picked[token] - tops[token] - log_total;
        if (picked[token] == minus_infinity()) logprob = not_a_number();  // a banned target
        if (with_entropy) entropy = log_total - moments[token] / totals[token];
        lse = tops[token] + log_total;
    }
    logprobs[token] = logprob;
    if (with_entropy) entropies[token] = entropy;
    lses[token] = lse;
}

// Grid: one block per token. Tile and out begin at a multiple of 16 bytes; out has the tile's rows
// and stride, and may be the tile itself where the element types are the same. grad_logprobs may be
// null, and without entropy so may entropies and grad_entropies.
#define BACKWARD(name, Element, Out, ENTROPY)                                                      \
    extern "C" __global__ void __launch_bounds__(WARP* MAX_WARPS)                                  \
        name(const Element* tile, Out* out, int64 stride, int columns, int64 start,                \
             float inverse_temperature, const int64* targets, int64 ignored, const float* lses,    \
             const float* entropies, const float* grad_logprobs, const float* grad_entropies) {    \
        backward_row<Element, Out, ENTROPY>(tile, out, stride, columns, start,                     \
                                            inverse_temperature, targets, ignored, lses,           \
                                            entropies, grad_logprobs, grad_entropies);             \
    }

BACKWARD(backward_fp32_to_fp32, float, float, false)
BACKWARD(backward_fp32_to_fp32_entropy, float, float, true)
BACKWARD(backward_fp32_to_bf16, float, bf16, false)
BACKWARD(backward_fp32_to_bf16_entropy, float, bf16, true)
BACKWARD(backward_bf16_to_bf16, bf16, bf16, false)
BACKWARD(backward_bf16_to_bf16_entropy, bf16, bf16, true)
