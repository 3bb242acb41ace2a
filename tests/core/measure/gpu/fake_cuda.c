/* A driver for tests without a device: memory of the host, and three kernels by name.
   `double_it` doubles 1000 floats, `crash_it` fails as an illegal access does, for good,
   `hang_it` never ends. Everything happens at once, so streams and events are numbers. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int code;
enum { OK = 0, INVALID = 1, NO_MEMORY = 2, NOT_FOUND = 500, ILLEGAL = 700, KINDS = 3 };

static const char *const names[KINDS] = {"double_it", "crash_it", "hang_it"};
static code sticky = OK;
static void *current[64];
static int depth = 0, capturing = 0, recorded = 0;
static struct { int kind; void **pointers; } graph[4096];
static int clock_ms = 0, shared_limit = 0;
static uint64_t allocated = 0;

static code run(int kind, void **pointers) {
  const float *a = pointers[0];
  float *b = pointers[1];
  if (kind == 2)
    for (;;) pause();
  if (kind == 1) sticky = ILLEGAL;
  if (kind == 0)
    for (int i = 0; i < 1000; ++i) b[i] = 2.0f * a[i];
  clock_ms += 1;
  return OK;
}

code cuInit(unsigned flags) { return OK; }
code cuDriverGetVersion(int *version) { *version = 13000; return OK; }
code cuDeviceGetCount(int *count) { *count = 1; return OK; }
code cuDeviceGet(int *device, int number) { *device = number; return OK; }
code cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Fake", size); return OK; }
code cuDeviceGetPCIBusId(char *id, int size, int device) { strncpy(id, "0:0", size); return OK; }
code cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 1u << 30; return OK; }
code cuDeviceGetAttribute(int *value, int attribute, int device) {
  static const int known[][2] = {
      {1, 1024}, {2, 1024},   {3, 1024},   {4, 64},     {5, 2147483647}, {6, 65535},
      {7, 65535}, {8, 49152}, {10, 32},    {12, 65536}, {13, 1980000},   {16, 132},
      {38, 65536}, {39, 2048}, {75, 9},    {76, 0},     {81, 233472},    {82, 65536},
      {97, 232448}};
  *value = 0;
  for (unsigned i = 0; i < sizeof known / sizeof *known; ++i)
    if (known[i][0] == attribute) *value = known[i][1];
  return OK;
}

code cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)1; return OK; }
code cuDevicePrimaryCtxRelease_v2(int device) { return OK; }
code cuDevicePrimaryCtxRelease(int device) { return OK; }
code cuCtxPushCurrent_v2(void *context) { current[depth++] = context; return OK; }
code cuCtxPushCurrent(void *context) { return cuCtxPushCurrent_v2(context); }
code cuCtxPopCurrent_v2(void **context) {
  if (depth == 0) return INVALID;
  *context = current[--depth];
  return OK;
}
code cuCtxPopCurrent(void **context) { return cuCtxPopCurrent_v2(context); }
code cuCtxGetCurrent(void **context) {
  *context = depth ? current[depth - 1] : 0;
  return OK;
}
code cuCtxGetDevice(int *device) { *device = 0; return depth ? OK : 201; }
code cuCtxSynchronize(void) { return depth ? sticky : 201; }
code cuCtxDetach(void *context) { return OK; }

code cuMemAlloc_v2(uint64_t *pointer, size_t bytes) {
  if (sticky) return sticky;
  if (bytes > 1u << 30) return NO_MEMORY;
  ++allocated;
  return (*pointer = (uint64_t)aligned_alloc(4096, (bytes + 4095) / 4096 * 4096)) ? OK : NO_MEMORY;
}
code cuMemFree_v2(uint64_t pointer) { --allocated; free((void *)pointer); return sticky; }
code cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) {
  memcpy((void *)to, from, bytes);
  return sticky;
}
code cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) {
  memcpy(to, (void *)from, bytes);
  return sticky;
}
code cuMemcpyDtoD_v2(uint64_t to, uint64_t from, size_t bytes) {
  memcpy((void *)to, (void *)from, bytes);
  return sticky;
}
code cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) {
  return (*pointer = calloc(bytes, 1)) ? sticky : NO_MEMORY;
}
code cuMemFreeHost(void *pointer) { free(pointer); return sticky; }
code cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void *stream) {
  memset((void *)to, value, bytes);
  return sticky;
}

/* A module is its text; a function is the number of its name, from 1. */
code cuModuleLoadDataEx(void **module, const void *image, unsigned n, void *options, void *values) {
  if (memcmp(image, "bad", 3) == 0) return 200;
  *module = (void *)1;
  return sticky;
}
code cuModuleLoadData(void **module, const void *image) {
  return cuModuleLoadDataEx(module, image, 0, 0, 0);
}
code cuModuleUnload(void *module) { return sticky; }
code cuModuleGetFunction(void **function, void *module, const char *name) {
  for (int kind = 0; kind < KINDS; ++kind)
    if (strcmp(name, names[kind]) == 0) return *function = (void *)(intptr_t)(kind + 1), OK;
  return NOT_FOUND;
}
code cuFuncSetAttribute(void *function, int attribute, int value) {
  shared_limit = attribute == 8 ? value : shared_limit;
  return value <= 232448 ? OK : INVALID;
}
code cuFuncSetBlockShape(void *function, int x, int y, int z) {
  return x * y * z <= 1024 ? OK : INVALID;
}
code cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                    unsigned bz, unsigned shared, void *stream, void **params, void **extra) {
  int kind = (int)(intptr_t)function - 1;
  if (sticky) return sticky;
  if (bx * by * bz > 1024 || gx == 0 || (shared > 49152 && shared > (unsigned)shared_limit))
    return INVALID;
  void *named[2] = {0};
  for (int i = 0; params && i < 2; ++i) named[i] = *(void **)params[i];
  void **pointers = extra ? extra[1] : named;
  if (!capturing) return run(kind, pointers);
  graph[recorded].kind = kind;
  graph[recorded].pointers = malloc(2 * sizeof(void *));
  memcpy(graph[recorded++].pointers, pointers, 2 * sizeof(void *));
  return OK;
}

