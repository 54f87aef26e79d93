// Letterbox, BGR to RGB and value / 255 in one launch: the arithmetic of engines.preprocess, pixel for pixel, on the GPU.
//
// One thread makes one pixel of the network's input. Which source pixels it takes and with what weights stands in two tables, one entry a
// column and one a row, made by engines/runtime/tensorrt/letterbox.py with OpenCV's formulas; the sums here run in OpenCV's order. Products
// and sums are spelled as intrinsics so that no compiler fuses them: a fused one rounds once where OpenCV rounds twice.
//
// The file is plain CUDA C++. A test compiles it for the processor too, with the intrinsics defined as what they mean.

#ifdef __CUDACC__
#include <cuda_fp16.h>
#endif

// What a column or a row of the scaled frame is made of. AREA: `count` source pixels from `first` on, of which the first weighs `head`, the
// last `tail`, the others `body`. LINEAR: the source pixels `first` and `count`, weighing `head` and `tail`, whole numbers of 2048ths.
struct Span {
    int first;
    int count;
    float head;
    float body;
    float tail;
};

enum Mode { COPY = 0, AREA = 1, AREA_WHOLE = 2, LINEAR = 3 };

struct Geometry {
    int mode;
    int frame_h, frame_w;                      // px of the frame
    int resized_h, resized_w;                  // px of the scaled frame
    int out_h, out_w;                          // px of the network's input
    int top, left;                             // where the scaled frame begins in it
    float area_scale;                          // AREA_WHOLE: 1 / pixels that make one
};

static __device__ inline float weight(const Span& span, int i) {
    return i == 0 ? span.head : i == span.count - 1 ? span.tail : span.body;
}

// Round half to even and clip, as OpenCV's saturate_cast does.
static __device__ inline int to_byte(float value) {
    int rounded = __float2int_rn(value);
    return rounded < 0 ? 0 : rounded > 255 ? 255 : rounded;
}

// Each row is summed first, then the rows, both in float32.
static __device__ inline void area(const unsigned char* frame, int stride, const Span& x, const Span& y, int bgr[3]) {
    float sum[3] = {0.0f, 0.0f, 0.0f};
    for (int j = 0; j < y.count; ++j) {
        const unsigned char* pixel = frame + (long long)(y.first + j) * stride + 3 * x.first;
        float row[3] = {0.0f, 0.0f, 0.0f};
        for (int i = 0; i < x.count; ++i, pixel += 3) {
            float w = weight(x, i);
            for (int c = 0; c < 3; ++c) row[c] = __fadd_rn(row[c], __fmul_rn((float)pixel[c], w));
        }
        float w = weight(y, j);
        for (int c = 0; c < 3; ++c) sum[c] = __fadd_rn(sum[c], __fmul_rn(w, row[c]));
    }
    for (int c = 0; c < 3; ++c) bgr[c] = to_byte(sum[c]);
}

// Whole ratios: whole numbers are summed and scaled once. Four pixels round half up.
static __device__ inline void area_whole(
    const unsigned char* frame, int stride, const Span& x, const Span& y, float scale, int bgr[3]) {
    int sum[3] = {0, 0, 0};
    for (int j = 0; j < y.count; ++j) {
        const unsigned char* pixel = frame + (long long)(y.first + j) * stride + 3 * x.first;
        for (int i = 0; i < x.count; ++i, pixel += 3)
            for (int c = 0; c < 3; ++c) sum[c] += pixel[c];
    }
    bool four = x.count == 2 && y.count == 2;
    for (int c = 0; c < 3; ++c) bgr[c] = four ? (sum[c] + 2) >> 2 : to_byte(__fmul_rn((float)sum[c], scale));
}

// OpenCV's fixed point: 11 bits a weight, and the bits that its vector code drops.
static __device__ inline void linear(const unsigned char* frame, int stride, const Span& x, const Span& y, int bgr[3]) {
    const unsigned char* above = frame + (long long)y.first * stride;
    const unsigned char* below = frame + (long long)y.count * stride;
    int x0 = (int)x.head, x1 = (int)x.tail, y0 = (int)y.head, y1 = (int)y.tail;
    for (int c = 0; c < 3; ++c) {
        int upper = above[3 * x.first + c] * x0 + above[3 * x.count + c] * x1;
        int lower = below[3 * x.first + c] * x0 + below[3 * x.count + c] * x1;
        int value = ((((upper >> 4) * y0) >> 16) + (((lower >> 4) * y1) >> 16) + 2) >> 2;
        bgr[c] = value < 0 ? 0 : value > 255 ? 255 : value;
    }
}

static __device__ inline void store(float* out, float value) { *out = value; }
#ifdef __CUDACC__
static __device__ inline void store(__half* out, float value) { *out = __float2half_rn(value); }
#endif

template <typename T>
static __device__ inline void letterbox(const unsigned char* frame, T* out, const Span* columns, const Span* rows, const Geometry& g) {
    int px = blockIdx.x * blockDim.x + threadIdx.x;
    int py = blockIdx.y * blockDim.y + threadIdx.y;
    if (px >= g.out_w || py >= g.out_h) return;
    int bgr[3] = {114, 114, 114};  // PAD_VALUE
    int x = px - g.left, y = py - g.top, stride = 3 * g.frame_w;
    if (x >= 0 && x < g.resized_w && y >= 0 && y < g.resized_h) {
        if (g.mode == AREA) {
            area(frame, stride, columns[x], rows[y], bgr);
        } else if (g.mode == AREA_WHOLE) {
            area_whole(frame, stride, columns[x], rows[y], g.area_scale, bgr);
        } else if (g.mode == LINEAR) {
            linear(frame, stride, columns[x], rows[y], bgr);
        } else {
            const unsigned char* pixel = frame + (long long)y * stride + 3 * x;
            for (int c = 0; c < 3; ++c) bgr[c] = pixel[c];
        }
    }
    long long plane = (long long)g.out_h * g.out_w, at = (long long)py * g.out_w + px;
    for (int c = 0; c < 3; ++c) store(out + (2 - c) * plane + at, __fdiv_rn((float)bgr[c], 255.0f));
}

extern "C" __global__ void letterbox_f32(
    const unsigned char* frame, float* out, const Span* columns, const Span* rows, const Geometry* geometry) {
    letterbox(frame, out, columns, rows, *geometry);
}

#ifdef __CUDACC__
extern "C" __global__ void letterbox_f16(
    const unsigned char* frame, __half* out, const Span* columns, const Span* rows, const Geometry* geometry) {
    letterbox(frame, out, columns, rows, *geometry);
}
#endif
