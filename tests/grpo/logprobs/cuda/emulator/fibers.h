// Runs the blocks of a launch, the threads of each as fibers (ucontext) that take turns.
//
// A fiber keeps its turn until it waits or exits. The threads that a rendezvous lets go are served
// before those that have waited longer, so one warp runs ahead of the others as far as it may: a
// missing barrier shows in one order or another. Included after the .cu, once per shared object.

#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <utility>

extern "C" {  // of the linker, around the section; absent without a shared variable
extern char __start_shared_memory[] __attribute__((weak, visibility("hidden")));
extern char __stop_shared_memory[] __attribute__((weak, visibility("hidden")));
}

namespace emulator {

const int MAX_THREADS = 1024, WARP_SIZE = 32, STACK_BYTES = 256 << 10;

// ---- kernels and their arguments ----------------------------------------------------------------

template <typename Parameter>
struct Kind;  // a parameter of another type does not compile
template <typename Target>
struct Kind<Target*> {
    static const char letter = 'p';
};
template <>
struct Kind<long long> {
    static const char letter = 'q';
};
template <>
struct Kind<int> {
    static const char letter = 'i';
};
template <>
struct Kind<float> {
    static const char letter = 'f';
};

struct Kernel {
    const char* name;
    void (*call)(void** arguments);
    char kinds[64];
};

template <auto function, typename... Parameters, size_t... index>
void call(void (*)(Parameters...), void** arguments, std::index_sequence<index...>) {
    function(*static_cast<Parameters*>(arguments[index])...);
}

template <auto function, typename... Parameters>
Kernel kernel_of(const char* name, void (*)(Parameters...)) {
    auto with_arguments = [](void** arguments) {
        call<function>(function, arguments, std::index_sequence_for<Parameters...>());
    };
    return {name, with_arguments, {Kind<Parameters>::letter..., '\0'}};
}
#define KERNEL(name) emulator::kernel_of<name>(#name, name)

// ---- one block ----------------------------------------------------------------------------------

enum Order { ASCENDING, DESCENDING, RANDOM };
enum Place { RUNNING, AT_BARRIER, AT_SHUFFLE, EXITED };

struct Fiber {
    ucontext_t start;
    jmp_buf resumption;
    bool started;
    Place place;
    int line;
    unsigned mask, source_lane;
    unsigned given, received;  // two slots: the next shuffle cannot overwrite what is being read
};

struct Failure {
    char* text;
    int size;
};

// One launch at a time: the caller holds Python's lock.
static Fiber fibers[MAX_THREADS];
static int ready[MAX_THREADS], num_ready;  // a stack; the next to run lies on top
static int num_threads, num_at_barrier, num_exited, current;
static jmp_buf scheduler;
static const Kernel* kernel;
static void** arguments_of_launch;
static Order order;
static unsigned random_state;
static Failure failure;

static unsigned random_below(unsigned bound) {  // xorshift32
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % bound;
}

__attribute__((format(printf, 1, 2))) static bool fail(const char* format, ...) {
    int used = snprintf(failure.text, failure.size, "%s, block %u: ", kernel->name, blockIdx.x);
    va_list values;
    va_start(values, format);
    vsnprintf(failure.text + used, failure.size - used, format, values);
    va_end(values);
    return false;
}

// A turn begins with a context and goes on with jumps, which ask nothing of the operating system.
static void take_turn() {
    Fiber& fiber = fibers[current];
    if (_setjmp(scheduler)) return;
    if (fiber.started) _longjmp(fiber.resumption, 1);
    fiber.started = true;
    setcontext(&fiber.start);
}

static void end_turn(Place place, int line) {
    fibers[current].place = place;
    fibers[current].line = line;
    if (!_setjmp(fibers[current].resumption)) _longjmp(scheduler, 1);
}

void barrier(int line) { end_turn(AT_BARRIER, line); }

unsigned shuffle(unsigned mask, unsigned value, unsigned source_lane, int line) {
    Fiber& self = fibers[current];
    self.mask = mask;
    self.source_lane = source_lane;
    self.given = value;
    end_turn(AT_SHUFFLE, line);
    return self.received;
}

static void thread_main() {
    kernel->call(arguments_of_launch);
    end_turn(EXITED, 0);
    abort();  // to return would end the process, and with exit status 0
}

// Let `count` threads from `first` on run again, those that `lanes` names if it is a warp.
static void release(int first, int count, unsigned lanes = ~0u) {
    for (int i = 0; i < count; ++i) {
        int thread = order == DESCENDING ? first + i : first + count - 1 - i;  // the last is on top
        bool named = lanes >> (thread - first) % WARP_SIZE & 1;
        if (fibers[thread].place == EXITED || !named) continue;
        fibers[thread].place = RUNNING;
        ready[num_ready++] = thread;
    }
}

static int next_thread() {
    if (order == RANDOM) std::swap(ready[num_ready - 1], ready[random_below(num_ready)]);
    return ready[--num_ready];
}

static bool met_at_barrier() {
    if (num_at_barrier == 0 || num_at_barrier + num_exited < num_threads) return true;
    int line = 0;
    for (int i = 0; i < num_threads; ++i) {
        if (fibers[i].place != AT_BARRIER) continue;
        if (line && fibers[i].line != line) return true;  // found as a deadlock in the end
        line = fibers[i].line;
    }
    num_at_barrier = 0;
    release(0, num_threads);
    return true;
}

static bool met_at_shuffle(int thread) {
    const Fiber& self = fibers[thread];
    const int first = thread / WARP_SIZE * WARP_SIZE;
    if (!(self.mask >> (thread - first) & 1) || !(self.mask >> self.source_lane & 1))
        return fail("thread %d shuffles (__shfl_xor_sync, line %d) as or from a lane that its "
                    "mask %#x does not name", thread, self.line, self.mask);
    bool all = true;
    for (int lane = 0; lane < WARP_SIZE; ++lane) {
        if (!(self.mask >> lane & 1)) continue;
        if (first + lane >= num_threads || fibers[first + lane].place == EXITED)
            return fail("thread %d waits in a shuffle (__shfl_xor_sync, line %d) for lane %d, "
                        "which has exited or never was", thread, self.line, lane);
        const Fiber& other = fibers[first + lane];
        all = all && other.place == AT_SHUFFLE && other.line == self.line &&
              other.mask == self.mask;
    }
    if (!all) return true;
    for (int lane = 0; lane < WARP_SIZE; ++lane)
        if (self.mask >> lane & 1)
            fibers[first + lane].received = fibers[first + fibers[first + lane].source_lane].given;
    release(first, WARP_SIZE, self.mask);
    return true;
}

// Take note of where a thread's turn has ended; false where that is an error.
static bool arrived(int thread) {
    switch (fibers[thread].place) {
        case AT_BARRIER:
            ++num_at_barrier;
            return met_at_barrier();
        case AT_SHUFFLE:
            return met_at_shuffle(thread);
        default:  // exited: it may have been waited for
            ++num_exited;
            int first = thread / WARP_SIZE * WARP_SIZE;
            for (int i = first; i < first + WARP_SIZE && i < num_threads; ++i)
                if (fibers[i].place == AT_SHUFFLE && !met_at_shuffle(i)) return false;
            return met_at_barrier();
    }
}

static bool report_deadlock() {
    char places[600] = "";
    int used = 0;
    for (int i = 0; i < num_threads && used < 500; ++i) {
        if (fibers[i].place == EXITED) continue;
        bool seen = false;
        int count = 0;
        for (int j = 0; j < num_threads; ++j) {
            bool same = fibers[j].place == fibers[i].place && fibers[j].line == fibers[i].line;
            seen = seen || (same && j < i);
            count += same;
        }
        if (seen) continue;
        const char* what = fibers[i].place == AT_BARRIER ? "__syncthreads" : "__shfl_xor_sync";
        used += snprintf(places + used, sizeof places - used,
                         "; %d in %s, line %d, first thread %d", count, what, fibers[i].line, i);
    }
    return fail("deadlock, %d of %d threads wait for ever%s", num_threads - num_exited, num_threads,
                places);
}

static bool run_block(char* stacks) {
    if (__start_shared_memory)  // 0xff bytes are NaN as float, and as bf16
        memset(__start_shared_memory, 0xff, __stop_shared_memory - __start_shared_memory);
    num_ready = num_at_barrier = num_exited = 0;
    for (int i = 0; i < num_threads; ++i) {
        ucontext_t& context = fibers[i].start;
        getcontext(&context);
        context.uc_stack.ss_sp = stacks + (size_t)i * STACK_BYTES;
        context.uc_stack.ss_size = STACK_BYTES;
        context.uc_link = nullptr;
        makecontext(&context, thread_main, 0);
        fibers[i].started = false;
        fibers[i].place = RUNNING;
    }
    release(0, num_threads);
    while (num_ready) {
        current = next_thread();
        threadIdx = {(unsigned)current, 0, 0};
        take_turn();
        if (!arrived(current)) return false;
    }
    return num_exited == num_threads || report_deadlock();
}

// ---- one launch ---------------------------------------------------------------------------------

static bool run_grid(int grid) {
    static char* stacks = nullptr;  // pages that no thread touches cost nothing
    if (!stacks)
        stacks = (char*)mmap(nullptr, (size_t)MAX_THREADS * STACK_BYTES, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int* blocks = (int*)malloc(sizeof(int) * grid);
    for (int i = 0; i < grid; ++i) blocks[i] = order == DESCENDING ? grid - 1 - i : i;
    for (int i = grid - 1; i > 0 && order == RANDOM; --i)
        std::swap(blocks[i], blocks[random_below(i + 1)]);
    bool good = true;
    for (int i = 0; i < grid && good; ++i) {
        blockIdx = {(unsigned)blocks[i], 0, 0};
        good = run_block(stacks);
    }
    free(blocks);
    return good;
}

static bool launch(const Kernel& wanted, int grid, int block, void** arguments, const char* kinds) {
    kernel = &wanted;
    arguments_of_launch = arguments;
    blockIdx = {0, 0, 0};
    if (grid < 1 || block < 1 || block > MAX_THREADS)
        return fail("no launch of %d blocks of %d threads is valid", grid, block);
    if (strcmp(kinds, wanted.kinds))  // the driver would read bytes that are not the argument's
        return fail("its parameters are \"%s\", the launch's arguments \"%s\" (p pointer, "
                    "q long long, i int, f float)", wanted.kinds, kinds);
    num_threads = block;
    gridDim = {(unsigned)grid, 1, 1};
    blockDim = {(unsigned)block, 1, 1};
    return run_grid(grid);
}

}  // namespace emulator
