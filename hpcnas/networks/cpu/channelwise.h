// Operations that keep channels apart: depthwise convolutions and pools. The unit of work is one image and one vector of
// channels, laid out with a border so that no tap needs a test; it fits the first cache levels.
#pragma once
#include <algorithm>
#include <limits>

#include "norm.h"

// One vector of channels of one image with a border of one pixel.
template <class T> struct Block {
    Vec<T>* at;
    long height, wide, ld;  // without the border; ld = wide + 2
    Vec<T>& operator()(long y, long x) const { return at[(y + 1) * ld + x + 1]; }
    size_t size() const { return (height + 2) * ld; }
    void fill_border(Vec<T> with) const {
        for (long x = -1; x <= wide; ++x) (*this)(-1, x) = (*this)(height, x) = with;
        for (long y = 0; y < height; ++y) (*this)(y, -1) = (*this)(y, wide) = with;
    }
};

template <class T> size_t block_bytes(const Value& value) { return (value.height + 2) * (value.wide + 2) * sizeof(Vec<T>) + 64; }

template <class T> Block<T> take_block(Scratch& scratch, const Value& value) {
    const long ld = value.wide + 2;
    return {reinterpret_cast<Vec<T>*>(scratch.take<char>((value.height + 2) * ld * sizeof(Vec<T>))), value.height, value.wide, ld};
}

// u of one image and channels c..c+n into the block's inside.
template <class T, class N> void load_block(const Plan<T>& plan, int64_t v, long image, long c, N n, const Block<T>& block) {
    const Value& value = plan.value(v);
    const T* z = plan.data(v) + image * value.height * value.wide * value.width + c;
    const bool plain = !plan.is_normalised(v);
    const Vec<T> a = plain ? Vec<T>{} : load_part(plan.coefficient(v, A) + c, n);
    const Vec<T> b = plain ? Vec<T>{} : load_part(plan.coefficient(v, B) + c, n);
    for (long y = 0; y < value.height; ++y)
        for (long x = 0; x < value.wide; ++x, z += value.width) {
            const Vec<T> here = load_part(z, n);
            block(y, x) = plain ? here : activate<T>(here, a, b);
        }
}

// The gradient of z of a normalised value, of u of a plain one.
template <class T, class N> void load_gradient_block(const Plan<T>& plan, int64_t v, long image, long c, N n, const Block<T>& block) {
    const Value& value = plan.value(v);
    const long start = image * value.height * value.wide * value.width + c;
    const T *z = plan.data(v) + start, *du = plan.gradient(v) + start;
    if (!plan.is_normalised(v)) {
        for (long y = 0; y < value.height; ++y)
            for (long x = 0; x < value.wide; ++x, du += value.width) block(y, x) = load_part(du, n);
        return;
    }
    const Vec<T> a = load_part(plan.coefficient(v, A) + c, n), b = load_part(plan.coefficient(v, B) + c, n);
    const Vec<T> k1 = load_part(plan.coefficient(v, K1) + c, n), k0 = load_part(plan.coefficient(v, K0) + c, n);
    for (long y = 0; y < value.height; ++y)
        for (long x = 0; x < value.wide; ++x, z += value.width, du += value.width) {
            const Vec<T> zp = load_part(z, n);
            block(y, x) = a * masked<T>(load_part(du, n), zp, a, b) + k1 * zp + k0;
        }
}

// Calls kernel(image, first channel, lanes, piece) for every image and vector of channels of a value.
template <class T, class Kernel> void for_blocks(const Plan<T>& plan, int64_t v, size_t scratch_bytes, const Kernel& kernel) {
    const long width = plan.value(v).width;
    plan.threads->run([&](int piece) {
        const Range mine(plan.batch, piece);
        for (long image = mine.first; image < mine.last; ++image)
            for_lanes<T>(width, [&](long c, auto n) {
                Scratch& scratch = Scratch::mine();
                scratch.reserve(scratch_bytes);
                kernel(scratch, image, c, n, piece);
            });
    });
}

struct Filter {
    int64_t value, module, channel;  // what it writes; its first channel in the module's weights
};

// Depthwise 3x3 convolutions of one value, together.
struct Depthwise {
    int64_t value, accumulate, stride;
    std::vector<Filter> filters;
};

// Nine vectors, by value: what they are loaded into must not seem to overlap what a loop stores.
template <class T> struct Taps {
    Vec<T> at[9];
};

