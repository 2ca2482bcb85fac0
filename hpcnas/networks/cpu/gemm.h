// 1x1 convolutions that read the same tensor, together: one pass over the pixels computes all of them, reads concatenated
// inputs where they lie, and sums what batch normalisation needs. The stem is the same with another way to pack a pixel.
#pragma once
#include <algorithm>

#include "norm.h"

template <class T> constexpr int kTileRows = 64;  // pixels at a time: a tile of inputs and outputs stays in the second-level cache

// C[R][V vectors] = (accumulate ? C : 0) + sum over k of A(r, k) * B[k]; A(r, k) = A[r * row + k * column].
template <class T, int R, int V>
inline void micro(const T* A, long row, long column, const T* B, long ldb, T* C, long ldc, long K, bool accumulate) {
    constexpr int L = kLanes<T>;
    Vec<T> c[R][V];
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) c[r][v] = accumulate ? load(C + r * ldc + v * L) : Vec<T>{};
    for (long k = 0; k < K; ++k) {
        Vec<T> b[V];
        for (int v = 0; v < V; ++v) b[v] = load(B + k * ldb + v * L);
        const T* a = A + k * column;
        for (int r = 0; r < R; ++r) {
            const T x = a[r * row];
            for (int v = 0; v < V; ++v) c[r][v] += x * b[v];
        }
    }
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) store(C + r * ldc + v * L, c[r][v]);
}

constexpr int kRowStep = 16;  // rows of a product are padded to this

// M a multiple of kRowStep, N of the vector length.
template <class T>
void multiply(const T* A, long row, long column, const T* B, long ldb, T* C, long ldc, long M, long N, long K, bool accumulate) {
    constexpr int L = kLanes<T>;
#if VECTOR_BYTES == 64
    constexpr int kWide = 3, kRows3 = 8, kRows2 = 8, kRows1 = 16;  // 24 of 32 registers hold sums
#else
    constexpr int kWide = 2, kRows3 = 4, kRows2 = 4, kRows1 = 8;
#endif
    for (long n = 0; n < N;) {
        const long left = (N - n) / L;
        const int V = left == 4 ? std::min(kWide, 2) : std::min<long>(kWide, left);
        for (long m = 0; m < M;) {
            const T* a = A + m * row;
            T* c = C + m * ldc + n;
            if (V == 3) {
                micro<T, kRows3, 3>(a, row, column, B + n, ldb, c, ldc, K, accumulate);
                m += kRows3;
            } else if (V == 2) {
                micro<T, kRows2, 2>(a, row, column, B + n, ldb, c, ldc, K, accumulate);
                m += kRows2;
            } else {
                micro<T, kRows1, 1>(a, row, column, B + n, ldb, c, ldc, K, accumulate);
                m += kRows1;
            }
        }
        n += V * L;
    }
}

struct Input {
    int64_t value, accumulate, offset;      // offset: its first row in the packed weights
    std::vector<int64_t> columns;           // where it stands in the concatenation; more than once when it is there twice
};
struct Output {
    int64_t value, module, offset;
};

// Some 1x1 convolutions of one concatenation.
struct Product {
    std::vector<Input> inputs;
    std::vector<Output> outputs;
    long K = 0, N = 0, concatenated = 0;    // channels read, written, and of the concatenation with its repetitions

    template <class T> long padded_n() const { return round_up(N, std::max(kLanes<T>, kRowStep)); }
    template <class T> long padded_k() const { return round_up(K, std::max(kLanes<T>, kRowStep)); }
    template <class T> long rows() const {
        const long fitting = (256 << 10) / (sizeof(T) * (padded_k<T>() + padded_n<T>()));
        return std::clamp<long>(fitting / kRowStep * kRowStep, kRowStep, kTileRows<T>);
    }
};

// Weights as [K][N]; an input that stands twice in the concatenation gets the sum of its rows.
template <class T> std::vector<T> pack_weights(const Plan<T>& plan, const Product& product) {
    const long ldn = product.padded_n<T>();
    std::vector<T> packed(product.padded_k<T>() * ldn, T(0));
    for (const Output& output : product.outputs) {
        const T* weight = plan.parameter(output.module, WEIGHT);
        const long width = plan.value(output.value).width;
        for (const Input& input : product.inputs)
            for (int64_t column : input.columns)
                for (long n = 0; n < width; ++n)
                    for (long k = 0; k < plan.value(input.value).width; ++k)
                        packed[(input.offset + k) * ldn + output.offset + n] += weight[n * product.concatenated + column + k];
    }
    return packed;
}

