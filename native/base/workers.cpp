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

// How long a thread looks out for something before it sleeps: about as long as it takes to wake one up, so that at most
// twice the time is spent that a thread would spend that knew how long it will be. It lets others have the processor
// meanwhile: where other programs are busy too, the system may well put caller and worker on the same one.
constexpr std::chrono::microseconds kPatience{50};

template <class Condition>
void look_out(Clock::time_point end, Condition condition) {
  while (!condition() && Clock::now() < end) std::this_thread::yield();
}

// The lock is held for some tens of instructions: to sleep until it is free would take longer.
void take(std::unique_lock<std::mutex>& lock) {
  for (int k = 0; k < 100; ++k) {
    if (lock.try_lock()) return;
    std::this_thread::yield();
  }
  lock.lock();
}

// A call of `share`, on its caller's stack. Others know of it while it is in the list of open jobs or they are inside.
struct Job {
  const std::function<void()>& work;
  int places;                  // for workers who may yet come
  int uncalled;                // of these, so many are for workers who sleep and that nobody has woken up
  std::atomic<int> inside{0};  // workers who came and have not left
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
    // Enough for all jobs, but for several together no more than there are processors.
    const int processors = static_cast<int>(std::thread::hardware_concurrency());
    const int wanted = std::min(promised_, std::max(job.places, processors));
    int missing = std::max(0, wanted - workers_);
    workers_ += missing;
    job.uncalled = std::max(0, job.places - missing - looking_out_);
    const int calls = count_calls(job);
    lock.unlock();

    call(calls);
    try {
      for (; missing > 0; --missing) std::thread([this] { serve(); }).detach();
    } catch (const std::exception&) {  // no more threads to be had: those that there are do the work
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
    look_out(Clock::now() + kPatience, [&] { return job.inside == 0; });
    if (job.inside == 0) return;
    take(lock);
    left_.wait(lock, [&] { return job.inside == 0; });
  }

  // What a worker does all its life.
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
      if (--job.inside == 0) left_.notify_all();  // the job may be gone from here on
    }
  }

  void wait_for_job(std::unique_lock<std::mutex>& lock) {
    const auto end = Clock::now() + kPatience;
    ++looking_out_;
    while (first_ == nullptr && Clock::now() < end) {
      lock.unlock();
      look_out(end, [&] { return open_ > 0; });
      take(lock);
    }
    --looking_out_;
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

  // Everyone wakes two at most, so that many are up soon and the caller soon at work.
  static int count_calls(Job& job) {
    const int calls = std::min(2, job.uncalled);
    job.uncalled -= calls;
    return calls;
  }
  void call(int calls) {
    for (; calls > 0; --calls) came_.notify_one();
  }

  std::mutex mutex_;  // for all but what is atomic
  std::condition_variable came_, left_;
  Job* first_ = nullptr;      // of the open jobs, in the order of their coming
  std::atomic<int> open_{0};  // how many these are
  int promised_ = 0;          // places of all jobs that are not done, taken or not
  int workers_ = 0;           // threads; they live as long as the process
  int looking_out_ = 0;       // those who need no call
};

// Never destroyed: threads wait in it until the process ends.
Workers& workers = *new Workers;

#if !defined(_WIN32)
// Threads do not come along into a forked child, and whoever held the lock cannot release it there: the child begins
// anew, in the same place.
[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, [] { ::new (&workers) Workers; });
#endif

}  // namespace

void share(int helpers, const std::function<void()>& work) { workers.share(helpers, work); }

}  // namespace ctckit
