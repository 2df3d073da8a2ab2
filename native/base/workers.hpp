// Threads that live on between calls. To start one takes as long as a small batch does.
#pragma once

#include <functional>

namespace ctckit {

// Runs `work` on this thread and, meanwhile, on up to `helpers` others; returns when all that began it have ended it.
// Whoever calls it shares out what there is to do, by a counter say; it ends when nothing is left to begin, and throws
// nothing. This thread never waits for others to begin: one that comes when some call of `work` has ended does not.
// Without a helper (the system may refuse one) this thread does it all.
void share(int helpers, const std::function<void()>& work);

}  // namespace ctckit