template <class T> std::vector<T> transpose(const std::vector<T>& packed, long K, long ldn, long N, long ldk) {
    std::vector<T> transposed(ldn * ldk, T(0));
    for (long k = 0; k < K; ++k)
        for (long n = 0; n < N; ++n) transposed[n * ldk + k] = packed[k * ldn + n];
    return transposed;
}

// Rows of a value, normalised on the way, into a tile. W is the width if it is known at compile time, else 0.
template <class T, int W> void pack_rows(const Plan<T>& plan, int64_t v, long p0, long rows, T* tile, long ld) {
    const long width = W ? W : plan.value(v).width;
    const T* z = plan.data(v) + p0 * width;
    if (!plan.is_normalised(v)) {
        for (long p = 0; p < rows; ++p) std::memcpy(tile + p * ld, z + p * width, width * sizeof(T));
        return;
    }
    const T *a = plan.coefficient(v, A), *b = plan.coefficient(v, B);
    for_lanes<T>(width, [&](long c, auto n) {
        const Vec<T> av = load_part(a + c, n), bv = load_part(b + c, n);
        for (long p = 0; p < rows; ++p) store_part(tile + p * ld + c, activate<T>(load_part(z + p * width + c, n), av, bv), n);
    });
}

// The gradient of z, made from the gradient of u on the way in.
template <class T> void pack_gradient_rows(const Plan<T>& plan, int64_t v, long p0, long rows, T* tile, long ld) {
    const long width = plan.value(v).width;
    const T *z = plan.data(v) + p0 * width, *du = plan.gradient(v) + p0 * width;
    for_lanes<T>(width, [&](long c, auto n) {
        const Vec<T> a = load_part(plan.coefficient(v, A) + c, n), b = load_part(plan.coefficient(v, B) + c, n);
        const Vec<T> k1 = load_part(plan.coefficient(v, K1) + c, n), k0 = load_part(plan.coefficient(v, K0) + c, n);
        for (long p = 0; p < rows; ++p) {
            const Vec<T> zp = load_part(z + p * width + c, n);
            store_part(tile + p * ld + c, a * masked<T>(load_part(du + p * width + c, n), zp, a, b) + k1 * zp + k0, n);
        }
    });
}

template <class T> void unpack_rows(const T* tile, long ld, T* to, long width, long p0, long rows, bool accumulate) {
    to += p0 * width;
    for_lanes<T>(width, [&](long c, auto n) {
        if (accumulate)
            for (long p = 0; p < rows; ++p)
                store_part(to + p * width + c, load_part(tile + p * ld + c, n) + load_part(to + p * width + c, n), n);
        else
            for (long p = 0; p < rows; ++p) store_part(to + p * width + c, load_part(tile + p * ld + c, n), n);
    });
}

// As `unpack_rows`, and adds up z and z*z.
template <class T> void unpack_and_sum(const T* tile, long ld, T* to, long width, long p0, long rows, double* sum, double* squares) {
    to += p0 * width;
    for_lanes<T>(width, [&](long c, auto n) {
        Vec<T> s{}, q{};
        for (long p = 0; p < rows; ++p) {
            const Vec<T> x = load_part(tile + p * ld + c, n);
            store_part(to + p * width + c, x, n);
            s += x;
            q += x * x;
        }
        add_lanes<T>(sum + c, s, n);
        add_lanes<T>(squares + c, q, n);
    });
}

