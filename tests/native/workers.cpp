// Calls of ctckit::share from several threads at once, mostly with so little to do that they are over before a helper
// comes. Ends while helpers wait. Prints nothing if all is well. `make sanitize` runs it under ThreadSanitizer.
#include "base/workers.hpp"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

namespace {

// Counts every item once, in memory that all share but no two write at once, on no more threads than were asked for.
// Items of every 16th call take a while.
bool count(int helpers, int items, bool slow) {
  std::vector<int> times(static_cast<std::size_t>(items));
  std::atomic<int> next{0}, threads{0};
  ctckit::share(helpers, [&] {
    ++threads;
    for (int k = next++; k < items; k = next++) {
      if (slow) std::this_thread::sleep_for(std::chrono::microseconds(100));
      ++times[static_cast<std::size_t>(k)];
    }
  });
  for (const int time : times)
    if (time != 1) return false;
  return threads <= 1 + helpers;
}

}  // namespace

int main() {
  std::atomic<int> faults{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&faults, caller] {
      for (int k = 0; k < 2000; ++k) {
        if (k % 64 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // helpers fall asleep
        if (!count((caller + k) % 5, k % 40, k % 16 == 0)) ++faults;
      }
    });
  for (std::thread& caller : callers) caller.join();
  if (faults != 0) std::printf("%d calls went wrong\n", faults.load());
  return faults != 0;
}