code cuStreamCreate(void **stream, unsigned flags) { *stream = (void *)7; return OK; }
code cuStreamDestroy_v2(void *stream) { return sticky; }
code cuStreamSynchronize(void *stream) { return sticky; }
code cuStreamBeginCapture_v2(void *stream, int mode) {
  capturing = 1;
  recorded = 0;
  return stream == (void *)7 ? sticky : INVALID;
}
code cuStreamEndCapture(void *stream, void **made) { capturing = 0; *made = (void *)1; return OK; }
code cuGraphInstantiateWithFlags(void **ready, void *made, unsigned long long flags) {
  *ready = (void *)1;
  return flags ? INVALID : OK;
}
code cuGraphLaunch(void *ready, void *stream) {
  for (int i = 0; i < recorded; ++i) run(graph[i].kind, graph[i].pointers);
  return sticky;
}
code cuGraphExecDestroy(void *ready) { return OK; }
code cuGraphDestroy(void *made) { return OK; }

code cuEventCreate(void **event, unsigned flags) {
  return (*event = calloc(1, sizeof(int))) ? sticky : NO_MEMORY;
}
code cuEventDestroy_v2(void *event) { free(event); return sticky; }
code cuEventRecord(void *event, void *stream) { *(int *)event = clock_ms; return sticky; }
code cuEventSynchronize(void *event) { return sticky; }
code cuEventElapsedTime(float *ms, void *start, void *stop) {
  *ms = (float)(*(int *)stop - *(int *)start);
  return sticky;
}
code cuEventElapsedTime_v2(float *ms, void *start, void *stop) {
  return cuEventElapsedTime(ms, start, stop);
}
code cuGetErrorString(code error, const char **text) {
  *text = error == ILLEGAL ? "an illegal memory access was encountered"
        : error == NO_MEMORY ? "out of memory" : error == INVALID ? "invalid argument" : "failed";
  return OK;
}
code cuGetErrorName(code error, const char **text) { return cuGetErrorString(error, text); }
