#include "base/workers.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace ctckit {
namespace {

using Clock = std::chrono::steady_clock;

// Spin about as long as a wake-up costs, then sleep. This costs at most twice the optimum. A spinning thread yields: on
// a busy machine the system may put caller and worker on the same processor.
constexpr std::chrono::microseconds kSpin{50};

template <class Condition>
void spin(Clock::time_point end, Condition condition) {
  while (!condition() && Clock::now() < end) std::this_thread::yield();
}

// The lock is held for some tens of instructions, so spin before sleeping.
void take(std::unique_lock<std::mutex>& lock) {
  for (int k = 0; k < 100; ++k) {
    if (lock.try_lock()) return;
    std::this_thread::yield();
  }
  lock.lock();
}

// A call of `share`, on its caller's stack. Workers may use it while it is in the list of open jobs or they are inside.
struct Job {
  const std::function<void()>& work;
  int places;                  // for workers that may still join
  int asleep;                  // places of workers that sleep and have not been woken
  std::atomic<int> inside{0};  // workers that joined and have not left
  Job* next = nullptr;
};

class Workers {
 public:
  void share(int helpers, const std::function<void()>& work) {
    if (helpers == 0) return work();
    Job job{work, helpers, helpers};
    open(job);
    work();
    close(job, helpers);
  }

 private:
  void open(Job& job) {
    std::unique_lock lock(mutex_, std::defer_lock);
    take(lock);
    Job** last = &first_;
    while (*last != nullptr) last = &(*last)->next;
    *last = &job;
    ++open_;
    promised_ += job.places;
    // Enough workers for all places; for several jobs together, no more than there are processors.
    const int processors = static_cast<int>(std::thread::hardware_concurrency());
    const int wanted = std::min(promised_, std::max(job.places, processors));
    int missing = std::max(0, wanted - workers_);
    workers_ += missing;
    job.asleep = std::max(0, job.places - missing - spinning_);
    const int calls = count_calls(job);
    lock.unlock();

    call(calls);
    try {
      for (; missing > 0; --missing) std::thread([this] { serve(); }).detach();
    } catch (const std::exception&) {  // the system refuses threads: the present ones do the work
      take(lock);
      workers_ -= missing;
    }
  }

  void close(Job& job, int helpers) {
    std::unique_lock lock(mutex_, std::defer_lock);
    take(lock);
    admit_no_more(job);
    promised_ -= helpers;
    if (job.inside == 0) return;
    lock.unlock();
    spin(Clock::now() + kSpin, [&] { return job.inside == 0; });
    if (job.inside == 0) return;
    take(lock);
    left_.wait(lock, [&] { return job.inside == 0; });
  }

  // The loop of a worker.
  void serve() {
    std::unique_lock lock(mutex_, std::defer_lock);
    take(lock);
    for (;;) {
      wait_for_job(lock);
      Job& job = *first_;
      ++job.inside;
      if (--job.places == 0) admit_no_more(job);
      const int calls = count_calls(job);
      lock.unlock();
      call(calls);
      job.work();
      take(lock);
      admit_no_more(job);
      if (--job.inside == 0) left_.notify_all();  // the job may be destroyed from here on
    }
  }

  void wait_for_job(std::unique_lock<std::mutex>& lock) {
    const auto end = Clock::now() + kSpin;
    ++spinning_;
    while (first_ == nullptr && Clock::now() < end) {
      lock.unlock();
      spin(end, [&] { return open_ > 0; });
      take(lock);
    }
    --spinning_;
    came_.wait(lock, [&] { return first_ != nullptr; });
  }

  void admit_no_more(const Job& job) {
    for (Job** link = &first_; *link != nullptr; link = &(*link)->next) {
      if (*link != &job) continue;
      *link = job.next;
      --open_;
      return;
    }
  }

  // Each thread wakes at most two others: the number of woken threads doubles, and the caller soon starts to work.
  static int count_calls(Job& job) {
    const int calls = std::min(2, job.asleep);
    job.asleep -= calls;
    return calls;
  }
  void call(int calls) {
    for (; calls > 0; --calls) came_.notify_one();
  }

  std::mutex mutex_;  // guards all members that are not atomic
  std::condition_variable came_, left_;
  Job* first_ = nullptr;      // the list of open jobs, oldest first
  std::atomic<int> open_{0};  // length of that list
  int promised_ = 0;          // places of all unfinished jobs, taken or free
  int workers_ = 0;           // threads; they live as long as the process
  int spinning_ = 0;          // workers that need no wake-up
};

// Never destroyed: threads wait in it until the process ends.
Workers& workers = *new Workers;

#if !defined(_WIN32)
// A forked child has no worker threads, and a lock held at the fork is never released there: the child starts with
// fresh workers at the same address.
[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, [] { ::new (&workers) Workers; });
#endif

}  // namespace

void share(int helpers, const std::function<void()>& work) { workers.share(helpers, work); }

}  // namespace ctckit
