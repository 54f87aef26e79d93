// libcuda.so.1 for a machine without a GPU, which keeps CUDA's rules: who breaks one gets an error code, and a line in the file that
// LIBCUDA_STANDIN_REPORT names. Work on a stream waits until an event is asked for the second time; a launch runs kernel.cu built for the
// processor (LIBCUDA_STANDIN_KERNEL). One GPU, one stream at a time: what engines/runtime/tensorrt uses and no more.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID = 1, NO_MEMORY = 2, NOT_INITIALISED = 3, NO_IMAGE = 200, NO_CONTEXT = 201, BAD_HANDLE = 400, NOT_FOUND = 500,
       NOT_READY = 600, FAULT = 719, IN_CAPTURE = 900, CAPTURE_BROKEN = 901 };
enum { UP = 1, DOWN, LAUNCH };
enum { MOST = 256, NON_BLOCKING = 1 };
enum { FRAME_H = 1, FRAME_W = 2, OUT_H = 5, OUT_W = 6, GEOMETRY_BYTES = 40 }; // `Geometry` of kernel.cu, as ints

typedef struct Work { int kind; void *to; const void *from; size_t n; uint64_t seen; unsigned grid[3], block[3]; void *args[5]; int half; struct Work *next; } Work;
typedef struct { Work *first, *last; } List;
typedef struct { List queue, captured; int capturing, broken, fault; } Stream;
typedef struct { Stream *stream; int asked; } Event;
typedef struct { int half; } Function;
typedef void (*Kernel)(const unsigned *, const unsigned *, const void *, float *, const void *, const void *, const void *);

static struct { char *start; size_t n; int pinned; } memory[MOST];
static Stream *stream_now;
static void *const CONTEXT = (void *)0xC0DE;
static __thread int depth;
static int initialised, retained, streams, pushed;

static int broken(int code, const char *words, ...) {
    const char *path = getenv("LIBCUDA_STANDIN_REPORT");
    FILE *report = path ? fopen(path, "a") : NULL;
    va_list rest;
    va_start(rest, words);
    if (report) { vfprintf(report, words, rest); fputc('\n', report); fclose(report); }
    va_end(rest);
    return code;
}

