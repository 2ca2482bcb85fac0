// A fixed pool of threads that split index ranges evenly. No OpenMP: a second OpenMP runtime beside torch's would fight with
// it for the cores, and torch's own cannot be linked to portably.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

class Threads {
public:
    using Work = std::function<void(int)>;  // called with the index of the thread

    explicit Threads(int count) : count_(count) {
        for (int i = 1; i < count; ++i) workers_.emplace_back([this, i] { serve(i); });
    }

    ~Threads() {
        {
            std::lock_guard<std::mutex> guard(mutex_);
            stopping_ = true;
            round_.fetch_add(1);
        }
        wake_.notify_all();
        for (auto& worker : workers_) worker.join();
    }

    int count() const { return count_; }

    void run(const Work& work) {
        if (count_ == 1) return work(0);
        work_ = &work;
        busy_.store(count_ - 1, std::memory_order_relaxed);
        {
            std::lock_guard<std::mutex> guard(mutex_);
            round_.fetch_add(1, std::memory_order_release);
        }
        wake_.notify_all();
        guarded(0);
        while (busy_.load(std::memory_order_acquire)) pause();
        if (failed_.exchange(false)) throw std::bad_alloc();
    }

private:
    // Kernels follow each other within microseconds: a short spin saves the wake-up; a long one would burn a core that others need.
    static constexpr int kSpins = 4000;

    static void pause() {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#else
        std::this_thread::yield();
#endif
    }

    // An exception must not leave a thread; the only one that kernels meet is a lack of memory.
    void guarded(int index) {
        try {
            (*work_)(index);
        } catch (const std::exception&) {
            failed_.store(true);
        }
    }

    void serve(int index) {
        long seen = 0;
        for (;;) {
            for (int spin = 0; spin < kSpins && round_.load(std::memory_order_acquire) == seen; ++spin) pause();
            if (round_.load(std::memory_order_acquire) == seen) {
                std::unique_lock<std::mutex> guard(mutex_);
                wake_.wait(guard, [&] { return round_.load() != seen; });
            }
            seen = round_.load();
            if (stopping_) return;
            guarded(index);
            busy_.fetch_sub(1, std::memory_order_release);
        }
    }

    const int count_;
    std::vector<std::thread> workers_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<long> round_{0};
    std::atomic<int> busy_{0};
    std::atomic<bool> failed_{false};
    const Work* work_ = nullptr;
    bool stopping_ = false;
};

// [first, last) of `total` that thread `index` of `count` does.
struct Range {
    long first, last;
    Range(long total, int index, int count) : first(total * index / count), last(total * (index + 1) / count) {}
};
