// Runs a network that hpcnas/networks/cpu/layout.py has written down as numbers: forward in order, backward in reverse.
#include <exception>

#include "channelwise.h"
#include "gemm.h"

namespace {

enum Kind { STEM, PRODUCT, DEPTHWISE, POOL, MEAN_POOL };

struct Reader {
    const int64_t* at;
    int64_t next() { return *at++; }
    std::vector<int64_t> list() {
        std::vector<int64_t> items(next());
        for (int64_t& item : items) item = next();
        return items;
    }
};

template <class T> Product read_product(const Plan<T>& plan, Reader& reader) {
    Product product;
    product.concatenated = reader.next();
    product.inputs.resize(reader.next());
    for (Input& input : product.inputs) {
        input.value = reader.next();
        input.accumulate = reader.next();
        input.columns = reader.list();
        input.offset = product.K;
        product.K += plan.value(input.value).width;
    }
    product.outputs.resize(reader.next());
    for (Output& output : product.outputs) {
        output.value = reader.next();
        output.module = reader.next();
        output.offset = product.N;
        product.N += plan.value(output.value).width;
    }
    return product;
}

template <class T> Stem read_stem(const Plan<T>& plan, Reader& reader) {
    Stem stem;
    const int64_t value = reader.next(), module = reader.next();
    stem.height = reader.next();
    stem.wide = reader.next();
    stem.channels = reader.next();
    stem.stride = reader.next();
    stem.product.outputs = {{value, module, 0}};
    stem.product.K = 9 * stem.channels;
    stem.product.N = plan.value(value).width;
    return stem;
}

Depthwise read_depthwise(Reader& reader) {
    Depthwise depthwise{reader.next(), reader.next(), reader.next(), {}};
    depthwise.filters.resize(reader.next());
    for (Filter& filter : depthwise.filters) filter = {reader.next(), reader.next(), reader.next()};
    return depthwise;
}

Mean read_mean(Reader& reader) {
    Mean mean;
    mean.features = reader.next();
    for (int64_t left = reader.next(); left > 0; --left) {
        mean.values.push_back(reader.next());
        mean.columns.push_back(reader.list());
    }
    return mean;
}

template <class T> void step(const Plan<T>& plan, const int64_t* code, bool backward) {
    Reader reader{code};
    switch (reader.next()) {
        case STEM: {
            const Stem stem = read_stem(plan, reader);
            return backward ? stem_backward(plan, stem) : stem_forward(plan, stem);
        }
        case PRODUCT: {
            const Product product = read_product(plan, reader);
            return backward ? conv1x1_backward(plan, product) : conv1x1_forward(plan, product);
        }
        case DEPTHWISE: {
            const Depthwise depthwise = read_depthwise(reader);
            return backward ? depthwise_backward(plan, depthwise) : depthwise_forward(plan, depthwise);
        }
        case POOL: {
            const Pool pool{reader.next(), reader.next(), reader.next(), reader.next()};
            return backward ? pool_backward(plan, pool) : pool_forward(plan, pool);
        }
        case MEAN_POOL: {
            const Mean mean = read_mean(reader);
            return backward ? mean_backward(plan, mean) : mean_forward(plan, mean);
        }
    }
}

struct Call {
    const Value* values;
    const int64_t* code;
    const int64_t* starts;  // where each operation begins in `code`
    int64_t operations, batch, training, backward;
    void *arena, *marks, *parameters, *gradients, *images, *features, *threads;
    double momentum, epsilon;
};

template <class T> void run(const Call& call) {
    const Plan<T> plan{call.values,
                       static_cast<T*>(call.arena),
                       static_cast<uint8_t*>(call.marks),
                       static_cast<T* const*>(call.parameters),
                       static_cast<T* const*>(call.gradients),
                       static_cast<const T*>(call.images),
                       static_cast<T*>(call.features),
                       call.batch,
                       call.training != 0,
                       call.momentum,
                       call.epsilon,
                       static_cast<Threads*>(call.threads)};
    for (int64_t i = 0; i < call.operations; ++i)
        step(plan, call.code + call.starts[call.backward ? call.operations - 1 - i : i], call.backward != 0);
}

}  // namespace

extern "C" {

void* hpcnas_start_threads(int count) {
    try {
        return new Threads(count);
    } catch (const std::exception&) {
        return nullptr;
    }
}

// 0, or 1 when memory ran out.
int hpcnas_run(const Call* call, int is_double) {
    try {
        is_double ? run<double>(*call) : run<float>(*call);
        return 0;
    } catch (const std::exception&) {
        return 1;
    }
}
}
