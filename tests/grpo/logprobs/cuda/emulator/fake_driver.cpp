// A CUDA driver without a GPU: what grpo/logprobs/cuda/driver.py asks of libcuda, launches by the emulator.
//
// Built as libcuda.so.1 for a process of its own, where cuda.bindings finds it and resolves these
// functions with dlsym, as it does for a driver too old for cuGetProcAddress. Stricter than the
// real one where that is silent: a launch needs the very context that its module was loaded in.
//
// The environment variable EMULATED_KERNELS names the library that Emulator made of logprobs.cu.
// Memory is the CPU's and a launch has ended when it returns: what streams order stays unseen.

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <string>
#include <vector>

// The driver's own numbers (cuda.h).
enum Status {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    NOT_INITIALIZED = 3,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    LAUNCH_FAILED = 719,
};

struct Context {
    int device;
};
struct Module {
    Context* context;
};
struct Function {
    Context* context;
    std::string name, kinds;
};
typedef int Launch(const char* name, int grid, int block, void** arguments, const char* kinds,
                   int order, unsigned seed, char* message, int size);

static const int NUM_DEVICES = 2, RANDOM_ORDER = 2;
static Context primary[NUM_DEVICES] = {{0}, {1}};
static thread_local std::vector<Context*> stack;

static std::recursive_mutex lock;  // the emulator's fibers are globals
static bool initialized;
static std::string calls;
static std::map<std::string, int> failures;

// Take note of a call; nonzero is what it shall return at once.
static int begin(const char* name, const std::string& details = "") {
    std::lock_guard<std::recursive_mutex> guard(lock);
    calls += name + (details.empty() ? "" : " " + details) + "\n";
    if (failures.count(name)) return failures[name];
    return initialized || !strcmp(name, "cuInit") ? SUCCESS : NOT_INITIALIZED;
}

static Launch* emulated_launch() {
    static Launch* launch = nullptr;
    if (launch) return launch;
    void* library = dlopen(getenv("EMULATED_KERNELS"), RTLD_NOW | RTLD_LOCAL);
    if (library) launch = (Launch*)dlsym(library, "emulated_launch");
    if (launch) return launch;
    fprintf(stderr, "EMULATED_KERNELS: %s\n", dlerror());
    abort();
}

extern "C" {

// ---- for the tests ------------------------------------------------------------------------------

// The calls so far, one a line.
const char* fake_calls() { return calls.c_str(); }
// The stack of this thread.
int fake_stack_depth() { return stack.size(); }
int fake_stack(int at) { return stack[at]->device; }
void fake_failure(const char* name, int status) { failures[name] = status; }

// ---- the driver's functions ---------------------------------------------------------------------

int cuInit(unsigned flags) {
    if (int status = begin("cuInit")) return status;
    initialized = true;
    return flags ? INVALID_VALUE : SUCCESS;
}

// NVRTC asks for this too, of any libcuda that it finds, and does without what it is refused.
int cuGetExportTable(const void** table, const void*) {
    *table = nullptr;
    return NOT_FOUND;
}

int cuDeviceGet(int* device, int number) {
    if (int status = begin("cuDeviceGet")) return status;
    if (number < 0 || number >= NUM_DEVICES) return INVALID_DEVICE;
    *device = number;
    return SUCCESS;
}

int cuDevicePrimaryCtxRetain(Context** context, int device) {
    if (int status = begin("cuDevicePrimaryCtxRetain")) return status;
    *context = &primary[device];
    return SUCCESS;
}

int cuCtxGetCurrent(Context** context) {
    if (int status = begin("cuCtxGetCurrent")) return status;
    *context = stack.empty() ? nullptr : stack.back();
    return SUCCESS;
}

int cuCtxPushCurrent_v2(Context* context) {
    if (int status = begin("cuCtxPushCurrent")) return status;
    if (context < primary || context >= primary + NUM_DEVICES) return INVALID_CONTEXT;
    stack.push_back(context);
    return SUCCESS;
}

int cuCtxPopCurrent_v2(Context** context) {
    if (int status = begin("cuCtxPopCurrent")) return status;
    if (stack.empty()) return INVALID_CONTEXT;
    *context = stack.back();
    stack.pop_back();
    return SUCCESS;
}

int cuModuleLoadData(Module** module, const unsigned char* image) {
    if (int status = begin("cuModuleLoadData")) return status;
    if (stack.empty()) return INVALID_CONTEXT;
    const int machine = image[18] | image[19] << 8;  // of an ELF file; 190 is CUDA's
    if (memcmp(image, "\177ELF", 4) || machine != 190) return INVALID_IMAGE;
    usleep(20000);  // room for a second thread to load it too, if it can
    *module = new Module{stack.back()};
    return SUCCESS;
}

int cuModuleGetFunction(Function** function, Module* module, const char* name) {
    if (int status = begin("cuModuleGetFunction", name)) return status;
    std::lock_guard<std::recursive_mutex> guard(lock);
    // A cubin tells the driver what a kernel's parameters are; the emulator tells when it refuses.
    char message[1024] = "", kinds[64] = "";
    emulated_launch()(name, 1, 1, nullptr, "?", 0, 0, message, sizeof message);
    const char* told = strstr(message, "its parameters are \"");
    if (!told || sscanf(told, "its parameters are \"%63[a-z]\"", kinds) != 1) return NOT_FOUND;
    *function = new Function{module->context, name, kinds};
    return SUCCESS;
}

int cuLaunchKernel(Function* function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                   void* stream, void** arguments, void** extra) {
    char details[256];
    snprintf(details, sizeof details, "%s grid %u block %u device %d stream %zu",
             function->name.c_str(), grid_x, block_x, function->context->device, (size_t)stream);
    if (int status = begin("cuLaunchKernel", details)) return status;
    if (stack.empty()) return INVALID_CONTEXT;
    if (stack.back() != function->context) return INVALID_HANDLE;
    if (grid_y != 1 || grid_z != 1 || block_y != 1 || block_z != 1) return INVALID_VALUE;
    if (shared_bytes || !arguments || extra) return INVALID_VALUE;
    std::lock_guard<std::recursive_mutex> guard(lock);
    static unsigned seed = 0;
    char message[1024] = "";
    if (!emulated_launch()(function->name.c_str(), grid_x, block_x, arguments,
                           function->kinds.c_str(), RANDOM_ORDER, ++seed, message, sizeof message))
        return SUCCESS;
    fprintf(stderr, "%s\n", message);
    return LAUNCH_FAILED;
}

}  // extern "C"