// `pack(p0, rows, tile, ld)` fills a tile with the inputs of `rows` pixels.
template <class T, class Pack> void product_forward(const Plan<T>& plan, const Product& product, const T* weights, const Pack& pack) {
    const long ldk = product.padded_k<T>(), ldn = product.padded_n<T>(), step = product.rows<T>();
    const long pixels = plan.pixels(product.outputs[0].value);
    Sums sums(kPieces, product.N);
    plan.threads->run([&](int piece) {
        Scratch& scratch = Scratch::mine();
        scratch.reserve((step * (ldk + ldn)) * sizeof(T) + 256);
        T *in = scratch.take<T>(step * ldk), *out = scratch.take<T>(step * ldn);
        std::fill(in, in + step * ldk, T(0));
        const Range mine((pixels + step - 1) / step, piece);
        for (long tile = mine.first; tile < mine.last; ++tile) {
            const long p0 = tile * step, rows = std::min(step, pixels - p0);
            pack(p0, rows, in, ldk);
            multiply<T>(in, ldk, 1, weights, ldn, out, ldn, round_up(rows, kRowStep), round_up(product.N, kLanes<T>), product.K, false);
            for (const Output& output : product.outputs) {
                const long width = plan.value(output.value).width;
                unpack_and_sum(out + output.offset, ldn, plan.data(output.value), width, p0, rows,
                               sums.first(piece) + output.offset, sums.second(piece) + output.offset);
            }
        }
    });
    finish_outputs(plan, product, sums);
}

template <class T> void finish_outputs(const Plan<T>& plan, const Product& product, const Sums& all) {
    for (const Output& output : product.outputs) {
        const long width = plan.value(output.value).width;
        Sums own(1, width);
        for (long c = 0; c < width; ++c) all.total(output.offset + c, own.first(0)[c], own.second(0)[c]);
        set_coefficients(plan, output.value, plan.training ? &own : nullptr);
    }
}

// Gradients of the weights, and of the inputs where `back` is given: back(tile, ld, p0, rows) takes them.
template <class T, class Pack, class Back>
void product_backward(const Plan<T>& plan, const Product& product, const T* transposed, const Pack& pack, const Back& back, T* dweights) {
    const long ldk = product.padded_k<T>(), ldn = product.padded_n<T>(), step = product.rows<T>();
    const long pixels = plan.pixels(product.outputs[0].value);
    for (const Output& output : product.outputs) reduce_gradient(plan, output.value);
    std::vector<std::vector<T>> partial(kPieces);
    plan.threads->run([&](int piece) {
        partial[piece].assign(ldk * ldn, T(0));
        Scratch& scratch = Scratch::mine();
        scratch.reserve((step * (2 * ldk + ldn)) * sizeof(T) + 512);
        T *in = scratch.take<T>(step * ldk), *dout = scratch.take<T>(step * ldn), *din = scratch.take<T>(step * ldk);
        std::fill(in, in + step * ldk, T(0));
        std::fill(dout, dout + step * ldn, T(0));
        const Range mine((pixels + step - 1) / step, piece);
        for (long tile = mine.first; tile < mine.last; ++tile) {
            const long p0 = tile * step, rows = std::min(step, pixels - p0);
            for (const Output& output : product.outputs) pack_gradient_rows(plan, output.value, p0, rows, dout + output.offset, ldn);
            pack(p0, rows, in, ldk);
            multiply<T>(in, 1, ldk, dout, ldn, partial[piece].data(), ldn, round_up(product.K, kRowStep), round_up(product.N, kLanes<T>), rows, true);
            if (transposed) {
                multiply<T>(dout, ldn, 1, transposed, ldk, din, ldk, round_up(rows, kRowStep), round_up(product.K, kLanes<T>), product.N, false);
                back(din, ldk, p0, rows);
            }
        }
    });
    for (int piece = 0; piece < kPieces; ++piece)
        for (long i = 0; i < ldk * ldn; ++i) dweights[i] += partial[piece][i];
}

template <class T> void pack_inputs(const Plan<T>& plan, const Product& product, long p0, long rows, T* tile, long ld) {
    for (const Input& input : product.inputs) {
        T* to = tile + input.offset;
        switch (plan.value(input.value).width) {
            case 16: pack_rows<T, 16>(plan, input.value, p0, rows, to, ld); break;
            case 32: pack_rows<T, 32>(plan, input.value, p0, rows, to, ld); break;
            case 64: pack_rows<T, 64>(plan, input.value, p0, rows, to, ld); break;
            default: pack_rows<T, 0>(plan, input.value, p0, rows, to, ld);
        }
    }
}

template <class T> void conv1x1_forward(const Plan<T>& plan, const Product& product) {
    const std::vector<T> weights = pack_weights(plan, product);
    product_forward(plan, product, weights.data(), [&](long p0, long rows, T* tile, long ld) { pack_inputs(plan, product, p0, rows, tile, ld); });
}

