// Threads that share the pieces of a range. No OpenMP: a second OpenMP runtime beside torch's would fight with it for the
// cores, and torch's own cannot be linked to portably.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

// A range is always cut into so many pieces, whoever does them: sums come out the same for any number of threads.
constexpr int kPieces = 8;

class Threads {
public:
    using Work = std::function<void(int)>;  // called with the index of a piece

    // Delegates, so that the destructor ends those that started where the system refuses one.
    explicit Threads(int count) : Threads() {
        for (int i = 1; i < count; ++i) workers_.emplace_back([this] { serve(); });
    }

    ~Threads() {
        {
            std::lock_guard<std::mutex> guard(mutex_);
            stopping_.store(true);
        }
        wake_.notify_all();
        for (auto& worker : workers_) worker.join();
    }

    // Does all pieces. A worker that the system does not let run is not waited for: the others take its pieces.
    void run(const Work& work) {
        backwards_ = !backwards_;
        if (workers_.empty()) {
            for (int piece = 0; piece < kPieces; ++piece) work(ordered(piece));
            return;
        }
        work_ = &work;
        done_.store(0);
        ticket_.store((ticket_.load() / kRound + 1) * kRound);
        if (sleeping_.load()) {
            { std::lock_guard<std::mutex> guard(mutex_); }
            wake_.notify_all();
        }
        while (take_piece()) {
        }
        for (int spin = 0; done_.load() < kPieces; ++spin) spin < kSpins ? pause() : std::this_thread::yield();
        if (failed_.exchange(false)) throw std::bad_alloc();
    }

private:
    Threads() = default;

    static constexpr long kRound = 1L << 16;  // a ticket is round * kRound + next piece
    // Kernels follow each other within microseconds: a short spin saves the wake-up, a long one would burn a core that others need.
    static constexpr int kSpins = 2000;

    static void pause() {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#else
        std::this_thread::yield();
#endif
    }

    // Every other round goes from the end to the beginning: what the one before touched last is still in the cache.
    int ordered(int piece) const { return backwards_ ? kPieces - 1 - piece : piece; }

    bool has_piece() const { return ticket_.load() % kRound < kPieces; }

    // Whoever holds a piece keeps `run` from returning, so that `work_` is that round's.
    bool take_piece() {
        long ticket = ticket_.load();
        do {
            if (ticket % kRound >= kPieces) return false;
        } while (!ticket_.compare_exchange_weak(ticket, ticket + 1));
        try {
            (*work_)(ordered(int(ticket % kRound)));
        } catch (const std::exception&) {  // must not leave a thread; kernels meet none but a lack of memory
            failed_.store(true);
        }
        done_.fetch_add(1);
        return true;
    }

    void serve() {
        while (!stopping_.load()) {
            for (int spin = 0; spin < kSpins && !has_piece(); ++spin) pause();
            if (!has_piece()) {
                std::unique_lock<std::mutex> guard(mutex_);
                sleeping_.fetch_add(1);
                wake_.wait(guard, [&] { return has_piece() || stopping_.load(); });
                sleeping_.fetch_sub(1);
            }
            take_piece();
        }
    }

    std::vector<std::thread> workers_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<long> ticket_{kPieces};
    std::atomic<int> done_{0}, sleeping_{0};
    std::atomic<bool> failed_{false}, stopping_{false};
    const Work* work_ = nullptr;
    bool backwards_ = false;
};

// [first, last) of `total` that belongs to a piece.
struct Range {
    long first, last;
    Range(long total, int piece) : first(total * piece / kPieces), last(total * (piece + 1) / kPieces) {}
};
