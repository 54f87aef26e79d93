// engines/runtime/tensorrt/kernel.cu on the processor: CUDA's words defined as what they mean, threads as loops.
// Built by tests with `g++ -O2 -ffp-contract=off -shared -fPIC -I engines/runtime/tensorrt`; without a GPU this is what checks the arithmetic.
#include <cmath>

#define __device__
#define __global__
struct Index { unsigned x, y, z; };
static thread_local Index blockIdx, blockDim, threadIdx;

static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline int __float2int_rn(float a) { return (int)std::nearbyint(a); }

#include "kernel.cu"

extern "C" void run_letterbox_f32(
    const unsigned* grid, const unsigned* block, const unsigned char* frame, float* out, const Span* columns, const Span* rows,
    const Geometry* geometry) {
    blockDim = {block[0], block[1], block[2]};
    for (unsigned by = 0; by < grid[1]; ++by)
        for (unsigned bx = 0; bx < grid[0]; ++bx)
            for (unsigned ty = 0; ty < block[1]; ++ty)
                for (unsigned tx = 0; tx < block[0]; ++tx) {
                    blockIdx = {bx, by, 0};
                    threadIdx = {tx, ty, 0};
                    letterbox_f32(frame, out, columns, rows, geometry);
                }
}