template <class T> void conv1x1_backward(const Plan<T>& plan, const Product& product) {
    const long ldk = product.padded_k<T>(), ldn = product.padded_n<T>();
    const std::vector<T> transposed = transpose(pack_weights(plan, product), product.K, ldn, product.N, ldk);
    std::vector<T> dweights(ldk * ldn, T(0));
    const auto pack = [&](long p0, long rows, T* tile, long ld) { pack_inputs(plan, product, p0, rows, tile, ld); };
    const auto back = [&](const T* tile, long ld, long p0, long rows) {
        for (const Input& input : product.inputs)
            unpack_rows(tile + input.offset, ld, plan.gradient(input.value), plan.value(input.value).width, p0, rows, input.accumulate);
    };
    product_backward(plan, product, transposed.data(), pack, back, dweights.data());
    for (const Output& output : product.outputs) {
        T* dweight = plan.parameter_gradient(output.module, WEIGHT);
        for (const Input& input : product.inputs)
            for (int64_t column : input.columns)
                for (long n = 0; n < plan.value(output.value).width; ++n)
                    for (long k = 0; k < plan.value(input.value).width; ++k)
                        dweight[n * product.concatenated + column + k] = dweights[(input.offset + k) * ldn + output.offset + n];
    }
}

// The stem: a full 3x3 convolution of the images, its 9 taps laid side by side. Needs no gradient of the images.
struct Stem {
    Product product;  // one output; K = 9 * channels
    long height, wide, channels, stride;
};

template <class T> void pack_taps(const Plan<T>& plan, const Stem& stem, long p0, long rows, T* tile, long ld) {
    const Value& out = plan.value(stem.product.outputs[0].value);
    for (long p = p0; p < p0 + rows; ++p, tile += ld) {
        const long x = p % out.wide, y = p / out.wide % out.height, image = p / (out.wide * out.height);
        T* to = tile;
        for (long ky = -1; ky <= 1; ++ky)
            for (long kx = -1; kx <= 1; ++kx) {
                const long row = y * stem.stride + ky, column = x * stem.stride + kx;
                const bool inside = row >= 0 && row < stem.height && column >= 0 && column < stem.wide;
                const T* from = plan.images + ((image * stem.height + row) * stem.wide + column) * stem.channels;
                for (long c = 0; c < stem.channels; ++c) *to++ = inside ? from[c] : T(0);
            }
    }
}

template <class T> void stem_forward(const Plan<T>& plan, const Stem& stem) {
    const long ldn = stem.product.padded_n<T>(), taps = 9;
    const T* weight = plan.parameter(stem.product.outputs[0].module, WEIGHT);  // [N][channels][9]
    std::vector<T> packed(stem.product.padded_k<T>() * ldn, T(0));
    for (long n = 0; n < stem.product.N; ++n)
        for (long c = 0; c < stem.channels; ++c)
            for (long t = 0; t < taps; ++t) packed[(t * stem.channels + c) * ldn + n] = weight[(n * stem.channels + c) * taps + t];
    product_forward(plan, stem.product, packed.data(), [&](long p0, long rows, T* tile, long ld) { pack_taps(plan, stem, p0, rows, tile, ld); });
}

template <class T> void stem_backward(const Plan<T>& plan, const Stem& stem) {
    const long ldn = stem.product.padded_n<T>(), taps = 9;
    std::vector<T> dweights(stem.product.padded_k<T>() * ldn, T(0));
    const auto pack = [&](long p0, long rows, T* tile, long ld) { pack_taps(plan, stem, p0, rows, tile, ld); };
    const auto nothing = [](const T*, long, long, long) {};
    product_backward(plan, stem.product, static_cast<const T*>(nullptr), pack, nothing, dweights.data());
    T* dweight = plan.parameter_gradient(stem.product.outputs[0].module, WEIGHT);
    for (long n = 0; n < stem.product.N; ++n)
        for (long c = 0; c < stem.channels; ++c)
            for (long t = 0; t < taps; ++t) dweight[(n * stem.channels + c) * taps + t] = dweights[(t * stem.channels + c) * ldn + n];
}