// Weights of one filter for channels c..c+n.
template <class T, class N> Taps<T> load_taps(const Plan<T>& plan, const Filter& filter, long c, N n) {
    const T* weight = plan.parameter(filter.module, WEIGHT) + (filter.channel + c) * 9;
    Taps<T> taps;
    for (int t = 0; t < 9; ++t) {
        taps.at[t] = Vec<T>{};
        for (int i = 0; i < n; ++i) taps.at[t][i] = weight[i * 9 + t];
    }
    return taps;
}

// out[i] = initial + sum over the taps of w times u, for `Count` neighbours in a row; a vector of u is loaded once for all three columns.
template <class T, int Count, int Stride> inline void convolve(const Vec<T>* corner, long ld, const Taps<T>& w, Vec<T>* out) {
    Vec<T> sum[Count];
    for (int i = 0; i < Count; ++i) sum[i] = out[i];
    for (int ky = 0; ky < 3; ++ky) {
        Vec<T> row[(Count - 1) * Stride + 3];
        for (int i = 0; i < (Count - 1) * Stride + 3; ++i) row[i] = corner[ky * ld + i];
        for (int kx = 0; kx < 3; ++kx)
            for (int i = 0; i < Count; ++i) sum[i] += w.at[3 * ky + kx] * row[i * Stride + kx];
    }
    for (int i = 0; i < Count; ++i) out[i] = sum[i];
}

constexpr int kNeighbours = 4;

// One filter over one block; calls write(y, x, z).
template <class T, int Stride, class Write> void filter_block(const Block<T>& in, const Taps<T>& taps, long height, long wide, const Write& write) {
    const Taps<T> w = taps;
    for (long y = 0; y < height; ++y) {
        long x = 0;
        for (; x + kNeighbours <= wide; x += kNeighbours) {
            Vec<T> z[kNeighbours] = {};
            convolve<T, kNeighbours, Stride>(&in(y * Stride - 1, x * Stride - 1), in.ld, w, z);
            for (int i = 0; i < kNeighbours; ++i) write(y, x + i, z[i]);
        }
        for (; x < wide; ++x) {
            Vec<T> z{};
            convolve<T, 1, Stride>(&in(y * Stride - 1, x * Stride - 1), in.ld, w, &z);
            write(y, x, z);
        }
    }
}

template <class T> void depthwise_forward(const Plan<T>& plan, const Depthwise& depthwise) {
    const Value& from = plan.value(depthwise.value);
    std::vector<Sums> sums(depthwise.filters.size(), Sums(kPieces, from.width));
    for_blocks(plan, depthwise.value, block_bytes<T>(from) + 128, [&](Scratch& scratch, long image, long c, auto n, int piece) {
        const Block<T> in = take_block<T>(scratch, from);
        in.fill_border(Vec<T>{});
        load_block(plan, depthwise.value, image, c, n, in);
        for (size_t f = 0; f < depthwise.filters.size(); ++f) {
            const Filter& filter = depthwise.filters[f];
            const Value& to = plan.value(filter.value);
            const Taps<T> taps = load_taps(plan, filter, c, n);
            Vec<T> s{}, q{};
            T* out = plan.data(filter.value) + image * to.height * to.wide * to.width + c;
            const auto write = [&](long y, long x, Vec<T> z) {
                store_part(out + (y * to.wide + x) * to.width, z, n);
                s += z;
                q += z * z;
            };
            if (depthwise.stride == 1)
                filter_block<T, 1>(in, taps, to.height, to.wide, write);
            else
                filter_block<T, 2>(in, taps, to.height, to.wide, write);
            add_lanes<T>(sums[f].first(piece) + c, s, n);
            add_lanes<T>(sums[f].second(piece) + c, q, n);
        }
    });
    for (size_t f = 0; f < depthwise.filters.size(); ++f)
        set_coefficients(plan, depthwise.filters[f].value, plan.training ? &sums[f] : nullptr);
}

template <class T, class N> void store_gradient(const Plan<T>& plan, int64_t v, long image, long c, N n, const Block<T>& block, bool accumulate) {
    const Value& value = plan.value(v);
    T* to = plan.gradient(v) + image * value.height * value.wide * value.width + c;
    for (long y = 0; y < value.height; ++y)
        for (long x = 0; x < value.wide; ++x, to += value.width)
            store_part(to, accumulate ? load_part(to, n) + block(y, x) : block(y, x), n);
}

// The sum of u at each tap times dz.
template <class T> Taps<T> weight_gradient(const Block<T>& u, const Block<T>& dz, long stride) {
    Taps<T> sum{};
    for (long y = 0; y < dz.height; ++y)
        for (long x = 0; x < dz.wide; ++x) {
            const Vec<T> g = dz(y, x), *corner = &u(y * stride - 1, x * stride - 1);
            for (int ky = 0; ky < 3; ++ky)
                for (int kx = 0; kx < 3; ++kx) sum.at[3 * ky + kx] += g * corner[ky * u.ld + kx];
        }
    return sum;
}

