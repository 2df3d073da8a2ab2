// Threads that are kept between calls: starting one takes as long as a small batch.
#pragma once

#include <functional>

namespace ctckit {

// Runs `work` on this thread and at the same time on up to `helpers` others. Returns when every thread that started
// `work` has returned. `work` divides the tasks itself, by a counter for example, returns when no task is left, and
// does not throw. This thread never waits for others to start: threads that arrive after a first one has finished do
// not start. If the system refuses threads, this thread does all the work.
void share(int helpers, const std::function<void()>& work);

}  // namespace ctckit