static int inside(const void *start, size_t n, int pinned) {
    for (int i = 0; i < MOST; i++)
        if (memory[i].start && memory[i].pinned == pinned && (char *)start >= memory[i].start && (char *)start + n <= memory[i].start + memory[i].n)
            return 1;
    return 0;
}
static uint64_t digest(const void *start, size_t n) {
    uint64_t sum = 14695981039346656037ull, word;
    const char *at = start;
    for (; n >= 8; n -= 8, at += 8) { memcpy(&word, at, 8); sum = (sum ^ word) * 1099511628211ull; }
    for (; n; n--, at++) sum = (sum ^ (unsigned char)*at) * 1099511628211ull;
    return sum;
}
// What every call that needs a context asks first; `waits`: it is one of those that a capture forbids.
static int refused(const char *call, int waits) {
    if (!depth) return broken(NO_CONTEXT, "%s without a context", call);
    if (waits && stream_now && stream_now->capturing) { stream_now->broken = 1; return broken(IN_CAPTURE, "%s during a capture", call); }
    return stream_now ? stream_now->fault : OK;
}
static void append(List *list, const Work *work) {
    Work *copy = malloc(sizeof *copy);
    *copy = *work; copy->next = NULL;
    if (list->last) list->last->next = copy; else list->first = copy;
    list->last = copy;
}
static void clear(List *list) {
    for (Work *work = list->first, *next; work; work = next) { next = work->next; free(work); }
    list->first = list->last = NULL;
}
static int enqueue(Stream *stream, Work *work) {
    if (!stream || stream != stream_now) return broken(BAD_HANDLE, "work on the legacy stream, or on one that is gone");
    if (stream->capturing) { append(&stream->captured, work); return OK; }
    if (work->kind == UP) work->seen = digest(work->from, work->n);
    append(&stream->queue, work);
    return OK;
}
static int launch(const Work *work) {
    static Kernel kernel;
    if (!kernel) { const char *path = getenv("LIBCUDA_STANDIN_KERNEL"); void *library = path ? dlopen(path, RTLD_NOW) : NULL;
        kernel = library ? (Kernel)dlsym(library, "run_letterbox_f32") : NULL; }
    if (!kernel) return broken(FAULT, "no kernel for the processor");
    if (!inside(work->args[4], GEOMETRY_BYTES, 0)) return broken(FAULT, "the kernel's geometry is not on the GPU");
    const int *geometry = work->args[4];
    size_t numbers = 3 * (size_t)geometry[OUT_H] * geometry[OUT_W], wide = work->half ? 2 : 4;
    if (!inside(work->args[0], 3 * (size_t)geometry[FRAME_H] * geometry[FRAME_W], 0)) return broken(FAULT, "the kernel reads a frame out of bounds");
    if (!inside(work->args[1], numbers * wide, 0)) return broken(FAULT, "the kernel writes out of bounds");
    float *out = work->half ? malloc(numbers * 4) : work->args[1];
    kernel(work->grid, work->block, work->args[0], out, work->args[2], work->args[3], work->args[4]);
    if (work->half) { for (size_t i = 0; i < numbers; i++) ((_Float16 *)work->args[1])[i] = (_Float16)out[i]; free(out); }
    return OK;
}
static void run(Stream *stream) {
    for (Work *work = stream->queue.first; work && !stream->fault; work = work->next) {
        if (work->kind == UP && digest(work->from, work->n) != work->seen) stream->fault = broken(FAULT, "pinned memory changed before it was read");
        else if (!inside(work->kind == DOWN ? work->from : work->kind == UP ? work->to : work->args[4], 1, 0)) stream->fault = broken(FAULT, "work on memory that was freed");
        else if (work->kind == LAUNCH) stream->fault = launch(work);
        else memcpy(work->to, work->from, work->n);
    }
    clear(&stream->queue);
}
static int allocate(void **start, size_t n, int pinned) {
    for (int i = 0; i < MOST; i++)
        if (!memory[i].start) {
            if (posix_memalign(start, 4096, n ? n : 1)) return NO_MEMORY;
            memset(*start, 0xA5, n);
            memory[i].start = *start; memory[i].n = n; memory[i].pinned = pinned;
            return OK;
        }
    return NO_MEMORY;
}
static int release(void *start, int pinned) {
    if (stream_now) run(stream_now); // as there: freeing waits
    for (int i = 0; i < MOST; i++)
        if (memory[i].start == start && memory[i].pinned == pinned) { free(start); memory[i].start = NULL; return OK; }
    return broken(INVALID, "freed what is not allocated");
}

