// Batch normalisation around the kernels: sums in, coefficients out; and the backward pass of BN and ReLU together.
#pragma once
#include <algorithm>
#include <cmath>

#include "plan.h"

// Sums over pixels of one value, by piece: [pieces][2][width], in double so that float networks keep their variance.
class Sums {
public:
    Sums(int pieces, long width) : width_(width), sums_(2 * pieces * width, 0.0) {}
    double* first(int piece) { return sums_.data() + 2 * piece * width_; }
    double* second(int piece) { return first(piece) + width_; }
    void total(long channel, double& first_sum, double& second_sum) const {
        first_sum = second_sum = 0;
        for (size_t t = 0; t < sums_.size(); t += 2 * width_) {
            first_sum += sums_[t + channel];
            second_sum += sums_[t + width_ + channel];
        }
    }

private:
    long width_;
    std::vector<double> sums_;
};

template <class T> inline void add_lanes(double* to, Vec<T> v, int n) {
    for (int i = 0; i < n; ++i) to[i] += v[i];
}

// From the sums of z and z*z, or from the running statistics, to a and b; updates the running statistics.
template <class T> void set_coefficients(const Plan<T>& plan, int64_t v, const Sums* sums) {
    const Value& value = plan.value(v);
    const double pixels = plan.pixels(v);
    const T* gamma = plan.parameter(value.module, GAMMA) + value.channel;
    const T* beta = plan.parameter(value.module, BETA) + value.channel;
    T* running_mean = plan.parameter(value.module, RUNNING_MEAN) + value.channel;
    T* running_variance = plan.parameter(value.module, RUNNING_VARIANCE) + value.channel;
    for (long c = 0; c < value.width; ++c) {
        double mean = running_mean[c], variance = running_variance[c];
        if (sums) {
            double sum, squares;
            sums->total(c, sum, squares);
            mean = sum / pixels;
            variance = squares / pixels - mean * mean;
            if (variance < 0) variance = 0;  // rounding; NaN stays NaN
            running_mean[c] += plan.momentum * (mean - running_mean[c]);
            running_variance[c] += plan.momentum * (variance * pixels / (pixels - 1) - running_variance[c]);
        }
        const double inverse = 1 / std::sqrt(variance + plan.epsilon);
        plan.coefficient(v, A)[c] = gamma[c] * inverse;
        plan.coefficient(v, B)[c] = beta[c] - mean * gamma[c] * inverse;
        plan.coefficient(v, MEAN)[c] = mean;
        plan.coefficient(v, INVERSE)[c] = inverse;
    }
}

// Lanes of u = max(a z + b, 0). The comparison is written so that NaN stays NaN: a diverged network must not look alive.
template <class T> inline Vec<T> activate(Vec<T> z, Vec<T> a, Vec<T> b) {
    const Vec<T> u = a * z + b, zero{};
    return zero > u ? zero : u;
}

// The gradient before ReLU.
template <class T> inline Vec<T> masked(Vec<T> gradient, Vec<T> z, Vec<T> a, Vec<T> b) {
    const Vec<T> zero{};
    return a * z + b > zero ? gradient : zero;
}

// What `masked` gives is g; then the gradient of z is a g + k1 z + k0. Sums over the pixels, gradients of gamma and beta.
template <class T> void reduce_gradient(const Plan<T>& plan, int64_t v) {
    const Value& value = plan.value(v);
    const long width = value.width, pixels = plan.pixels(v);
    const T *z = plan.data(v), *du = plan.gradient(v);
    Sums sums(kPieces, width);
    plan.threads->run([&](int piece) {
        const Range mine(pixels, piece);
        constexpr long kBlock = 512;  // pixels summed in T before they enter the double
        for (long p0 = mine.first; p0 < mine.last; p0 += kBlock) {
            const long p1 = std::min(p0 + kBlock, mine.last);
            for_lanes<T>(width, [&](long c, auto n) {
                const Vec<T> a = load_part(plan.coefficient(v, A) + c, n), b = load_part(plan.coefficient(v, B) + c, n);
                const Vec<T> mean = load_part(plan.coefficient(v, MEAN) + c, n);
                Vec<T> s1{}, s2{};
                for (long p = p0; p < p1; ++p) {
                    const Vec<T> zp = load_part(z + p * width + c, n);
                    const Vec<T> g = masked<T>(load_part(du + p * width + c, n), zp, a, b);
                    s1 += g;
                    s2 += g * (zp - mean);
                }
                add_lanes<T>(sums.first(piece) + c, s1, n);
                add_lanes<T>(sums.second(piece) + c, s2, n);
            });
        }
    });
    T* dgamma = plan.parameter_gradient(value.module, GAMMA) + value.channel;
    T* dbeta = plan.parameter_gradient(value.module, BETA) + value.channel;
    for (long c = 0; c < width; ++c) {
        double s1, s2;
        sums.total(c, s1, s2);
        const double a = plan.coefficient(v, A)[c], inverse = plan.coefficient(v, INVERSE)[c], mean = plan.coefficient(v, MEAN)[c];
        dbeta[c] = s1;
        dgamma[c] = s2 * inverse;
        const double k1 = -a * s2 * inverse * inverse / pixels;
        plan.coefficient(v, K1)[c] = k1;
        plan.coefficient(v, K0)[c] = -a * s1 / pixels - mean * k1;
    }
}