// du += dz convolved with the taps turned around.
template <class T> void input_gradient(const Block<T>& dz, const Taps<T>& taps, const Block<T>& du) {
    Taps<T> turned;
    for (int t = 0; t < 9; ++t) turned.at[t] = taps.at[8 - t];
    filter_block<T, 1>(dz, turned, du.height, du.wide, [&](long y, long x, Vec<T> sum) { du(y, x) += sum; });
}

template <class T> void input_gradient_strided(const Block<T>& dz, const Taps<T>& taps, const Block<T>& du, long stride) {
    const Taps<T> w = taps;
    for (long y = 0; y < dz.height; ++y)
        for (long x = 0; x < dz.wide; ++x) {
            const Vec<T> g = dz(y, x);
            Vec<T>* corner = &du(y * stride - 1, x * stride - 1);
            for (int ky = 0; ky < 3; ++ky)
                for (int kx = 0; kx < 3; ++kx) corner[ky * du.ld + kx] += w.at[3 * ky + kx] * g;
        }
}

template <class T> void depthwise_backward(const Plan<T>& plan, const Depthwise& depthwise) {
    const Value& from = plan.value(depthwise.value);
    const size_t filters = depthwise.filters.size();
    for (const Filter& filter : depthwise.filters) reduce_gradient(plan, filter.value);
    std::vector<double> dweights(kPieces * filters * from.width * 9, 0.0);
    for_blocks(plan, depthwise.value, 3 * block_bytes<T>(from) + 512, [&](Scratch& scratch, long image, long c, auto n, int piece) {
        const Block<T> u = take_block<T>(scratch, from), du = take_block<T>(scratch, from);
        u.fill_border(Vec<T>{});
        load_block(plan, depthwise.value, image, c, n, u);
        std::fill(du.at, du.at + du.size(), Vec<T>{});
        const Block<T> dz = take_block<T>(scratch, plan.value(depthwise.filters[0].value));
        dz.fill_border(Vec<T>{});
        for (size_t f = 0; f < filters; ++f) {
            const Filter& filter = depthwise.filters[f];
            load_gradient_block(plan, filter.value, image, c, n, dz);
            const Taps<T> w = load_taps(plan, filter, c, n);
            const Taps<T> dw = depthwise.stride == 1 ? weight_gradient(u, dz, 1) : weight_gradient(u, dz, 2);
            if (depthwise.stride == 1)
                input_gradient(dz, w, du);
            else
                input_gradient_strided(dz, w, du, depthwise.stride);
            double* sum = dweights.data() + ((piece * filters + f) * from.width + c) * 9;
            for (int i = 0; i < n; ++i)
                for (int t = 0; t < 9; ++t) sum[i * 9 + t] += dw.at[t][i];
        }
        store_gradient(plan, depthwise.value, image, c, n, du, depthwise.accumulate);
    });
    for (size_t f = 0; f < filters; ++f) {
        T* dweight = plan.parameter_gradient(depthwise.filters[f].module, WEIGHT) + depthwise.filters[f].channel * 9;
        for (long i = 0; i < from.width * 9; ++i) {
            double sum = 0;
            for (int piece = 0; piece < kPieces; ++piece) sum += dweights[(piece * filters + f) * from.width * 9 + i];
            dweight[i] = sum;
        }
    }
}

struct Pool {
    int64_t value, accumulate, out, marks;  // marks: offset of the arg max of a max pool; -1: an average pool
};

// The number of pixels under the window at (y, x): the border does not count.
inline double window_size(const Value& value, long y, long x) {
    const long rows = 1 + (y > 0) + (y + 1 < value.height), columns = 1 + (x > 0) + (x + 1 < value.wide);
    return rows * columns;
}

