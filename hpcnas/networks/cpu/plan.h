// What the interpreter knows about a network: values, modules, and scratch memory. Layouts are NHWC, a value is [batch*height*wide][width].
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

#include "threads.h"

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#include <immintrin.h>
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

template <class T> struct VectorOf {
    typedef T type __attribute__((vector_size(VECTOR_BYTES)));
};
template <class T> using Vec = typename VectorOf<T>::type;
template <class T> constexpr int kLanes = VECTOR_BYTES / sizeof(T);

inline long round_up(long n, long to) { return (n + to - 1) / to * to; }

template <class T> inline Vec<T> load(const T* from) {
    Vec<T> v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
template <class T> inline void store(T* to, Vec<T> v) { std::memcpy(to, &v, sizeof v); }

// How many lanes of a vector are channels: all of them, known at compile time, or an int for the last vector of a row.
template <class T> struct All {
    constexpr operator int() const { return kLanes<T>; }
};

template <class T> inline Vec<T> load_part(const T* from, All<T>) { return load(from); }
template <class T> inline void store_part(T* to, Vec<T> v, All<T>) { store(to, v); }
#if defined(__AVX512F__)
inline Vec<float> load_part(const float* from, int n) { return _mm512_maskz_loadu_ps((1u << n) - 1, from); }
inline Vec<double> load_part(const double* from, int n) { return _mm512_maskz_loadu_pd((1u << n) - 1, from); }
inline void store_part(float* to, Vec<float> v, int n) { _mm512_mask_storeu_ps(to, (1u << n) - 1, v); }
inline void store_part(double* to, Vec<double> v, int n) { _mm512_mask_storeu_pd(to, (1u << n) - 1, v); }
#else
template <class T> inline Vec<T> load_part(const T* from, int n) {
    Vec<T> v{};
    for (int i = 0; i < n; ++i) v[i] = from[i];
    return v;
}
template <class T> inline void store_part(T* to, Vec<T> v, int n) {
    for (int i = 0; i < n; ++i) to[i] = v[i];
}
#endif

// Calls work(first channel, lanes) for each vector of `width` channels.
template <class T, class Work> inline void for_lanes(long width, const Work& work) {
    long c = 0;
    for (; c + kLanes<T> <= width; c += kLanes<T>) work(c, All<T>{});
    if (c < width) work(c, int(width - c));
}

template <class T> inline Vec<T> spread(T x) { return Vec<T>{} + x; }

// A tensor between operations. What a convolution wrote stays as it is, before batch normalisation and ReLU; whoever reads
// it computes max(a * z + b, 0) on the way in, so that normalised tensors are never written to memory.
struct Value {
    int64_t data, gradient;          // offsets in the arena, in elements
    int64_t width, height, wide;     // channels, rows, columns
    int64_t coefficients;            // offset of a, b, mean, 1/deviation, k0, k1; each `width` long
    int64_t module, channel;         // the ConvBNReLU that normalises it and its first channel there; -1: a plain value
};

enum Coefficient { A, B, MEAN, INVERSE, K0, K1 };
enum Parameter { WEIGHT, GAMMA, BETA, RUNNING_MEAN, RUNNING_VARIANCE, PARAMETERS };

template <class T> struct Plan {
    const Value* values;
    T* arena;
    uint8_t* marks;            // arg max of max pools
    T* const* parameters;      // PARAMETERS pointers for each module
    T* const* gradients;       // WEIGHT, GAMMA, BETA for each module
    const T* images;           // [batch*rows*columns][in_channels]
    T* features;               // [batch][features], in the backward pass their gradient
    long batch;
    bool training;
    double momentum, epsilon;
    Threads* threads;

    const Value& value(int64_t v) const { return values[v]; }
    long pixels(int64_t v) const { return batch * values[v].height * values[v].wide; }
    T* data(int64_t v) const { return arena + values[v].data; }
    T* gradient(int64_t v) const { return arena + values[v].gradient; }
    T* coefficient(int64_t v, Coefficient which) const { return arena + values[v].coefficients + which * values[v].width; }
    bool is_normalised(int64_t v) const { return values[v].module >= 0; }
    T* parameter(int64_t module, Parameter which) const { return parameters[module * PARAMETERS + which]; }
    T* parameter_gradient(int64_t module, Parameter which) const { return gradients[module * 3 + which]; }
};

// Memory of one thread that grows to what the largest kernel needs; aligned to a cache line.
class Scratch {
public:
    void reserve(size_t bytes) {
        if (bytes + 64 > memory_.size()) memory_.resize(bytes + 64);
        used_ = (64 - reinterpret_cast<uintptr_t>(memory_.data()) % 64) % 64;
    }
    template <class T> T* take(size_t count) {
        T* taken = reinterpret_cast<T*>(memory_.data() + used_);
        used_ += round_up(count * sizeof(T), 64);
        return taken;
    }
    static Scratch& mine() {
        static thread_local Scratch scratch;
        return scratch;
    }

private:
    std::vector<char> memory_;
    size_t used_ = 0;
};