int cuInit(unsigned flags) { (void)flags; initialised = 1; return OK; }
int cuDriverGetVersion(int *version) { *version = 12060; return OK; }
int cuDeviceGet(int *device, int number) { *device = 0; return !initialised ? NOT_INITIALISED : number ? 101 : OK; }
int cuDeviceGetName(char *name, int n, int device) { (void)device; snprintf(name, n, "stand-in"); return OK; }
int cuDeviceGetAttribute(int *value, int which, int device) { (void)device; *value = which == 75 ? 8 : which == 76 ? 7 : which == 18 ? 1 : which == 16 ? 8 : 0; return OK; }
int cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; retained++; *context = CONTEXT; return OK; }
int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; return --retained < 0 ? broken(INVALID, "context released oftener than retained") : OK; }
int cuCtxPushCurrent_v2(void *context) { if (context != CONTEXT || !retained) return broken(NO_CONTEXT, "pushed what is no context"); depth++; pushed++; return OK; }
int cuCtxPopCurrent_v2(void **context) { if (!depth) return broken(NO_CONTEXT, "popped from an empty stack"); depth--; pushed--; *context = CONTEXT; return OK; }
int cuCtxGetCurrent(void **context) { *context = depth ? CONTEXT : NULL; return OK; }
int cuMemGetInfo_v2(size_t *free_bytes, size_t *all) { *free_bytes = 4ull << 30; *all = 8ull << 30; return refused("cuMemGetInfo", 0); }
int cuMemAlloc_v2(uint64_t *start, size_t n) { int code = refused("cuMemAlloc", 1); return code ? code : allocate((void **)start, n, 0); }
int cuMemFree_v2(uint64_t start) { int code = refused("cuMemFree", 1); return code ? code : release((void *)start, 0); }
int cuMemHostAlloc(void **start, size_t n, unsigned flags) { (void)flags; int code = refused("cuMemHostAlloc", 1); return code ? code : allocate(start, n, 1); }
int cuMemFreeHost(void *start) { int code = refused("cuMemFreeHost", 1); return code ? code : release(start, 1); }
int cuMemGetAddressRange_v2(uint64_t *base, size_t *n, uint64_t start) {
    for (int i = 0; i < MOST; i++)
        if (memory[i].start && !memory[i].pinned && inside((void *)start, 1, 0) && (char *)start >= memory[i].start && (char *)start < memory[i].start + memory[i].n) {
            *base = (uint64_t)memory[i].start; *n = memory[i].n;
            return OK;
        }
    return INVALID; // a question, no broken rule
}
int cuStreamCreate(void **stream, unsigned flags) {
    int code = refused("cuStreamCreate", 1);
    if (code) return code;
    if (flags != NON_BLOCKING) return broken(INVALID, "a stream that waits for the legacy stream");
    streams++;
    *stream = stream_now = calloc(1, sizeof(Stream));
    return OK;
}
int cuStreamDestroy_v2(Stream *stream) {
    int code = refused("cuStreamDestroy", 1);
    if (code) return code;
    run(stream); streams--; stream_now = NULL; free(stream);
    return OK;
}
int cuStreamQuery(Stream *stream) { int code = refused("cuStreamQuery", 1); return code ? code : stream->queue.first ? NOT_READY : OK; }
int cuEventCreate(void **event, unsigned flags) { (void)flags; int code = refused("cuEventCreate", 0); if (!code) *event = calloc(1, sizeof(Event)); return code; }
int cuEventDestroy_v2(Event *event) { free(event); return OK; }
int cuEventRecord(Event *event, Stream *stream) {
    if (!stream || stream != stream_now) return broken(BAD_HANDLE, "an event on the legacy stream");
    event->stream = stream; event->asked = 0;
    return refused("cuEventRecord", 0);
}
int cuEventQuery(Event *event) {
    int code = refused("cuEventQuery", 1);
    if (code || !event->stream) return code;
    if (!event->asked++) return NOT_READY;
    run(event->stream);
    return event->stream->fault;
}
static int copy(int kind, void *to, const void *from, size_t n, Stream *stream) {
    int code = refused("an asynchronous copy", 0);
    if (code) return code;
    if (!inside(kind == UP ? to : from, n, 0)) return broken(INVALID, "a copy out of bounds of the GPU's memory");
    if (!inside(kind == UP ? from : to, n, 1)) return broken(INVALID, "pageable memory in an asynchronous copy");
    Work work = {.kind = kind, .to = to, .from = from, .n = n};
    return enqueue(stream, &work);
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t n, Stream *stream) { return copy(UP, (void *)to, from, n, stream); }
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t n, Stream *stream) { return copy(DOWN, to, (void *)from, n, stream); }
int cuModuleLoadData(void **module, const void *image) { int code = refused("cuModuleLoadData", 1); *module = (void *)1; return code ? code : memcmp(image, "\177ELF", 4) ? NO_IMAGE : OK; }
int cuModuleLoadDataEx(void **module, const void *image, unsigned n, int *options, void **values) { (void)n; (void)options; (void)values; return cuModuleLoadData(module, image); }
int cuModuleUnload(void *module) { (void)module; return refused("cuModuleUnload", 1); }
int cuModuleGetFunction(void **function, void *module, const char *name) {
    static Function wide = {0}, half = {1};
    (void)module;
    *function = strcmp(name, "letterbox_f16") ? &wide : &half;
    return strcmp(name, "letterbox_f16") && strcmp(name, "letterbox_f32") ? NOT_FOUND : OK;
}
int cuFuncSetBlockShape(Function *function, int x, int y, int z) { (void)function; (void)x; (void)y; (void)z; return OK; } // pycuda's, before each launch
int cuLaunchKernel(Function *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, Stream *stream, void **params, void **extra) {
    int code = refused("cuLaunchKernel", 0);
    (void)shared;
    if (code) return code;
    // pycuda hands its arguments in one packed piece: {1, address, 2, &bytes, 0} (CU_LAUNCH_PARAM_BUFFER_POINTER and _SIZE).
    void **packed = !params && extra && extra[0] == (void *)1 && extra[2] == (void *)2 && *(size_t *)extra[3] == 5 * sizeof(void *) ? extra[1] : NULL;
    if ((!params && !packed) || bx * by * bz > 1024 || !gx || !gy || !gz) return broken(INVALID, "a launch without arguments, or of a size that no GPU takes");
    Work work = {.kind = LAUNCH, .grid = {gx, gy, gz}, .block = {bx, by, bz}, .half = function->half};
    for (int i = 0; i < 5; i++) {
        work.args[i] = packed ? packed[i] : *(void **)params[i];
        if (!inside(work.args[i], 1, 0)) return broken(INVALID, "argument %d of the kernel is no address of the GPU", i);
    }
    return enqueue(stream, &work);
}
int cuStreamBeginCapture_v2(Stream *stream, int mode) { (void)mode; if (!stream || stream->capturing) return broken(INVALID, "a capture in a capture, or of the legacy stream"); stream->capturing = 1; stream->broken = 0; return refused("cuStreamBeginCapture", 0); }
int cuStreamEndCapture(Stream *stream, void **graph) {
    stream->capturing = 0; *graph = NULL;
    if (stream->broken) { clear(&stream->captured); return CAPTURE_BROKEN; }
    List *made = malloc(sizeof *made);
    *made = stream->captured; stream->captured = (List){0};
    *graph = made;
    return OK;
}
int cuGraphInstantiateWithFlags(void **made, List *graph, uint64_t flags) {
    List *list = calloc(1, sizeof *list);
    (void)flags;
    for (Work *work = graph->first; work; work = work->next) append(list, work);
    *made = list;
    return OK;
}
int cuGraphDestroy(List *graph) { clear(graph); free(graph); return OK; }
int cuGraphExecDestroy(List *graph) { return cuGraphDestroy(graph); }
int cuGraphLaunch(List *graph, Stream *stream) {
    int code = refused("cuGraphLaunch", 1);
    for (Work *work = graph->first; work && !code; work = work->next) code = enqueue(stream, work);
    return code;
}
int cuGetErrorString(int code, const char **words) { *words = code == NO_CONTEXT ? "invalid device context" : code == IN_CAPTURE ? "operation not permitted when stream is capturing" : code == FAULT ? "unspecified launch failure" : "refused"; return OK; }
int cuGetErrorName(int code, const char **words) { (void)code; *words = "CUDA_ERROR"; return OK; }
int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
    static void *self;
    char versioned[128];
    Dl_info info;
    (void)version; (void)flags;
    if (!self && dladdr((void *)cuInit, &info)) self = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    snprintf(versioned, sizeof versioned, "%s_v2", name);
    *function = self ? dlsym(self, versioned) : NULL;
    if (!*function && self) *function = dlsym(self, name);
    if (status) *status = *function ? 0 : 1;
    return *function ? OK : NOT_FOUND;
}
int cuGetProcAddress(const char *name, void **function, int version, uint64_t flags) { return cuGetProcAddress_v2(name, function, version, flags, NULL); }

__attribute__((destructor)) static void at_the_end(void) {
    if (retained) broken(0, "context retained %d times more than released", retained);
    if (pushed) broken(0, "%d contexts left on a thread", pushed);
    if (streams) broken(0, "%d streams left", streams);
    for (int i = 0; i < MOST; i++)
        if (memory[i].start) { broken(0, "memory left"); break; }
}