template <class T> void pool_forward(const Plan<T>& plan, const Pool& pool) {
    const Value& from = plan.value(pool.value);
    const bool max = pool.marks >= 0;
    for_blocks(plan, pool.value, block_bytes<T>(from) + 128, [&](Scratch& scratch, long image, long c, auto n, int) {
        const Block<T> u = take_block<T>(scratch, from);
        u.fill_border(spread<T>(max ? -std::numeric_limits<T>::infinity() : T(0)));
        load_block(plan, pool.value, image, c, n, u);
        const long start = image * from.height * from.wide * from.width + c;
        T* out = plan.data(pool.out) + start;
        uint8_t* mark = max ? plan.marks + pool.marks + start : nullptr;
        for (long y = 0; y < from.height; ++y)
            for (long x = 0; x < from.wide; ++x, out += from.width) {
                const Vec<T>* corner = &u(y - 1, x - 1);
                if (!max) {
                    Vec<T> sum{};
                    for (int ky = 0; ky < 3; ++ky) sum += corner[ky * u.ld] + corner[ky * u.ld + 1] + corner[ky * u.ld + 2];
                    store_part(out, sum * spread<T>(1 / window_size(from, y, x)), n);
                    continue;
                }
                // The first of equal values wins, as in torch.
                Vec<T> best = corner[0], which{};
                for (int t = 1; t < 9; ++t) {
                    const Vec<T> here = corner[t / 3 * u.ld + t % 3];
                    const auto greater = here > best;
                    best = greater ? here : best;
                    which = greater ? spread<T>(t) : which;
                }
                store_part(out, best, n);
                if (plan.training)
                    for (int i = 0; i < n; ++i) mark[i] = uint8_t(which[i]);
                mark += from.width;
            }
    });
}

template <class T> void pool_backward(const Plan<T>& plan, const Pool& pool) {
    const Value& from = plan.value(pool.value);
    const bool max = pool.marks >= 0;
    for_blocks(plan, pool.value, 3 * block_bytes<T>(from) + 512, [&](Scratch& scratch, long image, long c, auto n, int) {
        const Block<T> g = take_block<T>(scratch, from), du = take_block<T>(scratch, from), marks = take_block<T>(scratch, from);
        g.fill_border(Vec<T>{});
        load_gradient_block(plan, pool.out, image, c, n, g);
        if (max) {
            marks.fill_border(spread<T>(-1));
            const uint8_t* mark = plan.marks + pool.marks + image * from.height * from.wide * from.width + c;
            for (long y = 0; y < from.height; ++y)
                for (long x = 0; x < from.wide; ++x, mark += from.width) {
                    Vec<T> which{};
                    for (int i = 0; i < n; ++i) which[i] = mark[i];
                    marks(y, x) = which;
                }
        } else {
            for (long y = 0; y < from.height; ++y)
                for (long x = 0; x < from.wide; ++x) g(y, x) *= spread<T>(1 / window_size(from, y, x));
        }
        for (long y = 0; y < from.height; ++y)
            for (long x = 0; x < from.wide; ++x) {
                Vec<T> sum{};
                for (int t = 0; t < 9; ++t) {
                    // The window whose tap t lies here.
                    const long wy = y + 1 - t / 3, wx = x + 1 - t % 3;
                    const Vec<T> there = g(wy, wx);
                    sum += max ? (marks(wy, wx) == spread<T>(t) ? there : Vec<T>{}) : there;
                }
                du(y, x) = sum;
            }
        store_gradient(plan, pool.value, image, c, n, du, pool.accumulate);
    });
}

// Global average pooling of a concatenation: each value once, into every place where it stands.
struct Mean {
    int64_t features;
    std::vector<int64_t> values;
    std::vector<std::vector<int64_t>> columns;
};

template <class T> void mean_forward(const Plan<T>& plan, const Mean& mean) {
    for (size_t i = 0; i < mean.values.size(); ++i) {
        const int64_t v = mean.values[i];
        const Value& value = plan.value(v);
        for_blocks(plan, v, block_bytes<T>(value) + 128, [&](Scratch& scratch, long image, long c, auto n, int) {
            const Block<T> u = take_block<T>(scratch, value);
            load_block(plan, v, image, c, n, u);
            Vec<T> sum{};
            for (long y = 0; y < value.height; ++y)
                for (long x = 0; x < value.wide; ++x) sum += u(y, x);
            sum /= spread<T>(value.height * value.wide);
            for (int64_t column : mean.columns[i]) store_part(plan.features + image * mean.features + column + c, sum, n);
        });
    }
}

template <class T> void mean_backward(const Plan<T>& plan, const Mean& mean) {
    for (size_t i = 0; i < mean.values.size(); ++i) {
        const int64_t v = mean.values[i];
        const Value& value = plan.value(v);
        for_blocks(plan, v, 0, [&](Scratch&, long image, long c, auto n, int) {
            Vec<T> sum{};
            for (int64_t column : mean.columns[i]) sum += load_part(plan.features + image * mean.features + column + c, n);
            sum /= spread<T>(value.height * value.wide);
            T* du = plan.gradient(v) + image * value.height * value.wide * value.width + c;
            for (long p = 0; p < value.height * value.wide; ++p, du += value.width) store_part(du, sum, n);
        });
    }
}
